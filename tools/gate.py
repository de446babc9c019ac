"""Hold metrics/ against `report.gates` of params.yaml: `python -m tools.gate` ends with 1 where a gate fails.

Each gate looks at the bad end of an interval. What could not be computed fails. The results are kept either way.
"""

import argparse

from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import read_params
from stages.report.__main__ import ReportParams
from stages.report.files import METRICS
from stages.report.gates import check_gates, describe
from tools.console import plural, print_all, run_tool


def main() -> int:
    argparse.ArgumentParser(prog="python -m tools.gate", description=__doc__).parse_args()
    gates = read_params("report", ReportParams).gates
    if not METRICS.is_dir():
        raise ReprotuneError(f"{METRICS}: not found; `dvc repro` makes it")
    outcomes = check_gates(gates)
    print_all(map(describe, outcomes))
    failed = sum(not outcome["passed"] for outcome in outcomes)
    print(f"{plural(len(outcomes), 'gate')}, {failed} failed" if outcomes else "no gate in report.gates")
    return 1 if failed else 0


if __name__ == "__main__":
    run_tool(main)
