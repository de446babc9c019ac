"""Whether two runs can be compared, and what of them: by what each was measured with."""

from typing import Literal, TypedDict

import pandas as pd

from stages.lib.records.conversation import conversations_of
from stages.lib.records.scores import ClaimName
from tools.compare.run import Run

Extent = Literal["yes", "partly", "no"]
CLAIMS: tuple[ClaimName, ...] = ("better", "forgot", "broken", "length", "wording", "memorised")
OF_REPLIES: tuple[ClaimName, ...] = ("broken", "length", "wording")
OF_TEST: tuple[ClaimName, ...] = ("better", *OF_REPLIES, "memorised")
NAMES = {
    "test": "the test set",
    "metrics": "the metrics' definitions",
    "base_model": "the base model",
    "tokenizer": "the tokenizer",
    "chat_template": "the chat template",
    "tuned_decoding": "how replies are decoded",
    "tuned_precision": "the precision",
    "tuned_device": "the device",
    "tuned_versions": "the machine or its packages",
}
PRECISION = "greedy replies change with the precision, which differs or is unknown"
THIRD_DIGIT = "Another precision alone moves likelihoods in the third digit."
LAST_DIGITS = "The two were not predicted by the same packages on the same kind of machine, which moves last digits."
OTHER_CODE = "The code of evaluate differs: each run's replies are scored as its own version does it."


class Difference(TypedDict):
    """Something that the two runs were not measured alike with, in words; the values, None where one is not known."""

    name: str
    what: str
    a: str | None
    b: str | None


class Comparability(TypedDict):
    """`withheld`: a claim that can't be made -> why. `caveats`: what to bear in mind with the others.

    `per_token`: whether likelihoods are of the same tokens; per byte of text they can be compared either way.
    """

    comparable: Extent
    differences: list[Difference]
    withheld: dict[ClaimName, str]
    caveats: list[str]
    per_token: bool


def find_differences(a: Run, b: Run) -> list[Difference]:
    differences: list[Difference] = []
    for name, what in NAMES.items():
        one, other = a.comparability.get(name), b.comparability.get(name)
        equal = one is not None and one == other
        if name == "test" and not equal:
            # The fingerprint counts groups too, which new conversations in train can change: the test set's own file decides.
            hashes = {run.hash_of(conversations_of("test")) for run in (a, b)}
            equal = len(hashes) == 1 and None not in hashes
        if not equal:
            differences.append({"name": name, "what": what, "a": one, "b": other})
    return differences


def judge(a: Run, b: Run) -> Comparability:
    differences = find_differences(a, b)
    differ = {one["name"] for one in differences}
    withheld: dict[ClaimName, str] = {}
    if "metrics" in differ:
        withheld |= {"broken": "the metrics' definitions differ", "wording": "the metrics' definitions differ"}
    if reason := why_no_replies(a, b, differ):
        withheld |= dict.fromkeys(OF_REPLIES, reason)
        if a.is_classification or b.is_classification:
            withheld["better"] = reason
    if a.hash_of(conversations_of("train")) != b.hash_of(conversations_of("train")):
        withheld["memorised"] = "the two learned from different conversations"
    if "test" in differ:
        withheld |= dict.fromkeys(OF_TEST, "the test sets differ")
    if differ & {"base_model", "tokenizer", "chat_template"}:
        withheld["forgot"] = "the base models differ, and with them the replies that could be forgotten"
    for name, run in (("A", a), ("B", b)):
        if run.stages_not_run():
            withheld |= dict.fromkeys(CLAIMS, f"the dvc.lock of {name} is of no one run")
    caveats = [THIRD_DIGIT] if "tuned_precision" in differ else []
    caveats += [LAST_DIGITS] if differ & {"tuned_device", "tuned_versions"} else []
    caveats += [OTHER_CODE] if a.code_of("evaluate") != b.code_of("evaluate") else []
    return {
        "comparable": "no" if len(withheld) == len(CLAIMS) else "partly" if withheld else "yes",
        "differences": differences,
        "withheld": {name: withheld[name] for name in CLAIMS if name in withheld},
        "caveats": caveats,
        "per_token": not differ & {"tokenizer", "chat_template"},
    }


def nothing_comparable(why: str) -> Comparability:
    """Where there is no run to compare with."""
    withheld = dict.fromkeys(CLAIMS, why)
    return {"comparable": "no", "differences": [], "withheld": withheld, "caveats": [], "per_token": False}


def why_no_replies(a: Run, b: Run, differ: set[str]) -> str | None:
    """Why replies can't be held against each other, if they can't."""
    if a.is_classification != b.is_classification:
        return "one task is a classification, the other is none"
    if "tuned_precision" in differ:
        return PRECISION
    if "tuned_decoding" not in differ:
        return None
    ours, theirs = (decoding_of(run) for run in (a, b))
    settings = {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}
    if a.comparability.get("tuned_precision") == "float32":
        settings.discard("batch_size")  # in float32 a reply is the same whatever its batch
    if settings == {"max_new_tokens"}:
        limit = min(int(one.get("max_new_tokens", 0)) for one in (ours, theirs))
        reached = any(reaches(run.replies, limit) for run in (a, b))
        return f"replies were cut at different lengths, some at {limit} tokens" if reached else None
    return "replies were decoded in different ways" if settings or not ours or not theirs else None


def decoding_of(run: Run) -> dict[str, str]:
    """As it stands in the fingerprint: `decoding greedy, max_new_tokens 40, batch_size 64`."""
    text = run.comparability.get("tuned_decoding") or ""
    return {name: value for name, _, value in (part.rpartition(" ") for part in text.split(", ")) if name}


def reaches(replies: pd.DataFrame | None, limit: int) -> bool:
    """Whether a reply is as long as a limit, its stop token counted, or was cut; so too where that is not known."""
    if replies is None:
        return True
    said = replies[replies["tuned_reply"].notna()]
    return bool((said["tuned_reply_tokens"] >= limit).any() or (said["tuned_stopped"] == False).any())  # noqa: E712
