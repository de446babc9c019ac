"""Packs hold every example once, and each example in one is as likely as alone."""

from pathlib import Path

import pytest
import torch
from conftest import make_conversations
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import AutoTokenizer

from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.lib.chat_template import tokenize_conversation
from stages.lib.model.packs import collate_pack, label_nll
from stages.train.packing import pack

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = st.lists(st.integers(1, 40), max_size=60)
CAPACITY = st.integers(1, 60)


@given(lengths=LENGTHS, capacity=CAPACITY)
def test_every_position_is_in_exactly_one_group_and_no_group_is_empty(lengths, capacity):
    groups = pack(lengths, capacity)
    assert sorted(position for group in groups for position in group) == list(range(len(lengths)))
    assert all(groups)


@given(lengths=LENGTHS, capacity=CAPACITY)
def test_no_group_is_over_capacity_but_a_single_example_that_is_too_long(lengths, capacity):
    for group in pack(lengths, capacity):
        assert sum(lengths[position] for position in group) <= capacity or len(group) == 1


@given(lengths=LENGTHS, capacity=CAPACITY)
def test_no_two_groups_would_fit_into_one(lengths, capacity):
    sizes = sorted(sum(lengths[position] for position in group) for group in pack(lengths, capacity))
    assert len(sizes) < 2 or sizes[0] + sizes[1] > capacity


@given(lengths=LENGTHS, capacity=CAPACITY)
def test_the_same_lengths_give_the_same_groups_in_the_order_given(lengths, capacity):
    groups = pack(lengths, capacity)
    assert groups == pack(tuple(lengths), capacity)
    assert groups == sorted(map(sorted, groups))


@pytest.mark.parametrize(
    ("lengths", "groups"),
    [
        ([], []),
        ([10, 7, 3], [[0], [1, 2]]),
        ([6, 7, 3, 4], [[0, 3], [1, 2]]),
        ([12, 5, 5], [[0], [1, 2]]),
    ],
    ids=["nothing", "full", "best_fit_not_first", "too_long"],
)
def test_each_length_goes_where_it_leaves_the_least_room(lengths, groups):
    assert pack(lengths, capacity=10) == groups


@pytest.fixture(scope="module")
def examples(tiny_model_folder: Path) -> list[Example]:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    return [example for row in make_conversations(6) for example in tokenize_conversation(tokenizer, row["messages"])]


def test_positions_begin_anew_in_each_example(examples):
    positions = collate_pack(examples[:3])["position_ids"]
    assert positions[0].tolist() == [at for example in examples[:3] for at in range(len(example.input_ids))]


def test_a_pack_holds_all_tokens_and_labels_in_order_and_no_example_labels_its_first_token():
    batch = collate_pack([Example([5, 6, 7], [5, 6, 7]), Example([8, 9], [8, IGNORE_INDEX]), Example([3], [3])])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 3]]
    assert batch["labels"].tolist() == [[IGNORE_INDEX, 6, 7, IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX]]
    assert set(batch) == {"input_ids", "labels", "position_ids"}, "an attention mask would let examples see each other"


@pytest.mark.parametrize("mode", ["evaluation", "training", "gradient_checkpointing"])
def test_each_example_is_as_likely_in_a_pack_as_alone(model, examples, mode):
    model.train(mode != "evaluation")
    if mode == "gradient_checkpointing":
        model.gradient_checkpointing_enable()
    packed = label_nll(model, collate_pack(examples))
    alone = torch.cat([label_nll(model, collate_pack([example])) for example in examples])
    assert packed.dtype == torch.float32
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_pack_gives_the_gradient_of_its_examples_alone(model, examples, checkpointing):
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    gradients = []
    for packs in ([examples], [[example] for example in examples]):
        model.zero_grad()
        for each in packs:
            label_nll(model, collate_pack(each)).sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert gradients[0].norm() > 0
    assert (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[0].norm()


def test_what_one_example_says_changes_nothing_in_the_next(model, examples):
    first, second = examples[:2]
    other = Example([(token + 7) % 500 for token in first.input_ids], [IGNORE_INDEX] * len(first.labels))
    labels = sum(label != IGNORE_INDEX for label in second.labels)
    beside_first = label_nll(model, collate_pack([first, second]))[-labels:]
    beside_other = label_nll(model, collate_pack([other, second]))
    torch.testing.assert_close(beside_first, beside_other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("trap", ["mask_of_ones", "default_cache"])
def test_a_mask_of_ones_or_a_cache_would_let_examples_see_each_other(model, examples, trap):
    """If this fails, transformers has changed: what label_nll avoids is then no trap any more."""
    batch = collate_pack(examples[:2])
    options = {"mask_of_ones": {"attention_mask": torch.ones_like(batch["input_ids"]), "use_cache": False}, "default_cache": {}}
    logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], **options[trap]).logits
    trapped = functional.cross_entropy(logits[0, :-1], batch["labels"][0, 1:], reduction="none")
    trapped = trapped[batch["labels"][0, 1:] != IGNORE_INDEX]
    assert (trapped - label_nll(model, batch)).abs().max() > 0.1


def test_the_loss_from_logits_at_labels_only_is_the_loss_from_all_logits(model, examples):
    batch = collate_pack(examples)
    heads = []
    model.lm_head.register_forward_hook(lambda _head, _inputs, output: heads.append(output.shape[1]))
    nll = label_nll(model, batch)
    logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
    whole = functional.cross_entropy(logits[0, :-1], batch["labels"][0, 1:], ignore_index=IGNORE_INDEX, reduction="sum")
    assert nll.sum().item() == pytest.approx(whole.item(), rel=1e-6)
    assert heads == [len(nll), batch["input_ids"].shape[1]], "the head should run at the labels only"
    assert len(nll) == sum(label != IGNORE_INDEX for example in examples for label in example.labels)
