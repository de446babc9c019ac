"""The order of roles that chat templates want: system first, then user and assistant in turn."""

from stages.lib.records.conversation import Message, Role, uses_tool


def gather_thoughts(messages: list[Message]) -> list[Message]:
    """Thoughts in a message of their own, as some programs log them, in the reply behind them.

    >>> thought = {"role": "assistant", "content": "", "reasoning_content": "So."}
    >>> gather_thoughts([thought, {"role": "assistant", "content": "Yes."}])
    [{'role': 'assistant', 'content': 'Yes.', 'reasoning_content': 'So.'}]
    """
    if all(message["content"] or "reasoning_content" not in message for message in messages):
        return messages
    gathered: list[Message] = []
    for message in reversed(messages):
        thinks = "reasoning_content" in message and "tool_calls" not in message and not message["content"].strip()
        if thinks and gathered and takes_thoughts(gathered[-1], message):
            gathered[-1] = {**gathered[-1], "reasoning_content": message["reasoning_content"]}
        else:
            gathered.append(message)
    return gathered[::-1] if len(gathered) < len(messages) else messages


def takes_thoughts(reply: Message, thought: Message) -> bool:
    return reply["role"] == "assistant" and "reasoning_content" not in reply and reply.get("weight") == thought.get("weight")


def drop_loose_ends(messages: list[Message]) -> list[Message]:
    """A user first, but for a system message that stood before all of them; an assistant last.

    What comes before the first question, or after the last reply, goes: events of the system and results of tools too. A system
    message in between stays in its place.
    """
    begin = next((at for at, message in enumerate(messages) if message["role"] != "system"), len(messages))
    first, end = begin, len(messages)
    while first < end and messages[first]["role"] in ("assistant", "tool"):
        first += 1
    while end > first and messages[end - 1]["role"] != "assistant":
        end -= 1
    return messages if (first, end) == (begin, len(messages)) else messages[:begin] + messages[first:end]


def join_sides(messages: list[Message]) -> list[Message]:
    """Several messages in a row from one side as one, a line feed between: chat templates want sides in turn."""
    runs: list[list[Message]] = []
    for message in messages:
        if runs and can_join(runs[-1], message):
            runs[-1].append(message)
        else:
            runs.append([message])
    return messages if len(runs) == len(messages) else [join(run) if len(run) > 1 else run[0] for run in runs]


def can_join(run: list[Message], other: Message) -> bool:
    """Whether one message can say all: not where one is to be learned and the other is not, and nothing may change places.

    A message writes its thoughts, then its text, then its calls.
    """
    one = run[-1]  # calls stand in the last one only, or behind others' calls
    if one["role"] != other["role"] or one["role"] == "tool" or one.get("weight") != other.get("weight"):
        return False
    return "reasoning_content" not in other and not ("tool_calls" in one and other["content"])


def join(run: list[Message]) -> Message:
    joined: Message = {**run[0], "content": "\n".join(filter(None, [message["content"] for message in run]))}
    if calls := [call for message in run for call in message.get("tool_calls", [])]:
        joined["tool_calls"] = calls
    return joined


def drop_tool_use(messages: list[Message]) -> list[Message]:
    """What stands before the first exchange in which a tool was called: its question goes too, and all that follows it.

    A later reply may rest on what a tool returned, and nothing tells whether it does.
    """
    first = next((at for at, message in enumerate(messages) if uses_tool(message)), None)
    if first is None:
        return messages
    while first and messages[first - 1]["role"] != "user":  # what the assistant said before it called
        first -= 1
    while first and messages[first - 1]["role"] in ("user", "system"):
        first -= 1
    return messages[:first]


def tools_as_user(messages: list[Message]) -> list[Message]:
    """What tools returned as the user's words; the calls go."""
    told: list[Message] = []
    for message in messages:
        role: Role = "user" if message["role"] == "tool" else message["role"]
        plain: Message = {"role": role, "content": message["content"]}
        if "reasoning_content" in message:
            plain["reasoning_content"] = message["reasoning_content"]
        if "weight" in message:
            plain["weight"] = message["weight"]
        told.append(plain)
    return told


def missing_side(messages: list[Message]) -> str | None:
    roles = {message["role"] for message in messages}
    if not messages:
        return "empty"
    return "no_assistant_message" if "assistant" not in roles else "no_user_message" if "user" not in roles else None
