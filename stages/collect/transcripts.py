"""A talk that is written down as one text, `Human: ... Assistant: ...`, or by a chat template -> messages."""

import json
import re

from stages.collect.templated import read_templated
from stages.collect.tool_use import calls_in_text, read_tools
from stages.lib.records.conversation import Tool

SPEAKERS = {
    "Human": "user", "USER": "user", "User": "user", "Assistant": "assistant", "ASSISTANT": "assistant",
    "FUNCTION RESPONSE": "tool", "SYSTEM": "system", "System": "system",
}  # fmt: skip
BEGINS = re.compile(rf"\s*({'|'.join(SPEAKERS)}):")
SPEAKER = re.compile(rf"(?:\A|\n)\s*({'|'.join(SPEAKERS)}):[ \t]?")


def read_transcript(text: str) -> list[dict[str, object]] | None:
    """Messages with role, content and tool_calls; None where the text does not begin with a speaker, or one alone speaks.

    >>> read_transcript("\\n\\nHuman: Hi\\n\\nAssistant: Hello.")
    [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello.'}]
    """
    talk = _read_spoken(text) or read_templated(text)
    if not talk or len({role for role, _ in talk} & {"user", "assistant"}) < 2:
        return None
    return [_message(role, said.removesuffix("<|endoftext|>").strip()) for role, said in talk]


def read_prompt(text: str) -> list[dict[str, object]] | None:
    """The messages of a talk that is written down up to the assistant's turn, where its reply begins; None if it is none.

    >>> read_prompt("Human: Hi\\nAssistant: Hello.\\nHuman: Open?\\nAssistant:")[-1]
    {'role': 'user', 'content': 'Open?'}
    >>> read_prompt("Human: Hi\\nAssistant: Hello."), read_prompt("Assistant:")
    (None, None)
    """
    talk = read_transcript(text)
    is_open = talk and talk[-1] == {"role": "assistant", "content": ""} and talk[-2]["role"] in ("user", "tool")
    return talk[:-1] if talk and is_open else None


def _read_spoken(text: str) -> list[tuple[str, str]] | None:
    if not BEGINS.match(text):
        return None
    _, *pieces = SPEAKER.split(text)
    return [(SPEAKERS[speaker], said.strip()) for speaker, said in zip(pieces[::2], pieces[1::2], strict=True)]


def _message(role: str, said: str) -> dict[str, object]:
    before, call, after = said.partition("<functioncall>")
    calls = calls_in_text(after) if call and role == "assistant" else None
    if calls is None:
        return {"role": role, "content": said}
    return {"role": role, "content": before.strip(), "tool_calls": calls}


def part_system(text: str) -> tuple[str, list[Tool] | None]:
    """(the system message, the functions whose schemas it ends with): glaive writes both into one text.

    >>> part_system('SYSTEM: You help. Use them if required -\\n{"name": "f", "parameters": {}}')
    ('You help. Use them if required -', [{'type': 'function', 'function': {'name': 'f', 'parameters': {}}}])
    """
    plain = text.strip().removeprefix("SYSTEM:").strip()
    start = plain.find("{")
    schemas: list[object] = []
    position = start
    while 0 <= position < len(plain):
        try:
            schema, position = json.JSONDecoder().raw_decode(plain, position)
        except ValueError:
            return plain, None
        schemas.append(schema)
        position += len(plain[position:]) - len(plain[position:].lstrip(" \n\r\t,"))
    tools = read_tools(schemas) if schemas else None
    return (plain[:start].strip(), tools) if tools else (plain, None)
