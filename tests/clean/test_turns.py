"""Long conversations, calls in JSON, and rejected conversations that cleaning leaves without a side."""

import time

import pytest
from conftest import tiny_params

from stages.clean.__main__ import judge_all
from stages.clean.conversation import clean_lines
from stages.clean.params import CleanParams
from stages.clean.steps import mask
from stages.clean.structured import clean_structured
from stages.clean.turns import drop_loose_ends, join_sides
from stages.lib.records.conversation import Conversation, Message, conversation_line


def say(role: str, content: str) -> Message:
    return {"role": role, "content": content}  # type: ignore[typeddict-item]


def test_roles_of_a_hundred_thousand_messages_are_put_in_order_in_seconds() -> None:
    started = time.process_time()
    many = 100_000
    loose = [say("assistant", "a")] * many + [say("user", "q"), say("assistant", "r")] + [say("user", "b")] * many
    assert drop_loose_ends(loose) == [say("user", "q"), say("assistant", "r")]
    assert join_sides([say("user", "word")] * many)[0]["content"].count("\n") == many - 1
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"price": 1.10, "to":"ann@firm.io", "n": 1e5}', '{"price": 1.10, "to":"[EMAIL]", "n": 1e5}'),
        ('{ "a" : "caf\\u00e9", "b" : ["x@firm.io"] }', '{ "a" : "caf\\u00e9", "b" : ["[EMAIL]"] }'),
        ('{"a@firm.io": 1, "b@firm.io": {"a@firm.io": 2}}', '{"[EMAIL]": 1, "[EMAIL]_": {"[EMAIL]": 2}}'),
        ('{"say": "\\"a@firm.io\\""}', '{"say": "\\"[EMAIL]\\""}'),
    ],
)
def test_a_mask_leaves_the_rest_of_the_json_as_it_is_written(text: str, expected: str) -> None:
    assert clean_structured(text, [mask("email")])[0] == expected


def test_the_ledger_counts_rejected_conversations_of_which_no_reply_is_left() -> None:
    asked = [say("user", "Where is tea?")]
    row: Conversation = {
        "id": "s/1", "label": None, "language": "en", "group": None, "messages": [*asked, say("assistant", "On shelf two.")],
        "rejected": [[*asked, say("assistant", " ")], [*asked, say("assistant", "No idea.")]],
    }  # fmt: skip
    params = CleanParams.model_validate(tiny_params()["clean"])
    chunk = clean_lines([conversation_line(row)], params)
    [ledger] = judge_all([chunk], params)
    assert ledger["rejected_left_out"] == 1
