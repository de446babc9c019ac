"""Tool use and thoughts in the form that each template reads; what a template loses is refused by name."""

import json
from typing import Any

import pytest
from conftest import CHATML, REPO
from transformers import AutoTokenizer

from stages.clean.turns import tools_as_user
from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import (
    FormMisfit,
    StopMisfit,
    TemplateMisfit,
    form_of,
    note_stops,
    tokenize_conversation,
    tokenize_prompt,
)
from stages.lib.chat_template.forms import Form
from stages.lib.records.conversation import Message

TOOLS = [{"type": "function", "function": {"name": "find", "description": "Look.", "parameters": {"z": 1, "a": 2}}}]
TURN = "<|im_start|>{{ m.role }}\n{{ m.content or '' }}{CALLS}<|im_end|>\n"
BEGIN = "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
END = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


ONLY_WITHOUT_CONTENT = (
    BEGIN + "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is none %}{% for c in m.tool_calls %}"
    "{{ c.function | tojson }}{% endfor %}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}" + END
)


def template(calls: str, turn: str = TURN) -> str:
    """One that writes out what could be called, and each call by `calls`."""
    each = "{% for c in m.tool_calls or [] %}<call>" + calls + "</call>{% endfor %}"
    return BEGIN + "{% for m in messages %}" + turn.replace("{CALLS}", each) + "{% endfor %}" + END


AS_JSON = template("{{ c.function.name }} {{ c.function.arguments | tojson }}")
FAMILIES = {
    "writes objects as JSON": (AS_JSON, Form()),
    "writes parameters one by one": (
        template("{{ c.function.name }}{% for k, v in c.function.arguments.items() %}<{{ k }}>{{ v }}</{{ k }}>{% endfor %}"),
        Form(),
    ),
    "joins texts": (template("{{ c.function.name + ' ' + c.function.arguments }}"), Form(arguments_as_text=True)),
    "prints what it is given": (template("{{ c.function.name }} {{ c.function.arguments }}"), Form(arguments_as_text=True)),
    "wants ids of nine letters": (
        AS_JSON.replace(
            "{% for m in messages %}",
            "{% for m in messages %}"
            "{% for c in m.tool_calls or [] if c.id | length != 9 %}{{ raise_exception('nine') }}{% endfor %}"
            "{% if m.role == 'tool' and m.tool_call_id | length != 9 %}{{ raise_exception('nine') }}{% endif %}",
        ),
        Form(nine_letter_ids=True),
    ),
}


