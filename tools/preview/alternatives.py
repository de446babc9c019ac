"""Several answers to a question, as sites of questions and answers have them: no turns of a talk, but replies with scores."""

from collections.abc import Sequence

from stages.collect.history import keys_of_messages
from stages.collect.preferences import HIGH_IS_BEST, LOW_IS_BEST, TEXT_KEYS, are_alike, as_rank, text_of
from tools.preview.first_questions import question_beside
from tools.preview.message_lists import Messages, list_of_messages
from tools.preview.proposal import Proposal, with_optional
from tools.preview.sample import Sample
from tools.preview.usual_names import USUAL_NAMES, key_of

OPTIONS = ("choices", "options", "选项", "候选项")  # of a question, to choose from


def lists_in(sample: Sample, name: str) -> list[Messages]:
    return [found for value in sample.cells(name) if (found := list_of_messages(value))]


def are_alternatives(name: str, lists: Sequence[Messages]) -> bool:
    """By the column's name, where texts stand in it, and nobody speaks in turn."""
    told = key_of(name) in USUAL_NAMES["lists_of_alternatives"] and not any(map(keys_of_messages, lists))
    return told and any(key in answer for answers in lists for answer in answers for key in TEXT_KEYS)


def differ(lists: Sequence[Messages]) -> bool:
    """Whether most lists hold several answers that are not the same."""
    return 2 * sum(not are_alike(list(map(text_of, answers))) for answers in lists) > len(lists)


def propose_alternatives(sample: Sample) -> Proposal | None:
    """The best answer is the reply, where all have a score."""
    for name in sample.keys:
        lists = lists_in(sample, name)
        if 2 * len(lists) <= len(sample.rows) or not are_alternatives(name, lists):
            continue
        question = question_beside(sample, [key for key in sample.keys if key != name])
        answers = [answer for one in lists for answer in one]
        ranks = [key for key in (*LOW_IS_BEST, *HIGH_IS_BEST) if all(as_rank(one.get(key)) is not None for one in answers)]
        if question and ranks:
            how = f"a question and several answers in {name!r}, of which the best one by {ranks[0]!r} is the reply"
            return with_optional({**question, "assistant": name}, sample, how, sure=False)
    return None
