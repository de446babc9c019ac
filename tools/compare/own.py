"""What a run says of itself, as git has it: its claims against its base model, and its gates."""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints

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
    """Whether it has the keys of a TypedDict, with values of their types."""
    return isinstance(found, dict) and all(
        name in found and is_a(found[name], hint) for name, hint in get_type_hints(record).items()
    )


def is_a(value: object, hint: Any) -> bool:
    """
    >>> is_a(1, float | None), is_a(None, float | None), is_a("1", float | None), is_a("less", Literal["less", "more"])
    (True, True, False, True)
    """
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if inner := get_args(hint):  # of a union
        return any(is_a(value, one) for one in inner)
    return isinstance(value, (int, float) if hint is float else hint)


def failed_gates(gates: Sequence[Outcome]) -> list[str]:
    """The metrics that were held against a bound and did not keep it."""
    return [str(gate["metric"]) for gate in gates if not gate["passed"]]


def notes_of_gates(gates: Sequence[Outcome]) -> list[str]:
    """What is better than A may still be nothing to ship."""
    failed = failed_gates(gates)
    return [f"B fails {len(failed)} of its {len(gates)} gates: {', '.join(failed)}."] if failed else []
