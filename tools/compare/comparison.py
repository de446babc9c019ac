"""Everything that two runs say of each other, as one record: what --json prints and the Markdown is made of."""

from collections.abc import Mapping
from typing import TypedDict

from stages.lib.base_model.tokenized import examples_of
from stages.lib.records.predictions import predictions_of
from stages.lib.records.scores import Claim
from tools.compare.changes import ChangedParam, ChangedStage, changed_params, changed_stages
from tools.compare.claims import SeedNoise, Verdict, confidence_of, make, seed_noise_of, verdict_of
from tools.compare.data import NO_CHANGES, DataChanges, changed_data
from tools.compare.fingerprints import Comparability, judge, nothing_comparable
from tools.compare.flips import Flips, find_flips
from tools.compare.loss import Curves, read_curves
from tools.compare.markdown import amount
from tools.compare.others import Others, compare_others
from tools.compare.own import Own, Said, notes_of_gates, read_own
from tools.compare.pairs import no_pairs, pair_runs
from tools.compare.run import Run
from tools.compare.sentences import headline, sentence

REPLIES_SHOWN = 5  # of the best, and of the worst
OF_TOKENS = ("perplexity", "labels")
OF_LIKELIHOODS = (
    "perplexity_ratio",
    "more_likely",
    "bits_per_byte",
    "conversations",
    "groups",
    "unscored",
)  # as their names begin
VALIDATION = examples_of("validation")
OF_VALIDATION = ("validation_loss", "validation_loss_start")


class Change(TypedDict):
    """`change`: b less a; None where one of them is no number."""

    a: float | None
    b: float | None
    change: float | None


class Named(TypedDict):
    """`commit` None: the work tree."""

    name: str
    commit: str | None


class Missing(TypedDict):
    run: str
    path: str
    why: str


class Comparison(TypedDict):
    """`claims`: base is A, tuned is B. `metrics`: file of metrics/ -> key -> values, as far as they can be compared.

    `against_base`: B without A. `others`: contenders and votes. `loss`: curves of A and of B. `missing`: what was out of reach.
    `notes`: what else to bear in mind.
    """

    a: Named
    b: Named
    verdict: Verdict
    headline: str
    comparability: Comparability
    claims: dict[str, Said]
    against_base: Own
    others: Others
    seed_noise: SeedNoise
    metrics: dict[str, dict[str, Change]]
    params: list[ChangedParam]
    stages: list[ChangedStage]
    data: DataChanges
    replies: Flips | None
    loss: dict[str, Curves]
    missing: list[Missing]
    notes: list[str]


def compare(a: Run, b: Run) -> Comparison:
    """A may be no run: B is then told by itself."""
    comparability = judge(a, b) if a.why_none is None else nothing_comparable(a.why_none)
    both = pair_runs(a, b) if a.why_none is None else no_pairs(a.why_none)
    confidence = confidence_of(b)
    classification = a.is_classification and b.is_classification
    claims = make(both, comparability, classification, confidence)
    verdict = what_it_comes_to(a, b, claims[0], comparability)
    noise = seed_noise_of(a, b, claims[0], confidence)
    flips = None if "wording" in comparability["withheld"] else find_flips(a, b, REPLIES_SHOWN)
    data = changed_data(a, b) if a.why_none is None else NO_CHANGES
    metrics = changed_metrics(a, b, comparability)
    own = read_own(b)
    one_test = all(one["name"] != "test" for one in comparability["differences"])
    return {
        "a": {"name": a.revision.name, "commit": a.revision.commit},
        "b": {"name": b.revision.name, "commit": b.revision.commit},
        "verdict": verdict,
        "headline": headline(verdict, claims[0], noise),
        "comparability": comparability,
        "claims": {one["name"]: {**one, "sentence": sentence(one)} for one in claims},
        "against_base": own,
        "others": compare_others(a, b, comparability),
        "seed_noise": noise,
        "metrics": metrics,
        "params": changed_params(a, b) if a.params else [],
        "stages": changed_stages(a.lock, b.lock) if a.lock else [],
        "data": data,
        "replies": flips,
        "loss": {"a": read_curves(a.revision), "b": read_curves(b.revision)},
        "missing": [
            {"run": name, "path": path, "why": why}
            for name, run in (("A", a), ("B", b))
            for path, why in sorted(run.missing.items())
        ],
        "notes": [
            *notes_of_gates(own["gates"]),
            *notes_from_git(verdict, metrics),
            *(both.notes if one_test else []),
            *notes_on(a, "A"),
            *notes_on(b, "B"),
        ],
    }


