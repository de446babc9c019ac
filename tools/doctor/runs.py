"""dvc.lock against the run cache: whether what it records of a stage came of a run, or was written by a hand.

DVC compares the files that git tracks with dvc.lock alone, so who changes both, a metric and its hash, is believed.
"""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote

from dvc.repo import Repo
from dvc.stage.cache import _can_hash, _get_stage_hash
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.serialize import YAMLFileCorruptedError, load_yaml

from tools.doctor.finding import Finding


def check_runs(repo: Repo) -> Iterator[Finding]:
    """Stages of which the run cache has runs on the very inputs that dvc.lock records, none of them with its results."""
    for stage in repo.index.stages:
        if stage.is_data_source or not _can_hash(stage) or not all(out.hash_info for out in stage.outs):
            continue
        recorded = hashes_of(to_single_stage_lockfile(stage))
        runs = list(runs_on(Path(repo.stage_cache.cache_dir), _get_stage_hash(stage)))
        if runs and recorded not in runs:
            closest = min(runs, key=lambda run: len(differing(recorded, run)))
            name = quote(str(stage.addressing))
            said = f"no run that is known here wrote what dvc.lock records of {', '.join(differing(recorded, closest))}"
            remedy = f"dvc repro --force --single-item {name}   # or, if it ran elsewhere: dvc fetch --run-cache {name}"
            yield Finding(str(stage.addressing), said, remedy)


def runs_on(folder: Path, inputs: str) -> Iterator[dict[str, str]]:
    """The outs of each run, path -> hash. `inputs`: DVC's hash of command, deps, params and the outs' names."""
    for path in sorted((folder / inputs[:2] / inputs).glob("*")):
        try:
            yield hashes_of(load_yaml(str(path)))
        except (YAMLFileCorruptedError, KeyError, TypeError):  # DVC passes over such a record, and removes it
            continue


def hashes_of(record: dict) -> dict[str, str]:
    return {out["path"]: out["md5"] for out in record["outs"]}


def differing(recorded: dict[str, str], run: dict[str, str]) -> list[str]:
    return sorted(path for path in recorded if run.get(path) != recorded[path])
