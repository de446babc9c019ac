"""Examples in columns: the pairs that went in, in little memory."""

import tracemalloc
from itertools import chain
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.lib.base_model import tokenized
from stages.lib.base_model.tokenized import IGNORE_INDEX, SCHEMA, Example, Examples, examples_of, read_examples, write_examples
from stages.train.plan import count_labels, read_packs

TOKENS = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.booleans()), max_size=6)
PAIRS = st.lists(st.tuples(st.text("ab客/", max_size=3), TOKENS), max_size=12).map(
    lambda rows: [
        (id, Example([token for token, _ in row], [token if labelled else IGNORE_INDEX for token, labelled in row]))
        for id, row in rows
    ]
)


@settings(deadline=None, max_examples=30)
@given(pairs=PAIRS, at_once=st.integers(1, 13))
def test_a_file_gives_the_pairs_that_were_written_however_many_are_read_at_once(tmp_path_factory, pairs, at_once):
    path = tmp_path_factory.mktemp("tokenized") / "pairs.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenized, "ROWS_READ_AT_ONCE", at_once)
        write_examples(path, pairs)
        examples = read_examples(path)
    assert list(examples) == pairs
    assert pq.read_table(path).to_pylist() == [{"id": id, **example._asdict()} for id, example in pairs]
    assert pq.read_schema(path).remove_metadata() == SCHEMA


@settings(deadline=None, max_examples=30)
@given(pairs=PAIRS)
def test_lengths_and_labels_in_columns_are_those_of_the_lists(pairs):
    examples = Examples(pairs)
    assert examples.lengths().tolist() == [len(example.input_ids) for _, example in pairs]
    assert examples.predicted().tolist() == [count_labels([example]) for _, example in pairs]


def test_a_position_counts_from_either_end_and_a_wrong_one_is_an_error():
    pairs = [(id, Example([at], [at])) for at, id in enumerate("abc")]
    examples = Examples(pairs)
    assert [examples[at] for at in (0, 2, -1, -3)] == [pairs[at] for at in (0, 2, -1, -3)]
    assert examples[1:] == pairs[1:]
    for at in (3, -4):
        with pytest.raises(IndexError):
            examples[at]


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A train split in the working directory; how many tokens it has."""
    monkeypatch.chdir(tmp_path)
    lengths = [100 + at % 300 for at in range(1000)]
    tokens = [list(range(1000, 1000 + length)) for length in lengths]
    write_examples(examples_of("train"), [(f"row{at}", Example(ids, ids)) for at, ids in enumerate(tokens)])
    return sum(lengths)


def test_training_holds_at_most_twelve_bytes_a_token(many, monkeypatch):
    monkeypatch.setattr(tokenized, "ROWS_READ_AT_ONCE", 100)
    tracemalloc.start()
    try:
        packs = read_packs("train", 768, seed=0)
        longest = packs.longest()
        labels = sum(map(count_labels, packs))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * many  # as lists of integers some 80
    assert len(longest.input_ids) == 399
    assert labels == many - 1000


@pytest.mark.usefixtures("many")
def test_the_longest_document_is_the_first_of_the_longest_in_the_packs():
    packs = read_packs("train", 768, seed=0)
    assert packs.longest() == max(chain(*packs), key=lambda document: len(document.input_ids))
    assert list(packs[3:9:2]) == [packs[at] for at in (3, 5, 7)]
