"""The preview says whether the model learns thoughts, and which mode of it the others train."""

from typing import Any

import pytest
from conftest import CHATML, REPO
from transformers import AutoTokenizer

from tools.preview.thoughts import tell_thoughts

QWEN3 = (REPO / "tests/templates/qwen3.jinja").read_text(encoding="utf-8")
ASKED = {"role": "user", "content": "2+2?"}
PLAIN = {"messages": [ASKED, {"role": "assistant", "content": "4."}]}
THINKING = {"messages": [ASKED, {"role": "assistant", "content": "4.", "reasoning_content": "2 and 2."}]}
OPENS = CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif").replace(
    "{{ message.content }}", "{{ message.content.split('</think>') | last }}"
)


def closes(empty: str) -> str:
    """A prompt for replies without thoughts; the template knows none in its other turns."""
    return "{# thinks #}" + CHATML.replace("assistant\n{% endif", f"assistant\n{empty}{{% endif")


@pytest.fixture
def tokenizer(tiny_model_folder) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def told(tokenizer: Any, template: str, *conversations: Any) -> str:
    tokenizer.chat_template = template
    return " ".join(" ".join(tell_thoughts(tokenizer, conversations)).split())


@pytest.mark.parametrize(
    ("template", "conversations", "expected"),
    [
        (CHATML, [PLAIN], ""),
        (
            CHATML,
            [PLAIN, THINKING],
            "in 1 of 2 conversations: the template knows none, so the model learns to write them",
        ),
        (QWEN3, [THINKING], "in 1 of 1 conversations"),
        (
            QWEN3,
            [PLAIN],
            "non-thinking mode: it learns to write an empty thought before each reply (`base_model.temp",
        ),
        (QWEN3, [PLAIN, THINKING], "the others train the model's non-thinking mode: it learns to write an empty thought"),
        ("{%- set enable_thinking = false %}" + QWEN3, [PLAIN], "non-thinking mode: the prompt holds an empty thought already"),
        (OPENS, [PLAIN], "non-thinking mode: the prompt opens a thought, which it learns to close at once"),
        (
            "{%- set enable_thinking = false %}" + QWEN3,
            [THINKING],
            "loses the thoughts, which stops `dvc repro` (clean.thoughts: d",
        ),
        *(
            (closes(empty), conversations, expected)
            for empty in ("</think>", "<|START_THINKING|><|END_THINKING|>", "<|channel>thought\n<channel|>")
            for conversations, expected in (
                ([PLAIN], "non-thinking mode: the prompt holds an empty thought already"),
                ([THINKING], "loses the thoughts, which stops `dvc repro` (clean.thoughts: drop)"),
            )
        ),
    ],
)
def test_the_mode_that_is_trained_is_told(tokenizer, template, conversations, expected):
    said = told(tokenizer, template, *conversations)
    assert expected in said
    assert bool(said) == bool(expected)