def call(arguments: str, id: str | None = "call_7") -> Message:
    made: Any = {"type": "function", "function": {"name": "find", "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [made if id is None else {"id": id, **made}]}


def exchange(arguments: str = '{"z": "tea", "a": 1}', id: str | None = "call_7") -> list[Message]:
    result: Message = {"role": "tool", "content": '{"shelf": 2}'}
    return [
        {"role": "user", "content": "Find tea."}, call(arguments, id), result if id is None else {**result, "tool_call_id": id},
        {"role": "assistant", "content": "Shelf two."},
    ]  # fmt: skip


@pytest.fixture
def chatml(tiny_model_folder) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def give(tokenizer: Any, text: str) -> Any:
    tokenizer.chat_template = text
    return tokenizer


def learned(tokenizer: Any, examples: list) -> list[str]:
    return [tokenizer.decode([id for id in example.labels if id != IGNORE_INDEX]) for example in examples]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("id", ["call_7", None])
def test_calls_are_learned_and_results_are_not_in_the_form_that_the_template_reads(chatml, name, id):
    text, form = FAMILIES[name]
    tokenizer = give(chatml, text)
    assert form_of(tokenizer, uses_tools=True, has_thoughts=False) == form
    (example,) = tokenize_conversation(tokenizer, exchange(id=id), TOOLS)
    (labels,) = learned(tokenizer, [example])
    assert labels.startswith("<call>find")
    assert labels.endswith("</call><|im_end|>Shelf two.<|im_end|>")
    assert "tea" in labels
    assert "shelf" not in labels
    whole = tokenizer.decode(example.input_ids)
    assert '{"shelf": 2}' in whole
    assert '"parameters": {"z": 1, "a": 2}' in whole, "schemas keep the order of their keys"
    prompt = tokenize_prompt(tokenizer, exchange(id=id)[:-1], TOOLS)
    assert example.input_ids[: len(prompt)] == prompt


@pytest.mark.parametrize("ids", ["call_7", "functions.find:4", None])
def test_an_id_names_what_is_called_where_the_template_writes_no_other_name(chatml, ids):
    text = template("{{ c.id }} {{ c.function.arguments | tojson }}").replace(
        "{{ m.role }}\n", "{{ m.name or m.role }}\n{{ '# ' + m.tool_call_id + ': ' if m.role == 'tool' }}"
    )
    messages = [*exchange(id=ids), *exchange(id=ids and f"{ids}1")]
    messages[2]["name"] = messages[6]["name"] = "find"
    (example,) = tokenize_conversation(give(chatml, text), messages, TOOLS)
    whole = chatml.decode(example.input_ids)
    first, second = (
        ("functions.find:4", "functions.find:41") if ids == "functions.find:4" else (f"functions.find:{n}" for n in "01")
    )
    for id in (first, second):
        assert whole.count(f"<call>{id} {{") == 1
        assert whole.count(f"# {id}: ") == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_calls_are_learned_alike_where_nothing_says_what_could_be_called(chatml, name):
    tokenizer = give(chatml, FAMILIES[name][0])
    with_tools, without = (learned(tokenizer, tokenize_conversation(tokenizer, exchange(), tools)) for tools in (TOOLS, None))
    assert with_tools == without


def test_a_template_that_knows_no_tools_is_refused_for_that_and_not_for_what_it_does_to_arguments(chatml):
    text = template("{{ c.function.name + c.function.arguments }}").replace(BEGIN, "")
    with pytest.raises(FormMisfit, match="the chat template loses the schemas of tools"):
        tokenize_conversation(give(chatml, text), exchange(), TOOLS)


def test_thoughts_that_a_template_drops_from_calls_alone_are_that_conversations_misfit_with_a_way_out(chatml):
    text = AS_JSON.replace("{{ m.content or '' }}", "{{ m.content if not m.tool_calls }}")
    messages = exchange()
    messages[1]["reasoning_content"] = "Which shelf?"
    with pytest.raises(TemplateMisfit, match=r"loses the thoughts; clean.thoughts: drop leaves them out"):
        tokenize_conversation(give(chatml, text), messages, TOOLS)


ONE_AT_ONCE = "{% for m in messages if m.tool_calls and m.tool_calls | length > 1 %}{{ raise_exception('one call') }}{% endfor %}"


@pytest.mark.parametrize(
    ("text", "content", "calls", "why"),
    [
        (
            AS_JSON.replace("{{ m.content or '' }}", "{{ m.content if not m.tool_calls }}"),
            "I look.",
            1,
            "loses the reply beside a call",
        ),
        (AS_JSON.replace("in m.tool_calls or []", "in (m.tool_calls or [])[:1]"), "", 2, "loses the call of find_too"),
        (ONE_AT_ONCE + AS_JSON, "", 2, "refuses it: one call"),
    ],
    ids=["text beside a call", "second call", "two calls at once"],
)
def test_a_call_that_the_template_cannot_take_whole_is_that_conversations_misfit_with_a_way_out(
    chatml, text, content, calls, why
):
    asked, called, *rest = exchange()
    second: Any = {"id": "call_8", "type": "function", "function": {"name": "find_too", "arguments": "{}"}}
    called = {**called, "content": content, "tool_calls": [*called["tool_calls"], second][:calls]}
    with pytest.raises(TemplateMisfit, match=f"{why}; clean.tool_messages: as_user leaves calls out") as misfit:
        tokenize_conversation(give(chatml, text), [asked, called, *rest], TOOLS)
    assert not isinstance(misfit.value, FormMisfit)
    assert learned(chatml, tokenize_conversation(chatml, exchange(), TOOLS))
    told = tools_as_user([asked, called, *rest])
    said = [message for message in told if message["content"]]
    assert learned(chatml, tokenize_conversation(chatml, said))[0].endswith("Shelf two.<|im_end|>")


def test_a_turn_that_goes_on_after_its_results_while_the_prompt_begins_another_has_a_way_out(chatml):
    """Apertus."""
    header = "<|im_start|>{{ m.role }}\n"
    assert header in AS_JSON
    text = AS_JSON.replace(header, "{% if not loop.previtem or loop.previtem.role != 'tool' %}" + header + "{% endif %}")
    with pytest.raises(
        TemplateMisfit, match=r"begin with its generation prompt.* alike; clean\.tool_messages: as_user leaves calls"
    ):
        tokenize_conversation(give(chatml, text), exchange(), TOOLS)
    said = [message for message in tools_as_user(exchange()) if message["content"]]
    assert learned(chatml, tokenize_conversation(chatml, said)) == ["Shelf two.<|im_end|>"]


def test_arguments_keep_the_order_of_their_keys_and_their_digits(chatml):
    arguments = '{"z": 123456789012345678901, "a": {"y": [1.50], "b": "\u00e9"}}'
    (example,) = tokenize_conversation(give(chatml, AS_JSON), exchange(arguments), TOOLS)
    assert '{"z": 123456789012345678901, "a": {"y": [1.5], "b": "é"}}' in learned(chatml, [example])[0]


def test_half_of_a_surrogate_pair_in_arguments_stays_an_escape(chatml):
    arguments = r'{"what": "tea \ud83d"}'
    (example,) = tokenize_conversation(give(chatml, AS_JSON), exchange(arguments), TOOLS)
    assert r"tea \ud83d" in learned(chatml, [example])[0].replace(r"\\", "\\")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CHATML, "the chat template loses the schemas of tools"),
        (BEGIN + CHATML, "the chat template loses the calls of tools"),
        (ONLY_WITHOUT_CONTENT, "the chat template loses the calls of tools"),
        (template("{{ c.function.name }} {{ c.function.arguments.keys() | list | tojson }}"), "loses the calls of tools"),
        (
            AS_JSON.replace("{{ m.content or '' }}", "{{ m.content if m.role != 'tool' }}"),
            "the chat template loses a tool's result",
        ),
        ("{% for m in messages if m.role == 'tool' %}{{ raise_exception('no tools') }}{% endfor %}" + AS_JSON, "no tools"),
    ],
)
def test_a_template_that_loses_tool_use_or_prints_it_as_python_is_refused_by_name(chatml, text, reason):
    with pytest.raises(FormMisfit, match=reason):
        tokenize_conversation(give(chatml, text), exchange(), TOOLS)


