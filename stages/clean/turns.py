"""The order of roles that chat templates want: system first, then user and assistant in turn."""

from stages.lib.records.conversation import Message


def drop_loose_ends(messages: list[Message]) -> list[Message]:
    """System first, then a user, an assistant last: what comes before the first question, or after the last reply, goes."""
    system = [message for message in messages if message["role"] == "system"]
    turns = [message for message in messages if message["role"] != "system"]
    while turns and turns[0]["role"] == "assistant":
        turns.pop(0)
    while turns and turns[-1]["role"] == "user":
        turns.pop()
    return system + turns


def join_sides(messages: list[Message]) -> list[Message]:
    """Several messages in a row from one side as one, a line feed between: chat templates want sides in turn."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = {"role": message["role"], "content": f"{joined[-1]['content']}\n{message['content']}"}
        else:
            joined.append(message)
    return joined


def missing_side(messages: list[Message]) -> str | None:
    roles = {message["role"] for message in messages}
    if not messages:
        return "empty"
    return "no_assistant_message" if "assistant" not in roles else "no_user_message" if "user" not in roles else None
