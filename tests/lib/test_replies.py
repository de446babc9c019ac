"""What a model's reply is: the text after its thoughts, whatever a template puts around both."""

from pathlib import Path
from typing import Any

import pytest
from conftest import CHATML, REPO
from transformers import AutoTokenizer

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import tokenize_conversation, what_is_said
from stages.lib.records.conversation import Message

FILES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((REPO / "tests/templates").glob("*.jinja"))}
FILES |= {
    "chatml": CHATML,
    "qwen3_off": "{%- set enable_thinking = false %}" + FILES["qwen3"],
    "names_whom_it_tells": CHATML.replace(
        "{{ message.content }}", "{{ 'all\n<|message|>' if message.role == 'assistant' }}{{ message.content }}"
    ),
    "closes_in_the_prompt": CHATML.replace("<|im_start|>assistant\n{% endif", "<|im_start|>assistant\n</think>{% endif").replace(
        "{{ message.content }}", "{{ '</think>' if message.role == 'assistant' }}{{ message.content }}"
    ),
}
MARKS = ["<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|User|>", "<|Assistant|>"]
MARKS += ["<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>"]
KNOW_THOUGHTS = ["chatml", "qwen3", "r1", "harmony"]  # in a key, in the text, opened in the prompt, in a channel


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    return tokenizer


def give(tokenizer: Any, name: str) -> Any:
    tokenizer.eos_token = {"harmony": "<|return|>", "r1": "</s>", "command_r7b": "<|END_OF_TURN_TOKEN|>"}.get(name, "<|im_end|>")
    tokenizer.chat_template = FILES[name]
    return tokenizer


def written(tokenizer: Any, reply: str, thoughts: str | None = None) -> list[int]:
    """What a model that was trained on such a reply writes, without the stop token."""
    answer: Message = {"role": "assistant", "content": reply}
    if thoughts is not None:
        answer["reasoning_content"] = thoughts
    (example,) = tokenize_conversation(tokenizer, [{"role": "user", "content": "2+2?"}, answer])
    return [label for label in example.labels if label != IGNORE_INDEX][:-1]


@pytest.mark.parametrize(
    "name", [*KNOW_THOUGHTS, "qwen3_off", "closes_in_the_prompt", "command_r7b", "sees_parts", "names_whom_it_tells"]
)
@pytest.mark.parametrize("reply", ["4.", "final", "很好。\n\nassistant: 4 < 5"])
def test_a_reply_is_its_text_alone(tokenizer: Any, name: str, reply: str) -> None:
    assert what_is_said(give(tokenizer, name), written(tokenizer, reply)) == (reply, "")


@pytest.mark.parametrize("name", KNOW_THOUGHTS)
@pytest.mark.parametrize("thoughts", ["2 and 2 are 4.", "One.\n\nTwo: analysis"])
def test_thoughts_stand_apart_from_the_reply(tokenizer: Any, name: str, thoughts: str) -> None:
    assert what_is_said(give(tokenizer, name), written(tokenizer, "4.", thoughts)) == ("4.", thoughts)


@pytest.mark.parametrize("name", KNOW_THOUGHTS)
def test_a_model_that_is_cut_off_while_it_thinks_has_not_replied(tokenizer: Any, name: str) -> None:
    give(tokenizer, name)
    ids = written(tokenizer, "4.", "2 and 2 are 4, I think")
    text = tokenizer.decode(ids)
    cut = next(at for at in range(len(ids)) if "2 and 2 ar" in tokenizer.decode(ids[:at]))
    said = what_is_said(tokenizer, ids[:cut])
    assert said.text == "", text
    assert said.thoughts.startswith("2 and 2 ar")


def test_tags_that_a_reply_talks_about_stay_where_no_thought_began(tokenizer: Any) -> None:
    ids = tokenizer("A <b>bold</b> word and <think> as a word.")["input_ids"]
    assert what_is_said(give(tokenizer, "chatml"), ids).text == "A <b>bold</b> word and <think> as a word."


def test_special_tokens_are_no_part_of_what_is_said(tokenizer: Any) -> None:
    ids = tokenizer("<|im_start|>4.<|endoftext|>")["input_ids"]
    assert what_is_said(give(tokenizer, "chatml"), ids) == ("4.", "")


def test_a_template_that_fits_nothing_reads_the_usual_tags(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    ids = tokenizer("<think>2 and 2.</think>4.")["input_ids"]
    assert what_is_said(tokenizer, ids) == ("4.", "2 and 2.")
