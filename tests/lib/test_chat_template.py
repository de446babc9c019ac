"""Labels, prompts and misfits of the chat templates that people use; templates/ holds one of each family."""

import copy
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import REPO, examples
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import (
    SystemMisfit,
    TemplateMisfit,
    note_stops,
    special_tokens,
    stop_token_id,
    stop_token_ids,
    tokenize_conversation,
    tokenize_prompt,
)
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.packs import collate_pack

TEMPLATES = REPO / "tests/templates"
REPLIES = [
    "It leaves at nine.",
    '[{"name": "find_train", "arguments": {"to": "北京", "when": null}}]',
    '<tool_call>\n{"name": "find_train"}\n</tool_call>',
    "很好，谢谢！ 👩‍👩‍👧 naïve — ﬁn",
    "def late(train):\n    if train:\n\n        return {'late': True}  # <|not_special|>",
]


PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
ASKS = "{% if add_generation_prompt %}assistant: {% endif %}"


class Family(NamedTuple):
    """`lead`: what the template puts between the prompt and the reply's text. `stop`: the token that it ends a reply with.

    `closes`: what it puts between text and stop. `rest`: what it writes after the last stop; None where the example is not the
    template's own text. `anew`: whether it renders a turn otherwise once it is past.
    """

    template: str
    bos: str | None
    eos: str
    lead: str
    stop: str
    has_system: bool
    closes: str = ""
    rest: str | None = ""
    anew: bool = False


FAMILIES = {
    "chatml": Family("chatml", None, "<|im_end|>", "", "<|im_end|>", True),
    "llama3": Family("llama3", "<|begin_of_text|>", "<|endoftext|>", "", "<|eot_id|>", True),
    "qwen3": Family("qwen3", None, "<|im_end|>", "<think>\n\n</think>\n\n", "<|im_end|>", True, anew=True),
    "qwen3_without_thinking": Family("qwen3", None, "<|im_end|>", "", "<|im_end|>", True, anew=True),
    "mistral": Family("mistral", "<s>", "</s>", " ", "</s>", False),
    "gemma": Family("gemma", "<bos>", "<eos>", "", "<end_of_turn>", False),
    "phi3": Family("phi3", None, "<|endoftext|>", "", "<|end|>", True, rest="<|endoftext|>"),
    "llama3_first": Family(
        "llama3_first",
        "<|begin_of_text|>",
        "<|endoftext|>",
        "",
        "<|eot_id|>",
        True,
        rest="<|start_header_id|>assistant<|end_header_id|>",
    ),
    "command_r7b": Family(
        "command_r7b",
        "<bos>",
        "<|END_OF_TURN_TOKEN|>",
        "<|START_RESPONSE|>",
        "<|END_OF_TURN_TOKEN|>",
        True,
        closes="<|END_RESPONSE|>",
    ),
    "harmony": Family("harmony", None, "<|return|>", "<|channel|>final<|message|>", "<|return|>", True, anew=True),
    "r1": Family("r1", "<s>", "</s>", "\n</think>\n\n", "</s>", True, rest=None, anew=True),
    "glm4": Family("glm4", None, "<|endoftext|>", "", "<|user|>", True, rest=None),
    "olmo3": Family("olmo3", None, "<|endoftext|>", "", "<|im_end|>", True, rest=None),
    "vicuna": Family("vicuna", None, "</s>", " ", "</s>", False),
    "sees_parts": Family("sees_parts", None, "<|im_end|>", "", "<|im_end|>", True, rest=None),
}


@pytest.fixture(scope="module")
def tokenizers(tiny_model_folder: Path) -> dict[str, Any]:
    """One tokenizer a family; those with a BOS also add one by themselves, unless told not to."""
    made = {}
    for name, family in FAMILIES.items():
        tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
        tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = family.bos, family.eos, family.eos
        tokenizer.chat_template = (TEMPLATES / f"{family.template}.jinja").read_text(encoding="utf-8")
        if name == "qwen3_without_thinking":
            tokenizer.chat_template = "{%- set enable_thinking = false %}" + tokenizer.chat_template
        marks = [*re.findall(r"<\|\w+\|>", tokenizer.chat_template), "<|user|>", "<|assistant|>", "<|system|>"]
        tokenizer.add_special_tokens({"additional_special_tokens": sorted({*marks, "<|USER_TOKEN|>", "<|SYSTEM_TOKEN|>"})})
        if name == "glm4":
            note_stops(tokenizer, tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|user|>"]))
        if name == "olmo3":
            note_stops(tokenizer, tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"]))
        if family.bos:
            tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
                single=f"{family.bos} $A", special_tokens=[(family.bos, tokenizer.bos_token_id)]
            )
        made[name] = tokenizer
    return made


@pytest.fixture
def chatml(tiny_model_folder: Path) -> Any:
    """A tokenizer of the test's own: it may change the template."""
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def converse(turns: int, system: bool = False) -> list[dict]:
    messages = [{"role": "system", "content": "Be brief.\n请简短。"}] if system else []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"Question {turn}? 为什么？"})
        messages.append({"role": "assistant", "content": REPLIES[turn]})
    return messages


