"""What the preview says of replies: a refusal in their place, a call written as text, and two columns that may be the reply."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("in_a_project")

ASKED = {"role": "user", "content": "Is the gate open?"}
REFUSED = {"role": "assistant", "content": None, "refusal": "I can't look at gates."}


def write(*rows: dict) -> str:
    Path("data/raw/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return "data/raw/rows.jsonl"


@pytest.mark.parametrize("in_a_list", [True, False])
def test_a_refusal_in_the_content_s_place_is_the_reply_and_beside_one_it_is_said_to_be_unused(in_a_list: bool, look) -> None:
    def rows(*talk: dict) -> list[dict]:
        return [{"messages": [*talk]}] if in_a_list else [{"conversation": "a", **message} for message in talk]

    said, messages = look(write(*rows(ASKED | {"refusal": None}, REFUSED)))
    assert messages == [[ASKED, {"role": "assistant", "content": "I can't look at gates."}]]
    assert "not used" not in said
    said, messages = look(write(*rows(ASKED, REFUSED | {"content": "It is."})))
    assert messages == [[ASKED, {"role": "assistant", "content": "It is."}]]
    assert f"not used{' in the messages' if in_a_list else ''}: refusal" in said
