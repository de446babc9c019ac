"""Every causal language model that transformers has, tiny and random: trained, saved, merged and asked as the plain way does."""

import pytest
from conftest import REPO
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from benchmarks.architectures import shapes
from benchmarks.architectures.trial import try_kind

pytestmark = pytest.mark.usefixtures("one_thread")

PRECISIONS = ("float32", "bfloat16")
QUICKLY_TRIED = ("llama", "gpt_oss", "jamba", "phi3, long RoPE")
PACKED = {"llama", "qwen2", "qwen3", "mistral", "gemma3_text", "phi3", "mixtral", "qwen3_moe"}
ONE_BY_ONE = {
    "bamba", "falcon_h1", "gpt_oss", "granitemoehybrid", "jamba", "lfm2", "llama, dynamic RoPE", "mamba2", "nemotron_h",
    "phi3, long RoPE", "zamba", "zamba2",
}  # fmt: skip


def check(kind: str, precision: str) -> None:
    result = try_kind(kind, precision)
    assert not result.refused
    assert not result.wrong(precision), result
    assert result.packed or kind not in PACKED
    assert not result.packed or kind not in ONE_BY_ONE


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


def test_what_is_left_out_is_known_to_transformers():
    left_out = [*shapes.ENCODERS, *shapes.HALVES, *shapes.MULTIMODAL, *shapes.OF_ANOTHER_CLASS, *shapes.NOT_TRAINED]
    assert set(left_out) <= set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert len(left_out) == len(set(left_out))
    assert set(shapes.kinds()) >= PACKED | ONE_BY_ONE
