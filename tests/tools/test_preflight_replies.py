"""Before training it is said how long replies may be, and which prompts of test leave them no room."""

from pathlib import Path
from typing import Any

import pytest
from conftest import make_conversations, tiny_params, write_conversations, write_params
from transformers import AutoConfig, AutoTokenizer

from stages.lib.records.conversation import conversations_of
from tools.preflight import replies


@pytest.fixture
def tell(tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(replies, "load_tokenizer", lambda: AutoTokenizer.from_pretrained(tiny_model_folder))
    write_params(tmp_path, tiny_params())
    return lambda: " ".join("\n".join(replies.tell_replies(AutoConfig.from_pretrained(tiny_model_folder))).split())


def chats(*questions: str) -> list[dict]:
    reply = {"role": "assistant", "content": "Yes."}
    return [{"id": f"long{at}", "messages": [{"role": "user", "content": text}, reply]} for at, text in enumerate(questions)]


def test_prompts_that_leave_replies_too_little_room_are_counted(tell: Any, tokenizer_length: Any) -> None:
    write_conversations(conversations_of("train"), make_conversations(30))
    write_conversations(conversations_of("test"), make_conversations(5))
    fits = tell()
    assert "replies of up to 4 tokens; dialogue:" in fits
    assert "context" not in fits
    full = "a" * (512 - tokenizer_length("") - 2)
    write_conversations(conversations_of("test"), chats("Why?", full, full + "aaaaaa"))
    assert "In the model's context of 512 tokens, 1 of the prompts leave less room than that, and 1 can't be replied to" in tell()


@pytest.fixture
def tokenizer_length(tiny_model_folder: Path) -> Any:
    """Tokens of a prompt whose question is the text."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    return lambda text: len(
        tokenizer.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True)["input_ids"]
    )


def test_before_the_split_nothing_is_said(tell: Any) -> None:
    assert tell() == ""
