"""Each remedy, typed as it stands, in a folder whose path a shell would take apart: afterwards nothing is found."""

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from conftest import REPO, run

pytestmark = pytest.mark.slow
REMOTE = "数据 缓存"
Fault = Callable[[Path, Path], None]


def flip(path: Path) -> None:
    """Other bytes, as many, read-only as DVC leaves it."""
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    path.chmod(0o444)


def both_altered(file: Path, stored: Path) -> None:
    """As after `dvc checkout`, which trusts the object."""
    flip(stored)
    file.unlink()
    shutil.copy(stored, file)


def both_lost(file: Path, stored: Path) -> None:
    file.unlink()
    stored.unlink()


FAULTS: dict[str, Fault] = {  # of a file where one works, and of its object in the cache
    "object altered": lambda _, stored: flip(stored),
    "both altered": both_altered,
    "object lost": lambda _, stored: stored.unlink(),
    "both lost": both_lost,
    "file changed": lambda file, _: file.write_text("changed\n"),
    "file lost": lambda file, _: file.unlink(),
    "altered, and file changed": lambda file, stored: (flip(stored), file.write_text("changed\n")),
}


def stored(project: Path, record: Path, path: str) -> Path:
    """The object of an out, by the lock or the .dvc file that records it."""
    found = yaml.safe_load(record.read_text(encoding="utf-8"))
    outs = [out for entry in found["stages"].values() for out in entry["outs"]] if "stages" in found else found["outs"]
    md5 = next(out["md5"] for out in outs if out["path"] == path)
    return project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory, warm: dict[str, str]) -> Path:
    """A file of a stage's, one that people brought and a folder of each, for every fault; not a word twice."""
    project = tmp_path_factory.mktemp("remedies") / "a b 项目"
    (project / "data/raw").mkdir(parents=True)
    stages = {}
    for number, name in enumerate(FAULTS):
        stages[f"make{number}"] = {"cmd": f"echo 'made: {name}' > 'out {number}'", "outs": [f"out {number}"]}
        (project / f"data/raw/raw {number}").write_text(f"brought: {name}\n", encoding="utf-8")
    for name in ("listing", "file"):
        stages[name] = {"cmd": f"mkdir -p '{name} s/a' && echo {name} > '{name} s/a/1'", "outs": [f"{name} s"]}
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    (project / "params.yaml").write_text("collect: {sources: {}}\n", encoding="utf-8")
    for name in ("tools", "stages"):
        (project / name).symlink_to(REPO / name)
    (project / ".gitignore").write_text("/tools\n/stages\n", encoding="utf-8")
    raw = [str(path.relative_to(project)) for path in sorted((project / "data/raw").iterdir())]
    for command in (
        ["git", "init", "-q", "-b", "main"], ["git", "config", "user.name", "T"], ["git", "config", "user.email", "t@x.org"],
        ["dvc", "init", "-q"], ["dvc", "repro", "-q"], ["dvc", "add", "-q", *raw],
        ["git", "add", "."], ["git", "commit", "-qm", "start"],
    ):  # fmt: skip
        run(command, project, **warm)
    return project


def doctor(project: Path, warm: dict[str, str], *arguments: str) -> list[tuple[str, str]]:
    """(what is found, the remedy) of each finding."""
    done = run(["python", "-m", "tools.doctor", *arguments], project, check=False, **warm)
    assert not done.stderr, done.stderr
    lines = done.stdout.splitlines()
    assert "of this revision compared; " in lines[-2], lines
    return [(line, after[4:]) for line, after in pairwise(lines) if after.startswith("    ")]


@pytest.mark.parametrize("remote", [True, False], ids=["with a remote", "without a remote"])
def test_each_remedy_mends_what_it_is_said_of(healthy: Path, remote: bool, warm: dict[str, str], tmp_path: Path) -> None:
    project = tmp_path / healthy.name
    shutil.copytree(healthy, project, symlinks=True)
    if remote:
        run(["python", "-m", "tools.remote", "add", "team", f"../{REMOTE}"], project, **warm)
        run(["dvc", "push", "-q"], project, **warm)
    content = {path: path.read_bytes() for path in [*project.glob("out *"), *project.glob("data/raw/raw ?")]}
    for number, spoil in enumerate(FAULTS.values()):
        for record, path in (("dvc.lock", f"out {number}"), (f"data/raw/raw {number}.dvc", f"raw {number}")):
            folder = project if record == "dvc.lock" else project / "data/raw"
            spoil(folder / path, stored(project, project / record, path))
    stored(project, project / "dvc.lock", "listing s").unlink()
    flip(project / "file s/a/1")
    found = doctor(project, warm)
    assert len(found) == 2 * len(FAULTS) + 2, found
    for said, remedy in found:
        if "no remote has it" in remedy:
            assert not remote
            path = project / "data/raw" / f"raw {next(n for n in range(len(FAULTS)) if f'raw {n}' in said)}"
            path.unlink(missing_ok=True)
            path.write_bytes(content[path])
        run(["sh", "-c", remedy], project, **warm)
    assert doctor(project, warm) == []
    mine = {"file changed", "altered, and file changed"}  # a file that people brought stays as they left it
    for number, name in enumerate(FAULTS):
        kept = b"changed\n" if name in mine else content[project / f"data/raw/raw {number}"]
        assert (project / f"data/raw/raw {number}").read_bytes() == kept, name
        assert (project / f"out {number}").read_bytes() == content[project / f"out {number}"], name