def what_it_comes_to(a: Run, b: Run, claim: Claim, comparability: Comparability) -> Verdict:
    if a.why_none is not None:
        return "first run"
    if same_predictions(a, b) and not a.stages_not_run() and not b.stages_not_run():
        return "the same"
    return verdict_of(claim, comparability)


def same_predictions(a: Run, b: Run) -> bool:
    """Of the tuned model, to the byte."""
    found = a.hash_of(predictions_of("tuned"))
    return found is not None and found == b.hash_of(predictions_of("tuned"))


def notes_from_git(verdict: Verdict, metrics: Mapping[str, Mapping[str, Change]]) -> list[str]:
    """What can be said of the first claim without the scores behind it."""
    name = next((name for name in ("accuracy", "perplexity", "bits_per_byte") if name in metrics.get("tuned", {})), None)
    if verdict != "not measured" or name is None:
        return []
    a, b = (amount(metrics["tuned"][name][run]) for run in ("a", "b"))
    return [
        f"From git alone, {name.replace('_', ' ')} went from {a} to {b}; whether that is chance can't be said without the scores."
    ]


def notes_on(run: Run, name: str) -> list[str]:
    """What makes a run other than what it seems."""
    notes = []
    if late := run.params_not_run():
        notes.append(f"{name} was run with other values of {', '.join(late)} than its params.yaml has: `dvc repro` is due.")
    if edited := run.metrics_not_run():
        notes.append(f"What {name}'s dvc.lock records is not what stands in {', '.join(edited)}: `dvc repro` is due.")
    if apart := run.stages_not_run():
        stage, path = apart[0]
        notes.append(
            f"In {name}'s dvc.lock {stage} was run with another {path} than stands there, as after a merge: `dvc repro` is due."
        )
    if not (edited or apart) and (forged := run.metrics_not_scored()):
        notes.append(
            f"{name}'s {', '.join(forged)} and its dvc.lock were edited: the scores of its run are others. "
            "`dvc repro -f -s report` writes them again."
        )
    return notes


def changed_metrics(a: Run, b: Run, comparability: Comparability) -> dict[str, dict[str, Change]]:
    """Those that may stand side by side; what was measured otherwise is no change."""
    changes: dict[str, dict[str, Change]] = {}
    for name in a.metrics.keys() & b.metrics.keys():
        pairs = {key: change_of(a.metrics[name], b.metrics[name], key) for key in {**a.metrics[name], **b.metrics[name]}}
        kept = {key: pair for key, pair in pairs.items() if may_stand(name, key, a, b, comparability)}
        if kept:
            changes[name] = dict(sorted(kept.items()))
    return dict(sorted(changes.items()))


def may_stand(name: str, key: str, a: Run, b: Run, comparability: Comparability) -> bool:
    if name == "data":
        return True
    if name == "training":
        same = a.hash_of(VALIDATION) == b.hash_of(VALIDATION) is not None
        return same or key not in OF_VALIDATION
    differ = {one["name"] for one in comparability["differences"]}
    if "test" in differ or (name != "tuned" and differ & {"base_model", "tokenizer", "chat_template"}):
        return False
    if key in OF_TOKENS:
        return comparability["per_token"]
    return key.startswith(OF_LIKELIHOODS) or "wording" not in comparability["withheld"]


def change_of(a: Mapping[str, object], b: Mapping[str, object], key: str) -> Change:
    before, after = (float(value) if isinstance(value, int | float) else None for value in (a.get(key), b.get(key)))
    return {"a": before, "b": after, "change": None if before is None or after is None else after - before}