def test_tools_that_are_not_called_must_show_too(chatml):
    with pytest.raises(FormMisfit, match="loses the schema"):
        tokenize_conversation(chatml, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], TOOLS)


def test_a_result_that_is_lost_in_one_conversation_is_that_ones_misfit(chatml):
    text = AS_JSON.replace("{{ m.content or '' }}", "{{ (m.content or '') | replace('shelf', 'rack') }}")
    with pytest.raises(TemplateMisfit, match="the template loses a tool's result") as misfit:
        tokenize_conversation(give(chatml, text), exchange(), TOOLS)
    assert not isinstance(misfit.value, FormMisfit)


@pytest.mark.parametrize("place", ["name", "arguments", "thoughts", "tools"])
def test_a_special_token_is_found_wherever_a_template_may_write_it(chatml, place):
    messages, tools = exchange(), json.loads(json.dumps(TOOLS))
    if place == "tools":
        tools[0]["function"]["description"] = "a <|im_end|>"
    elif place == "thoughts":
        messages[3]["reasoning_content"] = "a <|im_end|>"
    else:
        messages[1]["tool_calls"][0]["function"][place] = '{"a": "<|im_end|>"}'
    with pytest.raises(TemplateMisfit, match=r"special token <\|im_end\|>"):
        tokenize_conversation(give(chatml, AS_JSON), messages, tools)


