"""What a chat API was asked and what it replied, as logs and batches wrap it up -> a list of messages, a message or a text."""

from stages.collect.cut_short import why_cut
from stages.collect.messages import long_text
from stages.collect.values import show
from stages.lib.core.errors import ReprotuneError

# Where an object holds one text under one of these names and nothing else, as LangSmith writes inputs and outputs.
LONE_TEXTS = frozenset([
    "question", "prompt", "input", "query", "instruction", "message", "answer", "output", "response", "reply", "completion",
    "generation", "result",
])  # fmt: skip
BODIES = ("body", "inputBodyJson", "outputBodyJson")  # of a batch, and of Bedrock's log
EARLIER = ("previous_response_id", "conversation")  # of a request: where OpenAI keeps the turns before it


def open_envelope(value: object) -> object | None:
    """What is in it; None if it is none.

    Raises:
        ReprotuneError: it holds several replies to one question, one that was cut short, or none.

    >>> open_envelope({"choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]})
    {'role': 'assistant', 'content': 'hi'}
    >>> open_envelope({"system": "Be brief.", "messages": [{"role": "user", "content": "hi"}], "model": "m"})
    [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'hi'}]
    >>> open_envelope({"question": "hi"}), open_envelope({"role": "user", "content": "hi"})
    ('hi', None)
    """
    if isinstance(value, list):
        has_messages = [isinstance(one, dict) and isinstance(one.get("message"), dict) for one in value]
        return _open_choices(value) if value and all(has_messages) else None
    if not isinstance(value, dict):
        return None
    _refuse_cut(value)
    return _open_object(value) if "role" not in value else None


def _open_object(value: dict[str, object]) -> object | None:
    output = value.get("output")  # Bedrock's
    reply = output if isinstance(output, dict) and "message" in output else value
    choices = [reply] if isinstance(reply.get("message"), dict) else value.get("choices")
    if isinstance(candidates := value.get("candidates"), list):
        choices = list(map(_as_choice, candidates))
    if body := next((one for key in BODIES if isinstance(one := value.get(key), dict)), None):
        inner = open_envelope(body)
        return body if inner is None and "role" in body else inner
    if isinstance(choices, list):
        return _open_choices(choices)
    if value.get("object") == "response" and isinstance(value.get("output"), list):
        return value["output"]
    if (asked := _open_request(value)) is not None:
        return asked
    [(key, text)] = value.items() if len(value) == 1 else [("", None)]
    return text if key in LONE_TEXTS and isinstance(text, str) else None


def _open_request(value: dict[str, object]) -> list[object] | None:
    """What a model was asked, whichever API it was."""
    if isinstance(messages := value.get("messages"), list):
        return _with_system(value, messages)
    if isinstance(contents := value.get("contents"), list):
        system = value.get("systemInstruction") or value.get("system_instruction")
        return _with_system({"system": system}, list(map(_of_gemini, contents)))
    if isinstance(asked := value.get("input"), (str, list)) and "model" in value:
        return _of_responses(value, asked)
    return None


def _of_responses(request: dict[str, object], asked: str | list[object]) -> list[object]:
    """What OpenAI's Responses API was asked."""
    if key := next((key for key in EARLIER if request.get(key)), None):
        raise ReprotuneError(
            f"{key} is {show(request[key])}, so that the turns before this one stand elsewhere; put them first in `input`, and "
            "take that key out"
        )
    messages: list[object] = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    return _with_system({"system": request.get("instructions")}, messages)


def _refuse_cut(value: dict[str, object]) -> None:
    found = why_cut(value)
    if value.get("object") == "response" and value.get("status") == "incomplete":
        found = ("status", "incomplete")
    if found:
        raise ReprotuneError(f"the reply was cut short, its {found[0]} is {found[1]}; take such rows out")


def _of_gemini(content: object) -> object:
    """Gemini's content as OpenAI's message."""
    if not isinstance(content, dict):
        return content
    role = content.get("role", "user")
    return {"role": "assistant" if role == "model" else role, "content": content.get("parts")}


def _as_choice(candidate: object) -> object:
    """Gemini's candidate as OpenAI's choice."""
    if not isinstance(candidate, dict) or not isinstance(content := candidate.get("content"), dict):
        return candidate
    reason = candidate.get("finishReason") or candidate.get("finish_reason")  # as its Python client writes it
    return {"message": _of_gemini({"role": "model", **content}), "finish_reason": reason}


def _open_choices(choices: list[object]) -> object:
    if len(choices) != 1:
        raise ReprotuneError(f"{len(choices)} choices of a reply; expected one (keep the one to be learned)")
    [choice] = choices
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise ReprotuneError(f"a choice is {show(choice)}; expected a reply's message")
    _refuse_cut(choice)
    return message if "role" in message else {"role": "assistant", **message}


def _with_system(value: dict[str, object], messages: list[object]) -> list[object]:
    """Anthropic's requests have it beside the messages."""
    system = long_text(value, "system")
    return [{"role": "system", "content": system}, *messages] if system else messages
