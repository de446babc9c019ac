"""Claims about two tuned models in plain words. A is base's place in a claim, B tuned's."""

from stages.lib.records.scores import Claim, ClaimName, Measure
from stages.report.sentences import RATIOS, evidence_of, rounded
from tools.compare.claims import SeedNoise, Verdict
from tools.console import plural

HEADS: dict[ClaimName, tuple[str, str, str]] = {  # less, more, can't tell
    "better": ("Better on test", "Worse on test", "Can't tell whether it is better on test"),
    "forgot": ("Forgot less", "Forgot more", "Can't tell whether it forgot more or less"),
    "broken": ("Fewer broken replies", "More broken replies", "Can't tell whether more or fewer replies are broken"),
    "length": ("Shorter replies", "Longer replies", "Can't tell whether replies are longer or shorter"),
    "wording": (
        "Replies are less like the references", "Replies are more like the references",
        "Can't tell which replies are more like the references",
    ),
    "memorised": (
        "Gained less on training conversations than on new ones", "Gained more on training conversations than on new ones",
        "Can't tell whether it memorised more",
    ),
}  # fmt: skip
MEASURES: dict[Measure, str] = {
    "perplexity_ratio": "perplexity {estimate} times A's{interval}, from {a} to {b}",
    "bits_per_byte_difference": "bits per byte {estimate}{interval}, from {a} to {b}",
    "accuracy_difference": "share of right replies {estimate}{interval}, from {a} to {b}",
    "broken_difference": "share of broken replies {estimate}{interval}, from {a} to {b}",
    "length_ratio": "{estimate} times as long as A's{interval}, from {a} to {b} characters",
    "retention_ratio": "perplexity of base's own replies to general prompts {estimate} times A's{interval}, from {a} to {b}",
    "chrf_difference": "chrF {estimate}{interval}, from {a} to {b}",
    "memorised_auc": "the gain over A tells a training conversation from a test one {estimate} beyond chance{interval}",
}
NAMES: dict[ClaimName, str] = {
    "better": "better", "forgot": "forgot", "broken": "broken replies", "length": "length",
    "wording": "likeness to the references", "memorised": "memorised",
}  # fmt: skip


def sentence(claim: Claim) -> str:
    name, verdict = claim["name"], claim["verdict"]
    if verdict == "too_few":
        return f"Too few to tell ({NAMES[name]}): {claim['reason']}."
    if verdict == "not_measured":
        return f"No claim ({NAMES[name]}): {claim['reason']}."
    less, more, unclear = HEADS[name]
    if claim["measure"] == "accuracy_difference":
        less, more = more, less
    head = unclear if verdict == "unclear" else less if verdict == "less" else more
    return f"{head}: {figures(claim)}.{would_decide(claim) if verdict == 'unclear' else ''}"


def figures(claim: Claim) -> str:
    measure = claim["measure"]
    interval = f" ({change(claim['low'], measure)} to {change(claim['high'], measure)})" if claim["low"] is not None else ""
    return MEASURES[measure].format(
        estimate=change(claim["estimate"], measure),
        interval=interval,
        a=level(claim["base"], measure),
        b=level(claim["tuned"], measure),
    )


def change(value: float | None, measure: Measure) -> str:
    """With more digits than base against tuned needs: two tuned models are near each other.

    >>> change(0.9951, "perplexity_ratio"), change(-0.0312, "broken_difference"), change(None, "length_ratio")
    ('0.995', '-3.1 points', '?')
    """
    if value is None:
        return "?"
    if measure in RATIOS:
        return f"{value:.3f}" if value < 100 else f"{value:,.0f}"
    if measure in ("accuracy_difference", "broken_difference"):
        return f"{100 * value:+.1f} points"
    return f"{value:+.4f}" if measure == "bits_per_byte_difference" else f"{value:+.2f}"


def level(value: float | None, measure: Measure) -> str:
    """One model's own value.

    >>> level(19.8414, "perplexity_ratio"), level(0.25, "accuracy_difference")
    ('19.84', '25.0%')
    """
    if value is None:
        return "?"
    if measure in ("accuracy_difference", "broken_difference"):
        return f"{value:.1%}"
    if measure == "length_ratio":
        return f"{value:,.0f}"
    return f"{value:.3f}" if measure == "bits_per_byte_difference" else f"{value:,.2f}"


def would_decide(claim: Claim) -> str:
    """What a test set like this would have found, and what would decide."""
    said = f" {claim['reason'][0].upper()}{claim['reason'][1:]}." if claim["reason"] else ""
    these, evidence = evidence_of(claim["name"], "en")
    if claim["detectable"] is not None:
        size = change(claim["detectable"], claim["measure"]).lstrip("+")
        size = f"a factor of {size}" if claim["measure"] in RATIOS else size
        said += f" With {these}, a change smaller than {size} would be missed more than one time in five."
    if claim["more_conversations"]:
        said += f" About {rounded(claim['more_conversations'])} more {evidence} would decide an effect of this size."
    return said


def headline(verdict: Verdict, claim: Claim, noise: SeedNoise) -> str:
    """The first claim in a word and a sentence."""
    if verdict == "the same":
        return "The tuned models of A and of B predict the same, to the byte."
    if verdict in ("better", "worse"):
        doubt = ", but no more than another seed would move it" if noise["beyond"] is False else ""
        return f"B is {verdict} than A{doubt}: {figures(claim)}, over {plural(claim['conversations'], 'test conversation')}."
    if verdict == "can't tell":
        return f"Can't tell whether B is better than A: {figures(claim)}.{would_decide(claim)}"
    return f"{verdict[0].upper()}{verdict[1:]}: {claim['reason']}."