def labelled_runs(examples: list) -> list[tuple[list[int], list[int]]]:
    """(the tokens before, the labels) of each unbroken run of labels, in order."""
    runs = []
    for ids, labels in examples:
        starts = [at for at in range(1, len(ids)) if labels[at] != IGNORE_INDEX and labels[at - 1] == IGNORE_INDEX]
        for start in starts:
            end = next((at for at in range(start, len(ids)) if labels[at] == IGNORE_INDEX), len(ids))
            runs.append((ids[:start], labels[start:end]))
    return runs


CONVERSATIONS = pytest.mark.parametrize(
    ("name", "turns", "system"),
    [
        (name, turns, system)
        for name in FAMILIES
        for turns in (1, 2, 5)
        for system in (False, True)
        if FAMILIES[name].has_system or not system
    ],
)


@CONVERSATIONS
def test_the_labels_are_the_replies_each_with_its_stop_token(tokenizers, name, turns, system):
    family, tokenizer = FAMILIES[name], tokenizers[name]
    examples = tokenize_conversation(tokenizer, converse(turns, system))
    replies = [tokenizer.decode(labels) for _, labels in labelled_runs(examples)]
    assert replies == [family.lead + reply + family.closes + family.stop for reply in REPLIES[:turns]]


@CONVERSATIONS
def test_every_token_outside_the_replies_is_ignored_and_no_token_is_changed(tokenizers, name, turns, system):
    for ids, labels in tokenize_conversation(tokenizers[name], converse(turns, system)):
        assert len(ids) == len(labels)
        assert all(label in (token, IGNORE_INDEX) for token, label in zip(ids, labels, strict=True))
        assert labels[0] == IGNORE_INDEX


@CONVERSATIONS
def test_the_training_prefix_of_every_reply_is_its_inference_prompt(tokenizers, name, turns, system):
    tokenizer, messages = tokenizers[name], converse(turns, system)
    prompts = [tokenize_prompt(tokenizer, messages[:at]) for at, message in enumerate(messages) if message["role"] == "assistant"]
    assert [before for before, _ in labelled_runs(tokenize_conversation(tokenizer, messages))] == prompts


@pytest.mark.parametrize("turns", [1, 5])
@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.rest is not None])
def test_the_tokens_spell_what_the_template_renders(tokenizers, name, turns):
    tokenizer, messages = tokenizers[name], converse(turns)
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    last = tokenizer.decode(tokenize_conversation(tokenizer, messages)[-1].input_ids)
    assert rendered.startswith(last)
    assert rendered[len(last) :].strip() == FAMILIES[name].rest


@pytest.mark.parametrize("name", [name for name in FAMILIES if not FAMILIES[name].anew])
def test_a_template_that_continues_its_prefix_gives_one_example(tokenizers, name):
    assert len(tokenize_conversation(tokenizers[name], converse(5))) == 1


@pytest.mark.parametrize("name", [name for name in FAMILIES if FAMILIES[name].anew])
def test_a_template_that_rewrites_earlier_turns_gives_an_example_a_turn(tokenizers, name):
    assert len(tokenize_conversation(tokenizers[name], converse(5))) == 5


def test_thoughts_are_learned_in_their_own_turn_and_gone_from_later_prompts(tokenizers):
    messages = converse(2)
    messages[1] = {"role": "assistant", "content": "<think>\nWhich train?\n</think>\n\nAt nine."}
    first, second = tokenize_conversation(tokenizers["qwen3"], messages)
    assert "Which train?" in tokenizers["qwen3"].decode(first.input_ids)
    assert "Which train?" not in tokenizers["qwen3"].decode(second.input_ids)
    assert [tokenizers["qwen3"].decode(labels) for _, labels in labelled_runs([first])] == [
        "<think>\nWhich train?\n</think>\n\nAt nine.<|im_end|>"
    ]


