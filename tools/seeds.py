"""How much does another train.seed move the results? Runs with several seeds -> metrics/seeds.json: python -m tools.seeds [RUNS]

Each run is an experiment of DVC, in a copy of the project: `dvc exp show` lists it. A seed that has run on this commit is not run
again, so that after a kill the same command goes on. The first seed is that of params.yaml.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import write_json
from stages.lib.core.params import PARAMS, Yaml12Loader, read_params
from stages.lib.records.scores import Claim
from stages.report.files import ADAPTER, CLAIMS, COMPARABILITY
from stages.report.seeds import LOGARITHMS, SEEDS, SeedNoise, Spread, adapter_hash, name_of
from stages.train.params import TrainParams
from tools.console import check_git, run_tool, whole

DVC = [sys.executable, "-m", "dvc"]
RUNS = 5


def git(*command: str) -> str:
    """
    Raises:
        ReprotuneError: it ends with an error, which is then the message.
    """
    done = subprocess.run(["git", *command], capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        raise ReprotuneError(f"git {command[0]}: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}")
    return done.stdout


def check_clean() -> None:
    """An experiment takes what was changed since the last commit along, and leaves a .dvc file behind that git does not know.

    Raises:
        ReprotuneError: there is such a file.
    """
    lines = git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all").split("\0")
    changed = [line[3:] for line in lines if line and (not line.startswith("??") or line.endswith(".dvc"))]
    if mixed := [path for path in changed if path != str(SEEDS)]:
        more = f" and {len(mixed) - 1:,} more files" if len(mixed) > 1 else ""
        raise ReprotuneError(
            f"{mixed[0]}{more}: not as committed, which would mix with the seeds; `git commit` the change, or set it aside with "
            "`git stash`"
        )


def read_at(revision: str, path: object) -> Any:
    return json.loads(git("show", f"{revision}:{path}"))


def params_at(revision: str) -> Any:
    return yaml.load(git("show", f"{revision}:{PARAMS}"), Loader=Yaml12Loader)


def find_run(seed: int) -> str | None:
    """The experiment of this seed on this commit.

    Raises:
        ReprotuneError: under its name stands one with other params.
    """
    head, name = git("rev-parse", "HEAD").strip(), name_of_run(seed)
    revision = git("for-each-ref", "--format=%(objectname)", f"refs/exps/{head[:2]}/{head[2:]}/{name}").strip()
    if not revision:
        return None
    expected = params_at("HEAD")
    expected["train"]["seed"] = seed
    if params_at(revision) != expected:
        raise ReprotuneError(f"experiment {name}: its params differ in more than train.seed; `dvc exp remove {name}`, then again")
    return revision


def name_of_run(seed: int) -> str:
    return f"seed-{seed}"


def run_seed(seed: int) -> str:
    """The run's revision.

    Raises:
        ReprotuneError: it ends with an error.
    """
    print(f"seed {seed}:", file=sys.stderr, flush=True)
    command = [*DVC, "exp", "run", "--temp", "-n", name_of_run(seed), "-S", f"train.seed={seed}"]
    # dvc.yaml runs `python`: this one, also where its environment is not active.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(command, env={**os.environ, "PATH": path}, check=False, stdout=sys.stderr)
    revision = find_run(seed)
    if done.returncode or revision is None:
        raise ReprotuneError(f"the run with seed {seed} ended with an error, above; the runs before it are kept")
    return revision


def spread_of(values: Sequence[float | None]) -> Spread:
    """The standard deviation is the sample's, over n - 1."""
    known = [value for value in values if value is not None]
    return {
        "values": list(values),
        "mean": statistics.fmean(known) if known else None,
        "standard_deviation": statistics.stdev(known) if len(known) > 1 else None,
    }


def value_of(claim: Claim) -> float | None:
    estimate = claim["estimate"]
    if estimate is None or claim["measure"] not in LOGARITHMS:
        return estimate
    return math.log(estimate) if estimate > 0 else None


def gather(seeds: Sequence[int], revisions: Sequence[str]) -> SeedNoise:
    """
    Raises:
        ReprotuneError: the runs were measured differently, such as on two devices.
    """
    comparabilities = [read_at(revision, COMPARABILITY) for revision in revisions]
    for seed, found in zip(seeds, comparabilities, strict=True):
        if differing := sorted(key for key in found if found[key] != comparabilities[0].get(key)):
            names = " and ".join(name_of_run(one) for one in (seeds[0], seed))
            raise ReprotuneError(
                f"experiments {names} differ in {', '.join(differing)}, so they don't compare; run both here again"
            )
    claims: list[dict[str, Claim]] = [read_at(revision, CLAIMS) for revision in revisions]
    return {
        "seeds": list(seeds),
        "adapters": [adapter_hash(read_at(revision, ADAPTER)) for revision in revisions],
        "comparability": comparabilities[0],
        "measures": {
            name_of(claim): spread_of([value_of(one[name]) for one in claims])
            for name, claim in claims[0].items()
            if all(name in one for one in claims)
        },
    }


def describe(noise: SeedNoise) -> str:
    spreads = [
        f"{name} {spread['mean']:.3g} ± {spread['standard_deviation']:.2g}"
        for name, spread in noise["measures"].items()
        if spread["mean"] is not None and spread["standard_deviation"] is not None
    ]
    return f"{SEEDS}: seeds {', '.join(map(str, noise['seeds']))}; {', '.join(spreads)}; `dvc repro` puts it into the report"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.seeds", description=__doc__)
    parser.add_argument(
        "runs", type=int, nargs="?", default=RUNS, metavar="RUNS", help=f"how many seeds, 2 or more (default {RUNS})"
    )
    runs: int = parser.parse_args().runs
    if runs < 2:
        raise ReprotuneError(f"{runs} seeds: expected 2 or more, since one has no spread")
    check_git()
    first = read_params("train", TrainParams).seed
    check_clean()
    seeds = range(first, first + runs)
    noise = gather(seeds, [find_run(seed) or run_seed(seed) for seed in seeds])
    with whole(SEEDS) as half:
        write_json(half, noise)
    print(describe(noise))


if __name__ == "__main__":
    run_tool(main)