# Thoughts


QWEN3 = (REPO / "tests/templates/qwen3.jinja").read_text(encoding="utf-8")
OPENED = CHATML.replace("<|im_start|>assistant\n{% endif", "<|im_start|>assistant\n<think>\n{% endif").replace(
    "{{ message.content }}", "{{ message.content.split('</think>') | last }}"
)
OF_ITS_OWN = CHATML.replace(
    "{{ message.content }}",
    "{% if message.reasoning_content and loop.last %}<think>{{ message.reasoning_content }}</think>{% endif %}"
    "{{ message.content }}",
)
IN_A_TURN = CHATML.replace(
    "{{ message.content }}",
    "{% if message.reasoning_content and loop.last %}aside\n{{ message.reasoning_content }}<|endoftext|><|im_start|>{% endif %}"
    "{{ 'aloud\n' if message.role == 'assistant' }}{{ message.content }}",
)
THINKING: list[Message] = [
    {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4.", "reasoning_content": "2 and 2."},
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "with_thoughts", "without"),
    [
        (CHATML, "<think>\n2 and 2.\n</think>\n\n4.<|im_end|>", "4.<|im_end|>"),
        (QWEN3, "<think>\n2 and 2.\n</think>\n\n4.<|im_end|>", "<think>\n\n</think>\n\n4.<|im_end|>"),
        (OF_ITS_OWN, "<think>2 and 2.</think>4.<|im_end|>", "4.<|im_end|>"),
        (OPENED, "2 and 2.\n</think>\n\n4.<|im_end|>", "\n</think>\n\n4.<|im_end|>"),
        (IN_A_TURN, "aside\n2 and 2.<|endoftext|><|im_start|>aloud\n4.<|im_end|>", "aloud\n4.<|im_end|>"),
    ],
    ids=[
        "knows none",
        "writes empty ones",
        "in a key of their own",
        "opens one in the prompt",
        "in a turn that ends otherwise than others",
    ],
)
def test_thoughts_are_learned_as_the_template_has_them_and_a_reply_without_as_its_other_mode(
    chatml, text, with_thoughts, without
):
    tokenizer = give(chatml, text)
    assert learned(tokenizer, tokenize_conversation(tokenizer, THINKING)) == [with_thoughts]
    plain: list[Message] = [THINKING[0], {"role": "assistant", "content": "4."}]
    assert learned(tokenizer, tokenize_conversation(tokenizer, plain)) == [without]
    before: list[Message] = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2."}]
    assert learned(tokenizer, tokenize_conversation(tokenizer, [*before, *THINKING]))[-1].endswith(with_thoughts)
    prompt = tokenize_prompt(tokenizer, THINKING[:1])
    for messages in (THINKING, plain):
        assert tokenize_conversation(tokenizer, messages)[0].input_ids[: len(prompt)] == prompt


