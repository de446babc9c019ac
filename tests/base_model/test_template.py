"""The chat template that base_model writes: what stands at its top, what is refused, and the way out that the refusal names."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import CHATML, REPO
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

from stages.base_model.template import DIRECTIVES
from stages.base_model.tokenizer import write_tokenizer
from stages.lib.base_model.source import BaseModelParams
from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import stop_token_id, stop_token_ids, tokenize_conversation
from stages.lib.chat_template.tokenizer import GENERATION, TOKENIZER, open_tokenizer
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json, write_json
from stages.lib.records.conversation import Message

FILES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((REPO / "tests/templates").glob("*.jinja"))}
TALK: list[Message] = [{"role": "user", "content": "At nine?"}, {"role": "assistant", "content": "At ten."}]
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path) -> Path:
    """A model's folder without weights; the working directory is there."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors")))


def write(model: Path, template: str | None = None, **settings: Any) -> Any:
    """The tokenizer as any tool loads it from models/tokenizer."""
    given = {
        "source": "path", "name": "tiny", "path": str(model), "revision": None, "trust_remote_code": False,
        "chat_template": template, "template_variables": {}, "template_date": "2026-01-01", "system_messages": "keep",
    }  # fmt: skip
    write_tokenizer(model, BaseModelParams.model_validate(given | settings))
    return AutoTokenizer.from_pretrained(TOKENIZER)


def test_a_template_from_params_takes_the_place_of_the_models(model: Path) -> None:
    (model / "chat_template.jinja").unlink()
    assert write(model, "Hear! " + CHATML).apply_chat_template(TALK, tokenize=False).startswith("Hear! <|im_start|>")


def test_of_several_chat_templates_the_default_is_taken(model: Path) -> None:
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates/tool_use.jinja").write_text("tools", encoding="utf-8")
    assert "<|im_start|>user\nAt nine?" in write(model).apply_chat_template(TALK, tokenize=False)


def test_one_of_several_chat_templates_is_chosen_by_its_name(model: Path) -> None:
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates/tool_use.jinja").write_text("Tools! " + CHATML, encoding="utf-8")
    assert write(model, "tool_use").apply_chat_template(TALK, tokenize=False).startswith("Tools! <|im_start|>")
    assert write(model, "Mine! " + CHATML).apply_chat_template(TALK, tokenize=False).startswith("Mine! <|im_start|>")


