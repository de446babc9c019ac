"""vLLM as the engine of replies, in its stead a package of the same functions that replies by the tiny model; no GPU is here."""

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import make_conversations

from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import write_json
from stages.lib.general_prompts import RetentionPrompt
from stages.lib.model.hardware import Hardware
from stages.predict import vllm_engine
from stages.predict.generation import generate_replies
from stages.predict.questions import Question
from stages.predict.vllm_engine import ENGINE, find_engine

pytestmark = pytest.mark.usefixtures("one_thread")

CUDA = Hardware("cuda", "float32")
PROMPTS = [RetentionPrompt(id="en/rain", language="en", prompt="What is rain?")]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, model: Any, tokenizer: Any, tiny_model_folder: Path) -> dict[str, list]:
    """What vLLM was asked for: models, and prompts with their adapter."""
    asked: dict[str, list] = {"models": [], "prompts": []}

    class LLM:
        def __init__(self, **options: Any) -> None:
            asked["models"].append(options)

        def generate(self, prompts: list[dict], sampling: list[SimpleNamespace], lora_request: Any, use_tqdm: bool) -> list:
            assert not use_tqdm
            asked["prompts"] += [(prompt["prompt_token_ids"], lora_request) for prompt in prompts]
            questions = [Question(*pair) for pair in zip((ids for ids, _ in asked["prompts"][-len(prompts) :]),
                                                         (one.max_tokens for one in sampling), strict=True)]  # fmt: skip
            assert all((one.temperature, one.ignore_eos) == (0.0, True) for one in sampling)
            replies = generate_replies(model, tokenizer, questions, 4)
            return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(reply.tokens))]) for reply in replies]

    package, lora = ModuleType("vllm"), ModuleType("vllm.lora.request")
    package.LLM, package.SamplingParams = LLM, SimpleNamespace  # type: ignore[attr-defined]
    lora.LoRARequest = lambda *given: given  # type: ignore[attr-defined]
    for name, module in {"vllm": package, "vllm.lora": ModuleType("vllm.lora"), "vllm.lora.request": lora}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(vllm_engine, "pinned_folder", lambda: tiny_model_folder)
    monkeypatch.setattr(vllm_engine, "read_base_pin", lambda: SimpleNamespace(trust_remote_code=False))
    return asked


def test_its_replies_stand_in_the_rows_and_the_likelihoods_are_ours(
    asked: dict[str, list], predict: Callable, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = make_conversations(9, seed=5)
    expected = predict(test, name="ours", retention=PROMPTS)
    monkeypatch.setattr(vllm_engine, "AT_ONCE", 4)
    with vllm_engine.start_vllm("base", CUDA, tokenizer) as engine:
        monkeypatch.setattr("stages.predict.work.generate_replies", lambda *_given: pytest.fail("vLLM replies"))
        assert predict(test, name="vllm", retention=PROMPTS, ahead=engine) == expected
    assert not hasattr(engine, "llm")
    [options] = asked["models"]
    assert (options["dtype"], options["skip_tokenizer_init"], options["generation_config"]) == ("float32", True, "vllm")
    assert "enable_lora" not in options
    assert len(asked["prompts"]) == sum(row["reply"] is not None for row in expected)


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.setattr(vllm_engine, "ADAPTER", tmp_path / "adapter")
    monkeypatch.setattr(vllm_engine, "check_files", lambda *_given: None)
    monkeypatch.setattr(vllm_engine, "read_pin", lambda *_given: SimpleNamespace(files={}))
    (tmp_path / "adapter").mkdir()

    def write(**config: Any) -> Path:
        write_json(tmp_path / "adapter/adapter_config.json", config)
        return tmp_path / "adapter"

    return write


@pytest.mark.parametrize(("r", "rank"), [(1, 1), (2, 8), (16, 16), (200, 256), (1000, 1000)])
def test_tuned_replies_through_its_adapter(
    asked: dict[str, list], adapter: Callable[..., Path], tokenizer: Any, r: int, rank: int
) -> None:
    folder = adapter(r=r, use_dora=False, target_parameters=None)
    with vllm_engine.start_vllm("tuned", CUDA, tokenizer) as engine:
        engine.reply([Question([1, 2, 3], 2)])
    [options] = asked["models"]
    assert (options["enable_lora"], options["max_lora_rank"]) == (True, rank)
    assert asked["prompts"] == [([1, 2, 3], ("tuned", 1, str(folder)))]


def test_a_model_that_was_trained_whole_is_loaded_itself(
    asked: dict[str, list], adapter: Callable[..., Path], tokenizer: Any
) -> None:
    folder = adapter(r=1)
    (folder / "adapter_config.json").unlink()
    with vllm_engine.start_vllm("tuned", CUDA, tokenizer):
        pass
    assert asked["models"][0]["model"] == str(folder)


@pytest.mark.parametrize("key", ["use_dora", "target_parameters"])
def test_an_adapter_that_it_cannot_load_is_refused(adapter: Callable[..., Path], key: str) -> None:
    adapter(**{"r": 8, key: ["a"]})
    with pytest.raises(ReprotuneError, match=f"can't load an adapter with {key}; unset it"):
        vllm_engine.find_adapter()


def test_the_engine_is_ours_unless_another_is_asked_for_and_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENGINE, raising=False)
    assert find_engine(CUDA) is None
    for ours in ("", "transformers"):
        monkeypatch.setenv(ENGINE, ours)
        assert vllm_engine.describe_decoding(find_engine(CUDA)) == "greedy"
    monkeypatch.setenv(ENGINE, "sglang")
    with pytest.raises(ReprotuneError, match=f"{ENGINE}=sglang: expected transformers or vllm"):
        find_engine(CUDA)
    monkeypatch.setenv(ENGINE, "vllm")
    with pytest.raises(ReprotuneError, match="needs a GPU"):
        find_engine(Hardware("cpu", "float32"))
    with pytest.raises(ReprotuneError, match="not installed"):
        find_engine(CUDA)
    monkeypatch.setattr(metadata, "version", lambda _name: "1.2")
    assert vllm_engine.describe_decoding(find_engine(CUDA)) == "greedy/vllm-1.2"
