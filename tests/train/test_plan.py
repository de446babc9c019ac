"""Each pack is trained on once an epoch, and what a step sees depends on the seed alone, not on how much runs at once."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.train.plan import Document, Pack, Plan, count_labels, micro_batches


def make_packs(lengths: list[list[int]]) -> list[Pack]:
    return [
        [Document(f"{number}.{at}", [7] * length, [7] * length) for at, length in enumerate(pack)]
        for number, pack in enumerate(lengths)
    ]


def sizes_of(batches: list[list[Document]]) -> list[int]:
    return [sum(len(document.input_ids) for document in batch) for batch in batches]


PACKS = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=5), min_size=1, max_size=20).map(make_packs)
PER_STEP = st.integers(1, 8)
SEED = st.integers(0, 2**32)
TOKENS = st.integers(1, 120)


def epoch_of(plan: Plan, number: int) -> list[list[str]]:
    """First ids of the packs of each step of an epoch."""
    first = number * plan.steps_per_epoch()
    return [[pack[0].id for pack in plan.global_batch(step)] for step in range(first, first + plan.steps_per_epoch())]


@given(packs=PACKS, per_step=PER_STEP, seed=SEED, number=st.integers(0, 3))
def test_every_pack_comes_once_an_epoch_and_the_last_step_has_what_is_left(packs, per_step, seed, number):
    steps = epoch_of(Plan(packs, per_step, 99, seed), number)
    assert sorted(name for step in steps for name in step) == sorted(pack[0].id for pack in packs)
    assert all(len(step) == per_step for step in steps[:-1])
    assert len(steps[-1]) == len(packs) - per_step * (len(steps) - 1) > 0


@given(per_step=PER_STEP, seed=SEED)
def test_each_epoch_and_each_seed_has_an_order_of_its_own(per_step, seed):
    packs = make_packs([[1]] * 40)  # by chance alike: one in 40!
    orders = [
        [name for step in epoch_of(Plan(packs, per_step, 99, seed + more), epoch) for name in step]
        for more in (0, 1)
        for epoch in (0, 1, 2)
    ]
    assert len(set(map(tuple, orders))) == 6
    assert orders[0] == [name for step in epoch_of(Plan(packs, 1, 5, seed), 0) for name in step], "steps are cut from one order"


def test_the_order_is_the_same_on_every_machine():
    plan = Plan(make_packs([[1]] * 6), 2, 6, seed=0)
    assert [epoch_of(plan, epoch) for epoch in (0, 1)] == [
        [["2.0", "5.0"], ["1.0", "3.0"], ["4.0", "0.0"]],
        [["1.0", "5.0"], ["3.0", "2.0"], ["4.0", "0.0"]],
    ]


@given(packs=PACKS, tokens=TOKENS)
def test_micro_batches_hold_each_document_once_in_order(packs, tokens):
    before = [list(pack) for pack in packs]
    batches = list(micro_batches(packs, tokens))
    assert [document for batch in batches for document in batch] == [document for pack in packs for document in pack]
    assert all(batches)
    assert packs == before, "the plan's packs stay as they are"
    assert batches == list(micro_batches(packs, tokens))


@given(packs=PACKS, tokens=TOKENS)
def test_no_micro_batch_is_above_the_limit_but_a_single_longer_document(packs, tokens):
    batches = list(micro_batches(packs, tokens))
    for batch, size in zip(batches, sizes_of(batches), strict=True):
        assert size <= tokens or len(batch) == 1


@given(packs=PACKS, tokens=TOKENS)
def test_micro_batches_are_no_more_than_needed(packs, tokens):
    """What begins a micro-batch would not have fitted into the one before: a pack whole, or, if it is too large, its document."""
    batches = list(micro_batches(packs, tokens))
    sizes = sizes_of(batches)
    pack_of = {document.id: pack for pack in packs for document in pack}
    for before, batch in zip(range(len(batches) - 1), batches[1:], strict=True):
        pack = pack_of[batch[0].id]
        [whole] = sizes_of([pack])
        added = len(batch[0].input_ids) if whole > tokens else whole
        assert sizes[before] + added > tokens
        assert whole > tokens or batch[: len(pack)] == pack, "a pack that fits stays together"


@given(packs=PACKS, per_step=PER_STEP, seed=SEED, limits=st.tuples(TOKENS, TOKENS))
def test_the_global_batch_does_not_depend_on_how_much_runs_at_once(packs, per_step, seed, limits):
    plan = Plan(packs, per_step, 4, seed)
    for step in range(4):
        documents = [
            Counter(document.id for batch in micro_batches(plan.global_batch(step), tokens) for document in batch)
            for tokens in limits
        ]
        assert documents[0] == documents[1]
        assert set(documents[0].values()) == {1}


def test_a_first_token_is_never_predicted_so_its_label_does_not_count():
    ignored = IGNORE_INDEX
    assert count_labels([]) == 0
    assert count_labels([Document("a", [5, 6, 7], [5, 6, 7]), Document("b", [8], [8])]) == 2
    assert count_labels([Example([5, 6, 7], [ignored, ignored, 7]), Example([5, 6], [5, ignored])]) == 1
    assert count_labels([Document("a", [0, 0], [0, 0])]) == 1, "token 0 is a label too"