@settings(deadline=None, max_examples=examples(50))
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=2, max_size=4))
def test_any_text_survives_as_a_label(tokenizers, texts):
    texts = texts[: len(texts) // 2 * 2]
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    examples = tokenize_conversation(tokenizers["chatml"], messages)
    replies = [tokenizers["chatml"].decode(labels) for _, labels in labelled_runs(examples)]
    assert replies == [text + "<|im_end|>" for text in texts[1::2]]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(sorted(FAMILIES)), texts=st.lists(TEXTS, min_size=3, max_size=7), system=st.booleans())
def test_whatever_is_said_is_in_the_text_and_the_labels_are_the_replies_in_every_family(tokenizers, name, texts, system):
    family, tokenizer = FAMILIES[name], tokenizers[name]
    begin = [{"role": "system", "content": texts[0]}] if system and family.has_system else []
    said = texts[1 : len(texts) - (len(texts) - 1) % 2]
    messages = begin + [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
    runs = labelled_runs(tokenize_conversation(tokenizer, messages))
    assert [tokenizer.decode(labels) for _, labels in runs] == [
        family.lead + text + family.closes + family.stop for text in said[1::2]
    ]
    places = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
    for (before, _), place in zip(runs, places, strict=True):
        assert before == tokenize_prompt(tokenizer, messages[:place])
        assert all(message["content"] in tokenizer.decode(before) for message in messages[:place])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_stop_token_is_what_the_template_ends_a_reply_with(tokenizers, name):
    assert tokenizers[name].convert_ids_to_tokens(stop_token_id(tokenizers[name])) == FAMILIES[name].stop


def test_what_no_template_can_be_is_an_error_that_names_the_param(chatml):
    chatml.chat_template = "{% for m in messages %}{{ m.content"
    with pytest.raises(
        ReprotuneError, match=r"does not fit: the template refuses it: .*; give another one in base_model\.chat_template"
    ):
        stop_token_id(chatml)


def test_what_ends_no_reply_is_an_error_that_a_user_can_act_on(chatml):
    chatml.chat_template = PLAIN + ASKS
    with pytest.raises(ReprotuneError, match=r"would never stop; write {{ eos_token }}"):
        stop_token_id(chatml)


@pytest.mark.parametrize("named", [["<|end|>"], ["<|assistant|>", "<|end|>", "<|endoftext|>"], []])
def test_phi3_ends_its_turns_alike_whatever_the_generation_config_names(tokenizers, named):
    tokenizer = copy.deepcopy(tokenizers["phi3"])
    note_stops(tokenizer, tokenizer.convert_tokens_to_ids(named))
    assert tokenizer.convert_ids_to_tokens(stop_token_id(tokenizer)) == "<|end|>"
    assert stop_token_ids(tokenizer) == set(tokenizer.convert_tokens_to_ids([*named, "<|end|>", "<|endoftext|>"]))


def test_a_mark_before_the_stop_is_the_stop_where_nothing_says_otherwise(tokenizers):
    tokenizer = copy.deepcopy(tokenizers["command_r7b"])
    tokenizer.eos_token = "<eos>"
    assert tokenizer.convert_ids_to_tokens(stop_token_id(tokenizer)) == "<|END_RESPONSE|>"


@pytest.mark.parametrize("name", ["llama3", "mistral", "gemma"])
def test_there_is_one_bos_where_template_and_tokenizer_both_write_one(tokenizers, name):
    tokenizer, messages = tokenizers[name], converse(2)
    assert tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id, "this tokenizer should add a BOS"
    (example,) = tokenize_conversation(tokenizer, messages)
    for ids in (example.input_ids, tokenize_prompt(tokenizer, messages[:-1])):
        assert ids[0] == tokenizer.bos_token_id
        assert ids.count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("name", ["chatml", "mistral"])
def test_a_pad_token_that_is_the_stop_token_takes_no_label_away(tokenizers, name):
    stop = stop_token_id(tokenizers[name])
    assert stop == tokenizers[name].pad_token_id
    labels = collate_pack(tokenize_conversation(tokenizers[name], converse(3)))["labels"][0].tolist()
    assert labels.count(stop) == 3


@pytest.mark.parametrize("name", ["mistral", "gemma"])
def test_a_system_message_that_the_template_refuses_is_a_misfit(tokenizers, name):
    reason = r"refuses a system message: (user and .* must take turns|no system role); base_model\.system_messages: in_question"
    with pytest.raises(SystemMisfit, match=reason):
        tokenize_conversation(tokenizers[name], converse(1, system=True))
    with pytest.raises(SystemMisfit, match=reason):
        tokenize_prompt(tokenizers[name], converse(1, system=True)[:-1])


def test_a_system_message_that_the_template_leaves_out_is_a_misfit_that_names_the_param(tokenizers):
    with pytest.raises(SystemMisfit, match=r"loses the system message; base_model\.system_messages: in_question"):
        tokenize_conversation(tokenizers["vicuna"], converse(1, system=True))


@pytest.mark.parametrize("text", ["a", "user", "Be brief."])
def test_a_text_is_missed_although_its_words_stand_elsewhere(chatml, text):
    """This template writes the first message's system text alone; that of a later one may be there by chance."""
    chatml.chat_template = chatml.chat_template.replace(
        "message.content", "(message.content if message.role != 'system' or loop.first)"
    )
    tokenize_conversation(chatml, converse(1, system=True))
    messages = [*converse(1, system=True), {"role": "system", "content": text}, *converse(1)]
    with pytest.raises(TemplateMisfit, match=r"loses the system message; base_model\.system_messages") as misfit:
        tokenize_conversation(chatml, messages)
    assert not isinstance(misfit.value, SystemMisfit), "one at the beginning shows"


def test_turns_that_do_not_alternate_are_a_misfit_where_the_template_minds(tokenizers):
    messages = [converse(1)[0], *converse(1)]
    with pytest.raises(TemplateMisfit, match="must take turns"):
        tokenize_conversation(tokenizers["mistral"], messages)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (
            "{% if add_generation_prompt %}Ask{% else %}{chatml}{% endif %}<|im_start|>{{ messages[0].content }}",
            "does not begin with its generation prompt",
        ),
        (PLAIN + ASKS, "without a special token"),
        (PLAIN, r"no generation prompt, .* have to write 'assistant: ' itself; append {% if add_generation_prompt %}{{ 'as"),
        (
            "{% for m in messages %}<|im_start|>{{ m.content }}\n{% endfor %}" + ASKS.replace("assistant: ", "<|im_start|>"),
            r"nothing but the next turn's <\|im_start\|>, which generation_config.json does not name in eos_token_id",
        ),
        (
            "{% for m in messages if m.role == 'user' %}{{ m.content + eos_token }}{% endfor %}",
            "the chat template loses the reply",
        ),
        ("{% for m in messages if m.role != 'user' %}{{ m.content + eos_token }}{% endfor %}", "loses the user's words"),
        ("{% for m in messages %}{{ m.content", "the template refuses it"),
    ],
    ids=[
        "changes_its_prompt",
        "has_no_stop",
        "has_no_generation_prompt",
        "has_tokens_before_texts_only",
        "leaves_replies_out",
        "leaves_questions_out",
        "is_not_jinja",
    ],
)
def test_a_template_that_cannot_teach_a_reply_is_a_misfit(chatml, template, reason):
    chatml.chat_template = template.replace("{chatml}", chatml.chat_template)
    with pytest.raises(TemplateMisfit, match=reason):
        tokenize_conversation(chatml, converse(1))


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("token", ["<|im_end|>", "<|endoftext|>", "<|im_start|>", "[INST]"])
def test_a_message_that_spells_a_special_token_is_a_misfit_that_names_it(tokenizers, position, token):
    messages = converse(1, system=True)
    messages[position]["content"] += f" and{token}then"
    with pytest.raises(TemplateMisfit) as misfit:
        tokenize_conversation(tokenizers["chatml"], messages)
    assert str(misfit.value) == f"messages[{position}] holds the special token {token}"


def test_added_tokens_that_mark_no_structure_may_stand_in_a_text(chatml):
    chatml.add_tokens(["<tool_call>"])
    assert "<tool_call>" not in special_tokens(chatml)
    (example,) = tokenize_conversation(chatml, converse(3))
    assert chatml.convert_tokens_to_ids("<tool_call>") in example.labels


def test_a_token_that_would_straddle_prompt_and_reply_is_cut_where_inference_cuts_it(chatml):
    chatml.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token if m.role == 'assistant' }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    messages = [
        {"role": "user", "content": "Is it fine?"},
        {"role": "assistant", "content": "fine"},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "late"},
    ]
    prompts = [tokenize_prompt(chatml, messages[:at]) for at in (1, 3)]
    whole = chatml(chatml.apply_chat_template(messages[:2], tokenize=False))["input_ids"]
    assert whole[: len(prompts[0])] != prompts[0], "the tokenizer should join the space and the word"
    runs = labelled_runs(tokenize_conversation(chatml, messages))
    assert [before for before, _ in runs] == prompts
    assert [chatml.decode(labels) for _, labels in runs] == ["fine<|im_end|>", "late<|im_end|>"]
