"""The best of several experiments, and whether that is luck.

One is chosen by its validation loss. What it is worth is then asked of test, pair by pair against the run that all began at, and
counted for how many were tried (Holm): the best of ten looks better than it is.
"""

from shlex import quote
from typing import TypedDict

from stages.evaluate.claims import Paired, Question, make_claims
from stages.evaluate.comparison import ask_better
from stages.lib.base_model.tokenized import examples_of
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.scores import EXAMPLES, REPLIES, Claim, Measure
from tools.compare import git
from tools.compare.changes import ChangedParam, changed_params
from tools.compare.claims import UNMEASURED, ask_per_byte, confidence_of, seed_noise_of, verdict_of
from tools.compare.fingerprints import Comparability, judge
from tools.compare.markdown import amount, code, plain, table
from tools.compare.own import failed_gates, read_own
from tools.compare.pairs import Both, pair_likelihoods, pair_replies
from tools.compare.revision import Revision, find_revision
from tools.compare.run import Run, bring, read_run
from tools.compare.sentences import change, figures, would_decide
from tools.compare.store import Store
from tools.console import plural

NO_EXPERIMENT = (
    "HEAD has no experiments; `dvc exp run --queue -S train.learning_rate=2e-4` queues one and `dvc queue start` runs it; "
    "or name those of another commit"
)
OTHER_VALIDATION = "validated on other conversations, or other tokens of them"
NO_LOSS = "it has no validation loss"


class Candidate(TypedDict):
    """`why_not`: why it is not ranked. `claim`: on test against the baseline, its p counted for all that are ranked."""

    name: str
    commit: str | None
    params: list[ChangedParam]
    validation_loss: float | None
    why_not: str | None
    claim: Claim | None
    verdict: str | None
    gates_failed: list[str]


class Best(TypedDict):
    """`candidates`: by validation loss, the lowest first, then what is not ranked. `tried`: how many are ranked.

    `experiment`: what DVC calls the chosen one by; None where it is a branch, a commit or the work tree.

    `seed_noise`: what another seed would change, beside the chosen one's change on test.

    `against_second`: the chosen one on test against the one after it, which is its A. `missing`: outs out of reach.
    """

    baseline: str
    baseline_validation_loss: float | None
    chosen: str | None
    experiment: str | None
    verdict: str
    tried: int
    candidates: list[Candidate]
    seed_noise: str
    against_second: Claim | None
    missing: list[str]


def find_best(names: list[str], fetch: bool) -> Best:
    """Of the experiments named, or of all that began at HEAD."""
    git.check_repository()
    baseline = Revision("HEAD", git.commit_of("HEAD"))
    revisions = [find_revision(name) for name in dict.fromkeys(names)]
    if not names:
        revisions = [Revision(one.name, one.commit) for one in git.experiments() if one.baseline == baseline.commit]
    if not revisions:
        raise ReprotuneError(NO_EXPERIMENT)
    store = Store(fetch)
    before = read_run(baseline, store)
    candidates: list[Candidate] = []
    runs: list[tuple[Run, Candidate]] = []
    for revision in revisions:
        candidate, run = describe(before, revision, store)
        candidates.append(candidate)
        if run is not None and candidate["why_not"] is None:
            runs.append((run, candidate))
    runs.sort(key=lambda pair: (pair[1]["validation_loss"] or 0, pair[1]["name"]))
    bring([before, *(run for run, _ in runs)], (EXAMPLES, REPLIES))
    confidence = confidence_of(before)
    judged = [ask(before, run, confidence) for run, _ in runs]
    claims = make_claims([question for question, _ in judged], confidence)
    for (_, candidate), claim, (_, comparability) in zip(runs, claims, judged, strict=True):
        candidate["claim"], candidate["verdict"] = claim, verdict_of(claim, comparability)
    ranked = [candidate for _, candidate in runs]
    second = make_claims([ask(runs[1][0], runs[0][0], confidence)[0]], confidence)[0] if len(runs) > 1 else None
    return {
        "baseline": str(baseline),
        "baseline_validation_loss": loss_of(before),
        "chosen": ranked[0]["name"] if ranked else None,
        "experiment": next((one.name for one in git.experiments() if ranked and one.commit == ranked[0]["commit"]), None),
        "verdict": (ranked[0]["verdict"] if ranked else None) or "not measured",
        "tried": len(ranked),
        "candidates": [*ranked, *(one for one in candidates if one["why_not"])],
        "seed_noise": seed_noise_of(before, runs[0][0], claims[0], confidence)["said"] if runs else UNMEASURED,
        "against_second": second,
        "missing": sorted(
            {
                f"{path} of {run.revision}: {why}"
                for run in (before, *(run for run, _ in runs))
                for path, why in run.missing.items()
            }
        ),
    }


def loss_of(run: Run) -> float | None:
    loss = run.metrics.get("training", {}).get("validation_loss")
    return float(loss) if isinstance(loss, int | float) else None


