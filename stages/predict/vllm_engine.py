"""Replies by vLLM, for REPROTUNE_ENGINE=vllm: an engine for many prompts on a GPU. Likelihoods are ours all the same.

It is no param: it is meant to decide speed. But its last digits are its own, so that now and then a word is another, and nothing
promises the same bytes twice: its name and version stand in the predictions, and only what the same engine replied is compared.
"""

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module, metadata  # no requirement pins vLLM: who wants it installs it
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.base_model.pin import pinned_folder, read_base_pin
from stages.lib.base_model.pins import ADAPTER_PIN, AdapterPin, check_files, read_pin
from stages.lib.base_model.source import load_config
from stages.lib.chat_template import stop_token_ids
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json
from stages.lib.model.adapter import ADAPTER
from stages.lib.model.hardware import Hardware
from stages.lib.records.predictions import Contender
from stages.predict.questions import Question, context_of
from stages.predict.reply import Reply
from stages.predict.work import Put, Segment, Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENGINE = "REPROTUNE_ENGINE"
OURS = "transformers"
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM has kernels for
AT_ONCE = 1000  # prompts, between which what is done is kept


def find_engine(hardware: Hardware) -> str | None:
    """vLLM's name and version if it is asked for, else None.

    Raises:
        ReprotuneError: it can't run here, or another engine is asked for.
    """
    chosen = os.environ.get(ENGINE) or OURS
    if chosen == OURS:
        return None
    if chosen != "vllm":
        raise ReprotuneError(f"{ENGINE}={chosen}: expected {OURS} or vllm")
    if hardware.device != "cuda":
        raise ReprotuneError(f"{ENGINE}=vllm: it needs a GPU, and none is visible; unset it")
    try:
        return f"vllm-{metadata.version('vllm')}"
    except metadata.PackageNotFoundError:
        raise ReprotuneError(f"{ENGINE}=vllm: it is not installed; see docs/evaluation.md, or unset it") from None


def describe_decoding(engine: str | None) -> str:
    """As it stands in the predictions."""
    return f"greedy/{engine}" if engine else "greedy"


@contextmanager
def start_vllm(name: Contender, hardware: Hardware, tokenizer: "PreTrainedTokenizerBase") -> Iterator["VllmModel"]:
    """The contender's model in vLLM; afterwards the GPU's memory is free for the likelihoods."""
    model = VllmModel(name, hardware, tokenizer)
    try:
        yield model
    finally:
        del model.llm
        gc.collect()


class VllmModel:
    """A model that replies, and does nothing else."""

    number = 1
    exact = True  # it makes its batches itself

    def __init__(self, name: Contender, hardware: Hardware, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.stops = stop_token_ids(tokenizer)
        base, trusted = pinned_folder(), read_base_pin().trust_remote_code
        self.context = context_of(load_config(base, trusted, local_files_only=True))
        self.adapter = find_adapter() if name == "tuned" else None
        whole = name == "tuned" and self.adapter is None
        lora = {"enable_lora": True, "max_lora_rank": fitting_rank(self.adapter)} if self.adapter else {}
        self.llm: Any = import_module("vllm").LLM(
            model=str(ADAPTER if whole else base),
            skip_tokenizer_init=True,
            dtype=hardware.precision,
            seed=0,
            trust_remote_code=trusted,
            generation_config="vllm",  # the model's own may hold penalties
            **lora,
        )

    def work(self, tasks: Iterable[Task], put: Put) -> None:
        for task in tasks:
            assert isinstance(task, Segment)
            for start in range(0, len(task.keys), AT_ONCE):
                replies = self.reply(task.questions[start : start + AT_ONCE])
                for key, reply in zip(task.keys[start:], replies, strict=False):
                    put(key, reply)

    def reply(self, questions: list[Question]) -> list[Reply]:
        options = {"temperature": 0.0, "ignore_eos": True, "stop_token_ids": sorted(self.stops), "detokenize": False}
        sampling = [import_module("vllm").SamplingParams(max_tokens=question.room, **options) for question in questions]
        prompts = [{"prompt_token_ids": question.prompt} for question in questions]
        request = import_module("vllm.lora.request").LoRARequest
        adapter = request("tuned", 1, str(self.adapter)) if self.adapter else None
        replies = []
        for output in self.llm.generate(prompts, sampling, lora_request=adapter, use_tqdm=False):
            tokens = list(output.outputs[0].token_ids)
            replies.append(Reply(tokens, stopped=bool(tokens) and tokens[-1] in self.stops))
        return replies


def find_adapter() -> Path | None:
    """The adapter's folder, verified; None where the model was trained whole.

    Raises:
        ReprotuneError: vLLM has no code for it.
    """
    check_files(ADAPTER, read_pin(ADAPTER_PIN, AdapterPin).files, ADAPTER_PIN)
    if not (ADAPTER / "adapter_config.json").is_file():
        return None
    config = read_json(ADAPTER / "adapter_config.json")
    for key in ("use_dora", "target_parameters"):
        if config.get(key):
            raise ReprotuneError(f"{ENGINE}=vllm: it can't load an adapter with {key}; unset it")
    return ADAPTER.resolve()


def fitting_rank(adapter: Path) -> int:
    rank: int = read_json(adapter / "adapter_config.json")["r"]
    return next((known for known in RANKS if known >= rank), rank)
