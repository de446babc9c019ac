"""How replies fail, and the replies that take no model."""

import pandas as pd
import pytest

from stages.evaluate.behaviour import copies_prompt, describe_reply, is_in_another_language, is_looping
from stages.evaluate.floors import draw, floor_replies, most_frequent

GERMAN = "Ich möchte gerne wissen, wann der nächste Zug nach Bern abfährt."
ENGLISH = "I would like to know when the next train to Bern leaves."
CHINESE = "我想知道下一班去伯尔尼的火车什么时候开。"


@pytest.mark.parametrize(
    "reply",
    [
        "I like it. " * 5,
        "I'm a bot. " + "Sure, I can do that for you. " * 4 + "Sure, I c",
        "no " * 30,
        "好的" * 20,
        "哈" * 30,
        "1 2 3 4 " * 6,
        "a, b; " * 20,
        " ".join(f"It is good, and it is the {word} of all things that it is good for." for word in ("first", "last") * 4),
    ],
)
def test_a_reply_that_says_one_piece_over_and_over_is_a_loop(reply: str) -> None:
    assert is_looping(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "", "no no no", "哈哈哈", "Ha " * 10, "Yes, yes, yes! That is right.", "Row, row, row your boat, gently down the stream.",
        ENGLISH, GERMAN, CHINESE, "1. one\n2. two\n3. three\n4. four", "I think that I think that it is so.",
    ],
)  # fmt: skip
def test_what_people_repeat_is_no_loop(reply: str) -> None:
    assert not is_looping(reply)


@pytest.mark.parametrize(
    ("reply", "reference", "language", "wrong"),
    [
        (GERMAN, ENGLISH, "en", True),
        (CHINESE, ENGLISH, "en", True),
        (ENGLISH, CHINESE, "zh-Hans", True),
        (ENGLISH, ENGLISH, "en-US", False),
        (CHINESE, CHINESE, "yue", False),
        (GERMAN, GERMAN, "en", False),  # a translation: the reference says in which language to reply
        ("Bern", ENGLISH, "en", False),  # too short to tell
        (GERMAN, "42", "und", False),  # nothing says which one is right
        ("", ENGLISH, "en", False),
    ],
)
def test_a_language_is_wrong_where_it_is_known_and_neither_the_conversations_nor_the_references(
    reply: str, reference: str, language: str, wrong: bool
) -> None:
    assert is_in_another_language(reply, reference, language) is wrong


@pytest.mark.parametrize(
    ("reply", "prompt", "reference", "copy"),
    [
        ("What is a train?", "what is a  TRAIN?", "A vehicle.", True),
        ("You ask: Where is the main station? Hm.", "Where is the main station?", "There.", True),
        ("Hi", "Hi", "Hi", False),  # right
        ("Hi there, nice to meet you", "Hi", "Hello", False),
        ("A", "", "A", False),
        ("Where?", "Where is the main station?", "There.", False),
    ],
)
def test_a_copy_is_the_prompt_again_or_a_long_prompt_that_makes_half_of_the_reply(
    reply: str, prompt: str, reference: str, copy: bool
) -> None:
    assert copies_prompt(reply, prompt, reference) is copy


def test_a_runaway_is_endless_and_not_merely_long() -> None:
    words = " ".join(f"word{number}" for number in range(50))
    assert describe_reply(words, False, "q", "short", "en")["runaway"]
    assert not describe_reply(words, False, "q", words + " and so on", "en")["runaway"]  # the reference is as long
    assert not describe_reply(words, True, "q", "short", "en")["runaway"]
    assert describe_reply(" \n", True, "q", "short", "en")["empty"]


def conversation(id: str, *replies: str) -> dict:
    messages = [part for reply in replies for part in ({"role": "user", "content": "q"}, {"role": "assistant", "content": reply})]
    return {"id": id, "label": None, "language": "en", "group": None, "messages": messages}


def test_the_floors_are_the_prompt_the_most_frequent_and_a_random_train_reply() -> None:
    train = [conversation("a", "Yes", "no"), conversation("b", "yes"), conversation("c", "No", "maybe", "yes")]
    replies = pd.DataFrame({"id": ["x", "y"], "turn": [1, 3], "prompt": ["one?", "two?"]})
    floors = floor_replies(replies, train, seed=0)
    assert floors["floor_echo"] == ["one?", "two?"]
    assert floors["floor_constant"] == ["yes", "yes"]
    assert set(floors["floor_random"]) <= {"Yes", "yes", "No", "no", "maybe"}
    assert floors == floor_replies(replies, train, seed=0)
    fewer = floor_replies(replies[1:], train, seed=0)
    assert fewer["floor_random"] == floors["floor_random"][1:]


def test_a_random_reply_is_drawn_evenly_and_without_any_text_is_empty() -> None:
    drawn = [draw(["a", "b"], f"id{number}", 1, seed=3) for number in range(400)]
    assert 160 < drawn.count("a") < 240
    assert drawn != [draw(["a", "b"], f"id{number}", 1, seed=4) for number in range(400)]
    assert draw([], "id", 1, 0) == ""
    assert most_frequent([]) == ""