def describe(before: Run, revision: Revision, store: Store) -> tuple[Candidate, Run | None]:
    """What is known before anything is compared; an experiment that failed has no run."""
    candidate: Candidate = {
        "name": revision.name, "commit": revision.commit, "params": [], "validation_loss": None, "why_not": None, "claim": None,
        "verdict": None, "gates_failed": [],
    }  # fmt: skip
    try:
        run = read_run(revision, store)
    except ReprotuneError as error:
        return {**candidate, "why_not": str(error)}, None
    validation = examples_of("validation")
    candidate |= {"params": changed_params(before, run), "validation_loss": loss_of(run)}
    candidate["gates_failed"] = failed_gates(read_own(run)["gates"])
    if candidate["validation_loss"] is None:
        candidate["why_not"] = NO_LOSS
    elif run.hash_of(validation) != before.hash_of(validation):
        candidate["why_not"] = OTHER_VALIDATION
    return candidate, run


def ask(a: Run, b: Run, confidence: float) -> tuple[Question, Comparability]:
    """Whether B is better than A on test."""
    comparability = judge(a, b)
    classification = a.is_classification and b.is_classification
    likelihoods, per_byte = pair_likelihoods(a, b, [])
    right = pair_replies(a, b, [])[3] if classification else "the task is no classification"
    reason = comparability["withheld"].get("better")
    pairs = right if classification else likelihoods
    if reason is None and isinstance(pairs, str) and not classification and isinstance(per_byte, Paired):
        return ask_per_byte(per_byte, confidence), comparability
    if reason is not None or isinstance(pairs, str):
        measure: Measure = "accuracy_difference" if classification else "perplexity_ratio"
        return Question("better", measure, None, 0, reason=reason or str(pairs)), comparability
    none = "not asked"
    both = Both(likelihoods, per_byte, none, none, none, right, none, none, [])
    return ask_better(both.measured("classification" if classification else "dialogue"), confidence), comparability


def render_best(best: Best) -> str:
    rows = []
    for place, one in enumerate(best["candidates"], 1):
        claim = one["claim"]
        changed = ", ".join(code(f"{param['name']}={param['b']}") for param in one["params"][:5]) or "none"
        on_test = "" if claim is None or claim["estimate"] is None else change(claim["estimate"], claim["measure"])
        if claim is not None and claim["low"] is not None:
            on_test += f" ({change(claim['low'], claim['measure'])} to {change(claim['high'], claim['measure'])})"
        p, verdict = amount(claim["p_holm"]) if claim else "", one["verdict"] or plain(one["why_not"] or "")
        rows.append(
            [
                "" if one["why_not"] else str(place),
                code(one["name"]),
                changed,
                amount(one["validation_loss"]),
                on_test,
                p,
                verdict,
                plain(", ".join(one["gates_failed"])),
            ]
        )
    lines = [
        *said(best),
        "",
        *table(
            ["", "experiment", "params", "validation loss", "on test against HEAD", "p (Holm)", "verdict", "gates it fails"], rows
        ),
    ]
    lines += ["", *(f"- out of reach: {plain(one)}" for one in best["missing"])] if best["missing"] else []
    return "\n".join(lines) + "\n"


def said(best: Best) -> list[str]:
    """What may be claimed of the best one, and what may not."""
    if best["chosen"] is None:
        return ["## None can be ranked"]
    first, name = best["candidates"][0], code(best["chosen"])
    claim = first["claim"]
    lines = [f"## {name}: {first['verdict']}", ""]
    lines.append(
        f"Chosen by validation loss, the lowest of {best['tried']}. (Chosen on test, the best one would look better than it is.)"
    )
    if best["baseline_validation_loss"] is not None and (first["validation_loss"] or 0) >= best["baseline_validation_loss"]:
        lines.append(
            f"None has a lower validation loss than {code(best['baseline'])} itself ({amount(best['baseline_validation_loss'])})."
        )
    if claim is not None and claim["verdict"] in ("less", "more", "unclear"):
        decided = would_decide(claim) if claim["verdict"] == "unclear" else ""
        on_test = figures(claim).replace("A's", "HEAD's")
        lines.append(plain(f"On test: {on_test}; counted for {plural(best['tried'], 'try')}.{decided}"))
    elif claim is not None:
        lines.append(f"On test: {plain(claim['reason'] or '')}.")
    if (second := best["against_second"]) is not None:
        other = code(best["candidates"][1]["name"])
        words = {"unclear": "can't be told apart", "too_few": "can't be told apart", "not_measured": "can't be compared"}
        measured = second["verdict"] in ("less", "more", "unclear")
        why = f"{figures(second)}; A is the second" if measured else second["reason"] or ""
        lines.append(f"On test it and the second, {other}, {words.get(second['verdict'], 'differ')} ({plain(why)}).")
    if first["gates_failed"]:
        ranked = [one for one in best["candidates"] if one["why_not"] is None]
        passing = next((code(one["name"]) for one in ranked if not one["gates_failed"]), None)
        rest = f"the best that fails none is {passing}" if passing else "none of them keeps all gates"
        failed = plain(", ".join(first["gates_failed"]))
        lines.append(f"It fails {plural(len(first['gates_failed']), 'gate')} of its report ({failed}); {rest}.")
    noise = best["seed_noise"]
    lines.append(f"{plain(noise[0].upper() + noise[1:])}.")
    if best["experiment"] is not None:
        lines += ["", f"`dvc exp branch {quote(best['experiment'])} NEW-BRANCH` makes a branch of it."]
    return lines