@pytest.mark.parametrize(
    "own", [CHATML, [{"name": "default", "template": CHATML}, {"name": "rag", "template": "Rag! " + CHATML}]]
)
def test_a_processors_template_is_the_models_where_its_tokenizer_has_none(model: Path, own: object) -> None:
    """Models that see: some keep it in chat_template.json alone."""
    (model / "chat_template.jinja").unlink()
    write_json(model / "chat_template.json", {"chat_template": own})
    assert write(model).apply_chat_template(TALK, tokenize=False).startswith("<|im_start|>user\nAt nine?")
    if isinstance(own, list):
        assert write(model, "rag").apply_chat_template(TALK, tokenize=False).startswith("Rag! ")
    write_json(model / "chat_template.json", {"chat_template": "Old! " + CHATML})
    (model / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    assert write(model).apply_chat_template(TALK, tokenize=False).startswith("<|im_start|>user")


@pytest.mark.parametrize("own", ["chat_template.jinja", "chat_template.json", "tokenizer_config.json"])
def test_a_mark_with_which_an_editor_begins_a_file_is_no_part_of_the_prompt(model: Path, own: str) -> None:
    (model / "chat_template.jinja").unlink()
    if own == "chat_template.jinja":
        (model / own).write_text("\ufeff" + CHATML, encoding="utf-8")
    else:
        held = read_json(model / own) if (model / own).exists() else {}
        write_json(model / own, held | {"chat_template": "\ufeff" + CHATML})
    assert write(model).apply_chat_template(TALK, tokenize=False).startswith("<|im_start|>user")


@pytest.mark.parametrize("asked", ["tool_ues", "templates/mine.jinja", "chatml"])
def test_what_is_neither_a_name_nor_a_template_is_refused_with_the_names_that_there_are(model: Path, asked: str) -> None:
    with pytest.raises(
        ReprotuneError, match=rf"chat_template: '{asked}'; expected the text of a Jinja template \(`\|` and lines"
    ):
        write(model, asked)
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates/tool_use.jinja").write_text("Tools! " + CHATML, encoding="utf-8")
    with pytest.raises(
        ReprotuneError, match=r"name of one of the model's \(default, tool_use\) or the text of a Jinja"
    ) as refusal:
        write(model, asked)
    assert write(model, str(refusal.value).partition(", ")[2].partition(")")[0]).chat_template.startswith("Tools! ")


@pytest.mark.parametrize("own", [3, {"default": 3}])
def test_a_template_that_is_no_text_is_one_line(model: Path, own: object) -> None:
    (model / "chat_template.jinja").unlink()
    write_json(model / "tokenizer_config.json", read_json(model / "tokenizer_config.json") | {"chat_template": own})
    with pytest.raises(ReprotuneError, match=r"chat_template is 3; expected a text; give one in base_model\.chat_template"):
        write(model)
    assert write(model, "Mine! " + CHATML).chat_template.startswith("Mine! ")


def test_several_chat_templates_without_a_default_are_named(model: Path) -> None:
    (model / "chat_template.jinja").unlink()
    path = model / "tokenizer_config.json"
    named = [{"name": name, "template": f"{name}! {CHATML}"} for name in ("tool_use", "rag")]
    write_json(path, read_json(path) | {"chat_template": named})
    with pytest.raises(
        ReprotuneError, match=r"templates named rag, tool_use and none .* default; name one of them in base_model\."
    ):
        write(model)
    assert write(model, "rag").apply_chat_template(TALK, tokenize=False).startswith("rag! <|im_start|>")


def test_a_template_that_lowers_texts_is_refused_before_anything_is_computed(model: Path) -> None:
    with pytest.raises(ReprotuneError, match=r"loses the user's words; give another one in base_model.chat_template"):
        write(model, CHATML.replace("message.content", "message.content | lower"))


def test_what_a_template_misses_can_be_set_as_the_line_says(model: Path) -> None:
    template = "{{ bos_token + 'A talk.' }}" + CHATML
    with pytest.raises(ReprotuneError, match=r"'bos_token' is undefined; set it in base_model.template_variables, or give"):
        write(model, template)
    tokenizer = write(model, template, template_variables={"bos_token": ""})
    assert tokenizer.apply_chat_template(TALK, tokenize=False).startswith("A talk.<|im_start|>")


def test_a_function_that_a_template_misses_cannot_be_set_and_the_line_does_not_say_so(model: Path) -> None:
    with pytest.raises(ReprotuneError, match=r"'now' is undefined; give another one in base_model.chat_template"):
        write(model, "{{ now() }}" + CHATML)


def test_variables_are_set_and_survive_a_reload_with_plain_transformers(model: Path) -> None:
    values = {"a": True, "b": False, "c": None, "d": 3, "e": 0.5, "f": 'Say "你好"\n\\ {{ x }} %} end', "g": ""}
    tokenizer = write(model, "{{ [a, b, c, d, e, f, g] | tojson }}\n" + CHATML, template_variables=values)
    tokenizer.save_pretrained("again")
    for one in (tokenizer, AutoTokenizer.from_pretrained("again")):
        first, _, _ = one.apply_chat_template(TALK, tokenize=False).partition("\n<|im_start|>")
        assert json.loads(first) == list(values.values())


def test_a_variable_that_the_template_does_not_use_changes_no_rendered_byte(model: Path) -> None:
    texts = [write(model, template_variables=each).apply_chat_template(TALK, tokenize=False) for each in ({}, {"thinks": False})]
    assert texts[0] == texts[1]


def test_where_nothing_is_asked_for_the_template_and_the_files_are_the_models_own(model: Path) -> None:
    write(model)
    assert (TOKENIZER / "chat_template.jinja").read_text(encoding="utf-8") == CHATML
    assert {path.name for path in TOKENIZER.iterdir()} == {"chat_template.jinja", "tokenizer.json", "tokenizer_config.json"}


def test_a_tokenizer_that_is_told_to_clean_up_spaces_keeps_them_without_a_word(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model / "tokenizer_config.json"
    write_json(path, read_json(path) | {"clean_up_tokenization_spaces": True})
    write(model)
    tokenizer = open_tokenizer(TOKENIZER, trust_remote_code=False)
    text = "So , now we do n't ."
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    assert "clean_up" not in capsys.readouterr().err
    assert read_json(TOKENIZER / "tokenizer_config.json")["clean_up_tokenization_spaces"] is False


# A date that stands still


DATES = ["05 Mar 2026", "2026-03-05", "March 05, 2026 100%, Thursday"]
WRITES_DATES = [
    "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}\n{% endif %}" + CHATML,
    "{%- macro today() -%}{{- strftime_now('%Y-%m-%d') -}}{%- endmacro -%}{{ today() }}\n" + CHATML,
    "{% set written = '%B %d, %' + 'Y' %}{{ strftime_now(written) }} {{ strftime_now('100%%, %A') }}\n" + CHATML,
]


@pytest.mark.parametrize(("template", "expected"), zip(WRITES_DATES, DATES, strict=True))
def test_a_template_that_writes_todays_date_writes_the_pinned_one_on_any_day(
    model: Path, template: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = write(model, template, template_date="2026-03-05")
    before = tokenizer.apply_chat_template(TALK, tokenize=False)
    assert before.startswith(f"{expected}\n<|im_start|>")

    class Later(chat_template_utils.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return super().now(tz) + timedelta(days=400)

    monkeypatch.setattr(chat_template_utils, "datetime", Later)
    assert tokenizer.apply_chat_template(TALK, tokenize=False) == before


def test_each_part_of_a_date_is_written_as_python_writes_it(model: Path) -> None:
    shown = write(model, "{{ strftime_now(told) }}\n" + CHATML, template_variables={"told": "|".join(DIRECTIVES)})
    text = shown.apply_chat_template(TALK, tokenize=False).partition("\n<|im_start|>")[0]
    assert text == "|".join(date(2026, 1, 1).strftime(each) for each in DIRECTIVES)


def test_a_date_that_is_none_is_refused_by_its_key(model: Path) -> None:
    with pytest.raises(ValueError, match="'today'; expected a date such as 2026-01-01"):
        write(model, template_date="today")


# System messages in questions


def told(*roles: str) -> list[Message]:
    return [{"role": role, "content": f"{role[0]}{at}"} for at, role in enumerate(roles)]  # type: ignore[typeddict-item]


@pytest.mark.parametrize("family", ["gemma", "mistral", "vicuna", "sees_parts"])
@pytest.mark.parametrize(
    ("roles", "users"),
    [
        (("user", "assistant"), ["u0"]),
        (("system", "user", "assistant"), ["s0\n\nu1"]),
        (("system", "system", "user", "assistant"), ["s0\n\ns1\n\nu2"]),
        (("system", "user", "assistant", "system", "user", "assistant"), ["s0\n\nu1", "s3\n\nu4"]),
        (("user", "system", "assistant"), ["u0\n\ns1"]),
        (("system", "assistant"), ["s0"]),
    ],
)
def test_system_messages_become_part_of_the_question_for_training_and_prompts_alike(
    model: Path, family: str, roles: tuple[str, ...], users: list[str]
) -> None:
    marked = FILES[family].replace("bos_token", "''").replace("eos_token", "'<|im_end|>'").replace("<end_of_turn>", "<|im_end|>")
    write(model, marked, system_messages="in_question")
    tokenizer = open_tokenizer(TOKENIZER, trust_remote_code=False)
    messages = told(*roles)
    (example,) = tokenize_conversation(tokenizer, messages)
    text = tokenizer.decode(example.input_ids)
    assert [text.count(user) for user in users] == [1] * len(users)
    assert [tokenizer.decode([label for label in example.labels if label != IGNORE_INDEX]).count("<|im_end|>")] == [len(users)]
    asked = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    if family == "sees_parts":
        asked = tokenizer.apply_chat_template(
            [{**one, "content": [{"type": "text", "text": one["content"]}]} for one in messages[:-1]],
            tokenize=False, add_generation_prompt=True,
        )  # fmt: skip
    assert text.startswith(asked)


# What can train no reply is refused before anything is computed, and the way out that is named is one


def spelled(tokenizer: Any) -> list[str]:
    (example,) = tokenize_conversation(tokenizer, TALK)
    return [tokenizer.decode([label for label in example.labels if label != IGNORE_INDEX])]


def test_a_template_without_a_generation_prompt_is_refused_with_the_one_to_append(model: Path) -> None:
    template = "{% for m in messages %}" + TURN + "{% endfor %}"
    with pytest.raises(ReprotuneError, match="no generation prompt") as refusal:
        write(model, template)
    named = str(refusal.value).partition("append ")[2].partition(" to it in base_model.chat_template")[0]
    assert spelled(write(model, template + named)) == ["At ten.<|im_end|>"]


def test_a_template_that_never_stops_is_refused_and_trains_once_the_stop_is_written(model: Path) -> None:
    template = "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}"
    template += "{% if add_generation_prompt %}### assistant:\n{% endif %}"
    with pytest.raises(ReprotuneError, match=r"would never stop; write {{ eos_token }} after the assistant's text"):
        write(model, template)
    mended = template.replace("{{ m.content }}", "{{ m.content }}{{ eos_token if m.role == 'assistant' }}")
    assert spelled(write(model, mended)) == ["At ten.<|im_end|>"]


@pytest.mark.parametrize("stated", [2, [1, 2]])
def test_the_next_turns_header_is_a_stop_once_the_generation_config_names_it(model: Path, stated: int | list[int]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>"]})
    tokenizer.save_pretrained(model)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in ("<|user|>", "<|endoftext|>")}
    with pytest.raises(ReprotuneError, match=r"nothing but the next turn's <\|user\|>, .*; write .*, or name it in") as refusal:
        write(model, FILES["glm4"])
    assert str(refusal.value).endswith(f", or name it in eos_token_id of {model / GENERATION}")
    write_json(model / GENERATION, {"eos_token_id": ids["<|user|>"] if isinstance(stated, int) else list(ids.values())})
    write(model, FILES["glm4"])
    tokenizer = open_tokenizer(TOKENIZER, trust_remote_code=False)
    assert spelled(tokenizer) == ["At ten.<|user|>"]
    assert stop_token_id(tokenizer) == ids["<|user|>"]
    assert stop_token_ids(tokenizer) == set(ids.values())


@pytest.mark.parametrize(("source", "name", "digits"), [("hub", "someone/tiny", 40), ("wheel", "tiny==1.0", 64)])
def test_who_does_not_own_the_models_files_is_told_of_the_param_alone(model: Path, source: str, name: str, digits: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.eos_token = "<|endoftext|>"
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>"]})
    tokenizer.save_pretrained(model)
    given = {"source": source, "name": name, "revision": "a" * digits}
    with pytest.raises(ReprotuneError, match=r"; write \{\{ eos_token \}\} after the .* in base_model\.chat_template$"):
        write(model, FILES["glm4"], **given)
    mended = FILES["glm4"].replace("message.content -}}", "message.content -}}{{ eos_token if message.role == 'assistant' }}")
    assert mended != FILES["glm4"]
    write(model, mended, **given)
    assert spelled(open_tokenizer(TOKENIZER, trust_remote_code=False)) == ["At ten.<|endoftext|>"]


def test_stops_that_the_tokenizer_names_already_need_no_file(model: Path) -> None:
    eos = AutoTokenizer.from_pretrained(model).eos_token_id
    for stated in ([eos], eos, None, [], -1, [-1, eos]):
        write_json(model / GENERATION, {"eos_token_id": stated})
        write(model)
        assert not (TOKENIZER / GENERATION).exists()
    write_json(model / GENERATION, {"eos_token_id": [eos, 0]})
    write(model)
    assert read_json(TOKENIZER / GENERATION) == {"eos_token_id": sorted([0, eos])}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "expected a JSON object"),
        ("[]", "JSON obj"),
        ('{"eos_token_id": "</s>"}', "expected a token id"),
        ('{"eos_token_id": true}', "expected a token id"),
    ],
)
def test_a_generation_config_that_cannot_be_read_is_one_line(model: Path, text: str, reason: str) -> None:
    (model / GENERATION).write_text(text, encoding="utf-8")
    with pytest.raises(ReprotuneError, match=rf"{GENERATION}: .*{reason}"):
        write(model)


@pytest.mark.parametrize("chance", ["{{ ['Hi', 'Hello'] | random }}", "{{ lipsum(n=1) }}"])
def test_a_template_that_draws_lots_is_refused(model: Path, chance: str) -> None:
    with pytest.raises(ReprotuneError, match=r"chat template has `.*(random|lipsum).*another text each time"):
        write(model, chance + CHATML)


# Tools that are not there


LISTED = "<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}{% endfor %}<|im_end|>\n"
TOOL = {"type": "function", "function": {"name": "find_shelf", "description": "", "parameters": {}}}


@pytest.mark.parametrize(
    "beginning",
    [
        f"{{% if tools is defined %}}{LISTED}{{% endif %}}",
        "{% if tools is defined %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}",
        f"{{% if tools | length %}}{LISTED}{{% endif %}}",
        "{% for tool in tools %}<|im_start|>system\n{{ tool | tojson }}<|im_end|>\n{% endfor %}",
        f"{{% if tools is not none %}}{LISTED}{{% endif %}}",
        f"{{% if tools is not defined %}}{{% set tools = none %}}{{% endif %}}{{% if tools is not none %}}{LISTED}{{% endif %}}",
        f"{{% if documents is defined %}}Documents: {{{{ documents }}}}{{% endif %}}{{% if tools %}}{LISTED}{{% endif %}}",
    ],
)
def test_a_template_writes_tools_where_there_are_some_and_else_nothing_of_them(model: Path, beginning: str) -> None:
    tokenizer = write(model, beginning + CHATML)
    plain = write(model, CHATML).apply_chat_template(TALK, tokenize=False)
    assert tokenizer.apply_chat_template(TALK, tokenize=False) == plain
    with_tools = tokenizer.apply_chat_template(TALK, tools=[TOOL], tokenize=False)
    assert with_tools.endswith(plain)
    assert "find_shelf" in with_tools
    assert len(tokenize_conversation(tokenizer, TALK)) == 1


@pytest.mark.parametrize("asked", ["tools", "tools is not none", "tools is defined and tools"])
def test_a_template_that_minds_that_there_are_no_tools_stays_as_it_is(model: Path, asked: str) -> None:
    own = f"{{% if {asked} %}}{LISTED}{{% endif %}}{CHATML}"
    write(model, own)
    assert (TOKENIZER / "chat_template.jinja").read_text(encoding="utf-8") == own