@pytest.mark.parametrize(
    ("opens", "empty", "line"), [("<think>", "<think></think>", ""), ("<think>\n", "<think>\n\n</think>\n\n", "\n")]
)
@pytest.mark.parametrize("kept", ["", ".split('</think>') | last"], ids=["text stays", "thoughts in texts go"])
def test_thoughts_have_their_place_where_the_template_closes_an_empty_one_before_each_reply(chatml, opens, empty, line, kept):
    """DeepSeek V3.1: its prompt opens one, and each reply begins with the end of it; thoughts in the text would come too late."""
    text = CHATML.replace("<|im_start|>assistant\n{% endif", f"<|im_start|>assistant\n{opens}{{% endif").replace(
        "{{ message.content }}", f"{{{{ {empty!r} if message.role == 'assistant' }}}}{{{{ message.content{kept} }}}}"
    )
    plain: list[Message] = [THINKING[0], {"role": "assistant", "content": "4."}]
    after = empty.partition("</think>")[2]
    assert learned(chatml, tokenize_conversation(give(chatml, text), plain)) == [f"{line}</think>{after}4.<|im_end|>"]
    assert learned(chatml, tokenize_conversation(chatml, THINKING)) == [f"2 and 2.{line}</think>{after}4.<|im_end|>"]
    same: list[Message] = [THINKING[0], {"role": "assistant", "content": "4.", "reasoning_content": "4."}]
    assert learned(chatml, tokenize_conversation(chatml, same)) == [f"4.{line}</think>{after}4.<|im_end|>"]


@pytest.mark.parametrize("opens", ["<think>\n", "<seed:think>", "[THINK]"])
def test_an_opened_thought_is_closed_by_its_own_tag(chatml, opens):
    text = OPENED.replace("<think>\n", opens)
    plain: list[Message] = [THINKING[0], {"role": "assistant", "content": "4."}]
    closes = opens.strip()[0] + "/" + opens.strip()[1:]
    assert learned(chatml, tokenize_conversation(give(chatml, text), plain)) == [f"\n{closes}\n\n4.<|im_end|>"]


@pytest.mark.parametrize("empties", ["<think></think>", "<think>\n\n</think>\n\n", "<seed:think>No budget.\n</seed:think>"])
def test_a_prompt_that_closes_its_thought_at_once_is_what_the_reply_follows_in_every_turn(chatml, empties):
    """A model that is told not to think, by a template that writes no thoughts into earlier turns."""
    text = CHATML.replace("<|im_start|>assistant\n{% endif", f"<|im_start|>assistant\n{empties}{{% endif")
    messages: list[Message] = [THINKING[0], {"role": "assistant", "content": "4."}] * 2
    examples = tokenize_conversation(give(chatml, text), messages)
    assert learned(chatml, examples) == ["4.<|im_end|>"] * 2
    for example, end in zip(examples, (1, 3), strict=True):
        prompt = tokenize_prompt(chatml, messages[:end])
        assert example.input_ids[: len(prompt)] == prompt
        assert chatml.decode(prompt).endswith(empties)
    with pytest.raises(TemplateMisfit, match="loses the thoughts"):
        tokenize_conversation(chatml, THINKING)


def test_thoughts_stand_before_the_end_of_thinking_that_the_template_writes_before_each_reply(chatml):
    text = CHATML.replace("<|im_start|>assistant\n{% endif", "<|im_start|>assistant\n<think>{% endif").replace(
        "{{ message.content }}", "{{ '</think>' if message.role == 'assistant' }}{{ message.content.split('</think>') | last }}"
    )
    assert learned(chatml, tokenize_conversation(give(chatml, text), THINKING)) == ["2 and 2.</think>4.<|im_end|>"]


def test_thoughts_are_given_as_a_part_to_a_template_that_reads_them_so(chatml):
    text = CHATML.replace(
        "{{ message.content }}",
        "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
        "{{ '[THINK]' + part.thinking + '[/THINK]' if part.type == 'thinking' else part.text }}{% endfor %}{% endif %}",
    )
    assert form_of(give(chatml, text), uses_tools=False, has_thoughts=True) == Form(thoughts_as_part=True)
    assert learned(chatml, tokenize_conversation(chatml, THINKING)) == ["[THINK]2 and 2.[/THINK]4.<|im_end|>"]


