"""What a run says of itself, as git has it: its claims against its base model, and its gates."""

from collections.abc import Sequence
from typing import TypedDict, get_args

from stages.lib.records.scores import Claim, ClaimName
from stages.report.files import CLAIMS, GATES
from stages.report.gates import Outcome
from tools.compare.run import Run


class Said(Claim):
    sentence: str


class Own(TypedDict):
    """What a run says of tuned against base, as git has it: its claims by name, and its gates."""

    claims: dict[str, Said]
    gates: list[Outcome]


def read_own(run: Run) -> Own:
    """As far as it is in today's form."""
    claims, gates = run.revision.read_json(CLAIMS), run.revision.read_json(GATES)
    named = claims if isinstance(claims, dict) else {}
    return {
        "claims": {name: one for name, one in named.items() if name in get_args(ClaimName) and is_like(one, Said)},
        "gates": [one for one in gates if is_like(one, Outcome)] if isinstance(gates, list) else [],
    }


def is_like(found: object, record: type) -> bool:
    """Whether it has the keys of a TypedDict."""
    return isinstance(found, dict) and record.__required_keys__ <= found.keys()  # type: ignore[attr-defined]


def failed_gates(gates: Sequence[Outcome]) -> list[str]:
    """The metrics that were held against a bound and did not keep it."""
    return [str(gate["metric"]) for gate in gates if not gate["passed"]]


def notes_of_gates(gates: Sequence[Outcome]) -> list[str]:
    """What is better than A may still be nothing to ship."""
    failed = failed_gates(gates)
    return [f"B fails {len(failed)} of its {len(gates)} gates: {', '.join(failed)}."] if failed else []
