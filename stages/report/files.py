"""Where a run's results stand that git tracks: what people and DVC read in metrics/, what else tells of it in details/."""

from pathlib import Path

METRICS = Path("metrics")
SUMMARY = METRICS / "report.md"
PAGE = METRICS / "report.html"
PLOTS = METRICS / "plots"

DETAILS = METRICS / "details"
ADAPTER = DETAILS / "adapter.json"
CLAIMS = DETAILS / "claims.json"
COMPARABILITY = DETAILS / "comparability.json"
GATES = DETAILS / "gates.json"
REASONS = DETAILS / "reasons.json"