@pytest.mark.parametrize(
    ("part", "form", "expected"),
    [
        ("part.text", Form(thoughts_in_text=True, contents_as_parts=True), "<think>\n2 and 2.\n</think>\n\n4.<|im_end|>"),
        (
            "'[THINK]' + part.thinking + '[/THINK]' if part.type == 'thinking' else part.text",
            Form(thoughts_as_part=True, contents_as_parts=True),
            "[THINK]2 and 2.[/THINK]4.<|im_end|>",
        ),
    ],
)
def test_thoughts_are_given_to_a_template_that_reads_every_text_as_a_part(chatml, part, form, expected):
    text = CHATML.replace("{{ message.content }}", f"{{% for part in message.content %}}{{{{ {part} }}}}{{% endfor %}}")
    assert form_of(give(chatml, text), uses_tools=False, has_thoughts=True) == form
    assert learned(chatml, tokenize_conversation(chatml, THINKING)) == [expected]


def test_no_list_of_parts_is_learned_as_python_prints_it(chatml):
    """This template drops thoughts of a text, and looks for none in a list, which it prints."""
    text = CHATML.replace(
        "{{ message.content }}",
        "{{ (message.content.split('</think>') | last) if '</think>' in message.content else message.content }}",
    )
    with pytest.raises(FormMisfit, match="the chat template loses the thoughts"):
        tokenize_conversation(give(chatml, text), [{**THINKING[0]}, {**THINKING[1], "weight": 0}, *THINKING])  # type: ignore[typeddict-item]


def test_calls_and_results_are_given_as_parts_to_a_template_that_reads_parts(chatml):
    text = AS_JSON.replace("{{ m.content or '' }}", "{% for part in m.content %}{{ part.text }}{% endfor %}")
    assert form_of(give(chatml, text), uses_tools=True, has_thoughts=False) == Form(contents_as_parts=True)
    (example,) = tokenize_conversation(chatml, exchange(), TOOLS)
    assert '{"shelf": 2}' in chatml.decode(example.input_ids)
    assert learned(chatml, [example])[0].endswith("</call><|im_end|>Shelf two.<|im_end|>")


@pytest.mark.parametrize(
    ("printed", "refused"),
    [
        ("{{ m.content | tojson if m.role == 'tool' else m.content[0].text }}", False),
        ("{{ m.content if m.role == 'tool' else m.content[0].text }}", True),
        ("{{ m.content[0].text and m.content | tojson }}", True),
    ],
)
def test_parts_may_be_written_out_as_json_for_a_result_alone(chatml, printed, refused):
    give(chatml, AS_JSON.replace("{{ m.content or '' }}", printed))
    if refused:
        with pytest.raises(FormMisfit, match=r"loses the (texts|reply|user)"):
            tokenize_conversation(chatml, exchange(), TOOLS)
    else:
        (example,) = tokenize_conversation(chatml, exchange(), TOOLS)
        assert '[{"type": "text", "text": "{\\"shelf\\": 2}"}]' in chatml.decode(example.input_ids)
        assert learned(chatml, [example])[0].endswith("</call><|im_end|>Shelf two.<|im_end|>")


def ending_calls_with_a_mark(tokenizer, known):
    """A template that ends a call with </call>, and begins what a tool returns with <|observation|>."""
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|observation|>", "</call>"]})
    text = AS_JSON.replace("<|im_start|>{{ m.role }}", "<|{{ 'observation' if m.role == 'tool' else m.role }}|>")
    text = text.replace("<|im_end|>\n{% endfor", "{% endfor").replace("<|im_start|>assistant", "<|assistant|>")
    note_stops(tokenizer, tokenizer.convert_tokens_to_ids(["<|user|>", *known]))
    return give(tokenizer, text)


def test_a_call_ends_with_the_stop_that_the_model_names_even_if_the_result_begins_with_it(chatml):
    chatml = ending_calls_with_a_mark(chatml, ["<|observation|>"])
    (example,) = tokenize_conversation(chatml, exchange(), TOOLS)
    assert learned(chatml, [example])[0].partition("</call>")[2] == "<|observation|>Shelf two.<|user|>"


