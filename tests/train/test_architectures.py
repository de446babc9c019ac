"""Every causal language model that transformers has, tiny and random: trained, saved, merged and asked as the plain way does."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from conftest import REPO, run
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from benchmarks.architectures import shapes
from benchmarks.architectures.gradients import Found, compare_errors
from benchmarks.architectures.trial import PRECISIONS, Result, make_model, train_once, try_kind, with_adapter
from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.lib.model.hardware import Hardware
from stages.lib.model.packs import Tokens, causal_lm
from stages.train.attention import PACKED_ATTENTION, packed_attention
from stages.train.likelihood import LabelNll, packed_nll, separate_nll

pytestmark = pytest.mark.usefixtures("one_thread")

QUICKLY_TRIED = ("llama", "gpt_oss", "phi3, long RoPE")
VARIANTS_PACKED = {"cohere, norms of queries": False, "llama, dynamic RoPE": False, "llama, YaRN": True, "phi3, long RoPE": False}


def read_table(page: str) -> tuple[list[str], list[str], list[str]]:
    """The model types of a page's table: packed, run one by one, refused."""
    text = (REPO / "docs" / page).read_text(encoding="utf-8")
    table = text[text.index("python -m benchmarks.architectures") :].partition("\n| ")[2].partition("\n\n")[0]
    packed, one_by_one, refused = (re.findall(r"[a-z][\w-]*\w", row.split("|")[-2]) for row in table.splitlines()[2:])
    return packed, one_by_one, refused


def check(kind: str, precision: str) -> None:
    result = try_kind(kind, precision)
    assert not result.refused
    assert not result.wrong(precision), result
    packed, one_by_one, _ = read_table("training.md")
    known = dict.fromkeys(packed, True) | dict.fromkeys(one_by_one, False) | VARIANTS_PACKED
    assert result.packed is known[kind]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", QUICKLY_TRIED)
def test_it_is_right_whether_packed_or_one_by_one(kind, precision, monkeypatch):
    monkeypatch.chdir(REPO)
    check(kind, precision)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", [kind for kind in shapes.kinds() if kind not in QUICKLY_TRIED])
def test_all_others_are_right_too(kind, precision, monkeypatch):
    monkeypatch.chdir(REPO)
    check(kind, precision)


@pytest.mark.slow
def test_the_command_prints_the_table(warm):
    told = run(["python", "-m", "benchmarks.architectures", "llama"], REPO, **warm).stdout
    assert "| packed (1) | llama |" in told
    assert "bfloat16, at worst: " in told


def pack_without_asking(model: Any, _documents: Sequence[Tokens], _hardware: Hardware) -> LabelNll:
    """Whatever the model asks of its attention besides, and whatever runs on from one document to the next."""
    known = {"dropout", "scaling", "sliding_window", "cu_seq_lens_q", "is_causal"}

    def attend(module: Any, query: Any, key: Any, value: Any, _mask: Any, **given: Any) -> Any:
        return packed_attention(module, query, key, value, None, **{name: each for name, each in given.items() if name in known})

    ALL_ATTENTION_FUNCTIONS.register("packed_without_asking", attend)
    model.set_attn_implementation("packed_without_asking")
    return packed_nll


def lose_borders(model: Any, _documents: Sequence[Tokens], _hardware: Hardware) -> LabelNll:
    """Of each two documents in the pack the second sees the first."""

    def lose(_module: Any, inputs: Any, given: dict[str, Any]) -> Any:
        left = torch.cat([given["cu_seq_lens_q"][:-1:2], given["cu_seq_lens_q"][-1:]])
        return inputs, {**given, "cu_seq_lens_q": left, "cu_seq_lens_k": left}

    model.set_attn_implementation(PACKED_ATTENTION)
    causal_lm(model).base_model.register_forward_pre_hook(lose, with_kwargs=True)
    return packed_nll


def join_documents(_model: Any, _documents: Sequence[Tokens], _hardware: Hardware) -> LabelNll:
    """All as one, by the model's own attention."""

    def nll(model: Any, documents: Sequence[Tokens]) -> torch.Tensor:
        ids = [token for document in documents for token in document.input_ids]
        labels = [label for document in documents for label in (IGNORE_INDEX, *document.labels[1:])]
        return separate_nll(model, [Example(ids, labels)])

    return nll


def assert_seen(kind: str, precision: str, fault: Any) -> None:
    packed, comparison = train_once(with_adapter(make_model(kind, precision)), precision, fault)
    assert "gradients" in Result(packed, *comparison).wrong(precision), comparison


FAULTS = [
    ("llama", lose_borders), ("gemma3_text", lose_borders), ("gpt_oss", pack_without_asking),
    ("phi3, long RoPE", pack_without_asking),
    *(pytest.param(kind, pack_without_asking, marks=pytest.mark.slow) for kind in ("jamba", "lfm2")),
]  # fmt: skip


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("kind", "fault"), FAULTS)
def test_a_planted_fault_is_seen_in_either_precision(kind, fault, precision, monkeypatch):
    monkeypatch.chdir(REPO)
    assert_seen(kind, precision, fault)


@pytest.mark.slow
@pytest.mark.parametrize("kind", shapes.kinds()[::8])  # a sample: it takes seconds each
def test_in_bfloat16_documents_that_see_each_other_are_seen(kind, monkeypatch):
    monkeypatch.chdir(REPO)
    assert_seen(kind, "bfloat16", join_documents)


@pytest.mark.parametrize(("off", "seen"), [([8], False), ([2.5] * 5, True), ([12] * 4, True), ([300], True)], ids=str)
def test_another_expert_for_some_token_is_no_fault_and_what_changes_most_documents_is(off, seen):
    generator = torch.Generator().manual_seed(0)
    exact = Found(torch.ones(8), torch.randn(8, 500, generator=generator))
    rounding = 0.01 * torch.randn(8, 500, generator=generator)
    worse = torch.tensor([*off, *[1] * (8 - len(off))])[:, None]
    plain, found = (Found(exact.losses, exact.gradients + each) for each in (rounding, worse * rounding))
    assert bool(Result(True, *compare_errors(found, plain, exact)).wrong("bfloat16")) is seen


def test_what_is_left_out_is_known_to_transformers():
    left_out = [*shapes.ENCODERS, *shapes.HALVES, *shapes.MULTIMODAL, *shapes.OF_ANOTHER_CLASS, *shapes.NOT_TRAINED]
    assert set(left_out) <= set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert len(left_out) == len(set(left_out))


@pytest.mark.parametrize("page", ["training.md", "training.zh.md"])
def test_the_table_in_the_docs_has_every_kind_once(page):
    packed, one_by_one, refused = read_table(page)
    assert sorted([*packed, *one_by_one, *VARIANTS_PACKED]) == sorted(shapes.kinds())
    assert set(shapes.NOT_TRAINED) <= set(refused)