def test_a_call_that_ends_with_a_mark_which_stops_no_generation_is_refused_by_name(chatml):
    chatml = ending_calls_with_a_mark(chatml, [])
    with pytest.raises(StopMisfit, match=r"call of a tool with </call>, which generation_config\.json does not name") as misfit:
        tokenize_conversation(chatml, exchange(), TOOLS)
    assert misfit.value.keys == ["tool_calls"]
    chatml = ending_calls_with_a_mark(chatml, ["</call>"])  # what the message asks for
    (example,) = tokenize_conversation(chatml, exchange(), TOOLS)
    assert learned(chatml, [example])[0].endswith("</call>Shelf two.<|user|>")


def test_a_call_that_ends_with_no_mark_at_all_is_refused_by_name(chatml):
    text = AS_JSON.replace("<|im_end|>\n{% endfor", "{% if not m.tool_calls %}<|im_end|>{% endif %}\n{% endfor")
    with pytest.raises(StopMisfit, match="call of a tool with no special token, so that the model would never stop"):
        tokenize_conversation(give(chatml, text), exchange(), TOOLS)
    (example,) = tokenize_conversation(chatml, [{**m, "weight": 0} if "tool_calls" in m else m for m in exchange()], TOOLS)
    assert learned(chatml, [example]) == ["Shelf two.<|im_end|>"]


def test_a_template_that_drops_thoughts_is_refused_by_name(chatml):
    text = CHATML.replace("{{ message.content }}", "{{ message.content.split('</think>') | last }}")
    with pytest.raises(FormMisfit, match="the chat template loses the thoughts"):
        tokenize_conversation(give(chatml, text), THINKING)


CALLS_IN_METADATA = (  # in the shape of GLM-4's
    "{% if tools %}<|system|>\n{% for tool in tools %}{{ tool.function | tojson }}{% endfor %}{% endif %}"
    "{% for m in messages %}{% if m.role == 'user' %}<|user|>\n{{ m.content }}"
    "{% elif m.role == 'assistant' %}<|assistant|>{{ m.metadata or '' }}\n{{ m.content }}"
    "{% elif m.role == 'observation' %}<|observation|>\n{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def with_calls_in_metadata(tokenizer: Any) -> Any:
    marks = ["<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    note_stops(tokenizer, tokenizer.convert_tokens_to_ids(["<|user|>", "<|observation|>"]))
    return give(tokenizer, CALLS_IN_METADATA)


@pytest.mark.parametrize("length", [2, 4])
@pytest.mark.parametrize("said", ["", "Let me look."])
@pytest.mark.parametrize("number", [1, 2])
def test_a_call_stands_in_the_metadata_where_the_template_looks_for_it_there(chatml, length, said, number):
    tokenizer = with_calls_in_metadata(chatml)
    assert form_of(tokenizer, uses_tools=True, has_thoughts=False) == Form(calls_in_metadata=True)
    asked, called, result, reply = exchange()
    called |= {"content": said, "tool_calls": called["tool_calls"] * number}
    messages = [asked, called, *[result] * number, reply]
    (example,) = tokenize_conversation(tokenizer, messages[:length] if length == 2 else messages, TOOLS)
    parts = ([f"\n{said}"] if said else []) + ['find\n{"z": "tea", "a": 1}'] * number
    rest = "\nShelf two.<|user|>" if length == 4 else ""
    assert learned(tokenizer, [example]) == ["<|assistant|>".join(parts) + "<|observation|>" + rest]
    assert tokenizer.decode(example.input_ids).count('<|observation|>\n{"shelf": 2}') == (number if length == 4 else 0)
    prompt = tokenize_prompt(tokenizer, messages[:1], TOOLS)
    assert example.input_ids[: len(prompt)] == prompt
