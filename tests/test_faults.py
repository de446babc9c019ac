"""What goes wrong in a team: kills, two at once, damaged objects, disks that are full or closed. Nothing is lost or falsified.

With the real DVC and a pipeline of two stages; the second one waits as long as there is a file `hold`.
"""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import REPO, copy_project, environment, run
from test_dag import edit_params

pytestmark = pytest.mark.slow
DVC = [sys.executable, "-m", "dvc"]  # itself, not by way of a server: it is killed here
SECONDS = 180  # at most, for what takes one or two
STAGES = {
    "first": {"cmd": "cp params.yaml first", "deps": ["params.yaml"], "outs": ["first"]},
    "second": {
        "cmd": "touch $DVC_ROOT/started; while [ -e $DVC_ROOT/hold ]; do sleep 0.1; done; cat first first > second",
        "deps": ["first"],
        "params": ["collect.limit"],
        "outs": ["second"],
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, warm: dict[str, str]) -> Path:
    """The project, run and pushed to a folder."""
    folder = tmp_path_factory.mktemp("faults") / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}), encoding="utf-8")
    (folder / "params.yaml").write_text("collect: {sources: {}, limit: 1}\n", encoding="utf-8")
    for name in ("tools", "stages"):
        (folder / name).symlink_to(REPO / name)
    commands = """
        git init -q -b main / git config user.name Test / git config user.email t@example.org / dvc init -q
        dvc remote add -q --default team ../team / dvc remote modify team verify true
        dvc repro -q / dvc push -q --run-cache / git add . / git commit -qm start"""
    (folder / ".gitignore").write_text("/tools\n/stages\n/started\n/hold\n")
    for command in commands.replace("\n", " / ").strip(" /").split(" / "):
        run(command.split(), folder, **warm)
    return folder.parent


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return copy_project(made, tmp_path / "x") / "project"


@contextmanager
def held(project: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """DVC while its second stage runs; the block lets it go on, or kills it."""
    (project / "hold").touch()
    (project / "started").unlink(missing_ok=True)
    process = subprocess.Popen(
        [*DVC, *command], cwd=project, env=environment(), start_new_session=True, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        end = time.monotonic() + SECONDS
        while not (project / "started").exists():
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.05)
        yield process
        (project / "hold").unlink(missing_ok=True)
        process.communicate(timeout=SECONDS)
    finally:
        (project / "hold").unlink(missing_ok=True)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def kill(process: subprocess.Popen[str], project: Path) -> None:
    """As the machine's end would: at once, with all that it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (project / "hold").unlink()


def change(project: Path, x: int) -> None:
    (project / "params.yaml").write_text(f"collect: {{sources: {{}}, limit: {x}}}\n", encoding="utf-8")


def findings(project: Path, warm: dict[str, str], *arguments: str) -> tuple[list[str], list[str]]:
    """What the doctor finds, and what it says mends it."""
    done = run(["python", "-m", "tools.doctor", *arguments], project, check=False, **warm)
    assert not done.stderr
    lines = done.stdout.splitlines()
    remedies = [line.strip() for line in lines if line.startswith("    ")]
    return [line for line, after in pairwise(lines) if after.startswith("    ")], remedies


def mend(project: Path, remedies: list[str], warm: dict[str, str]) -> None:
    for remedy in remedies:
        run(["sh", "-c", remedy], project, **warm)


def is_whole(project: Path, warm: dict[str, str]) -> bool:
    run(["dvc", "repro", "-q"], project, **warm)
    text = (project / "params.yaml").read_text()
    return (project / "second").read_text() == text * 2 and findings(project, warm) == ([], [])


def test_of_two_runs_in_one_folder_the_second_says_that_the_first_is_at_work(project: Path, warm: dict[str, str]) -> None:
    change(project, 2)
    with held(project, "repro") as first:
        second = run(["dvc", "repro"], project, check=False, **warm)
        assert second.returncode
        assert "busy" in second.stderr or "lock" in second.stderr, second.stderr
        assert "Traceback" not in second.stderr
    assert first.returncode == 0
    assert is_whole(project, warm)


def test_the_lock_of_a_dead_process_stands_in_nobodys_way(project: Path, warm: dict[str, str]) -> None:
    change(project, 2)
    with held(project, "repro") as process:
        kill(process, project)
    assert is_whole(project, warm)


@pytest.mark.parametrize("where", [["--temp"], []], ids=["copy", "workspace"])
def test_after_a_killed_experiment_the_doctors_remedies_leave_nothing(
    project: Path, where: list[str], warm: dict[str, str]
) -> None:
    head = run(["git", "rev-parse", "main"], project).stdout
    with held(project, "exp", "run", *where, "-S", "collect.limit=2") as process:
        kill(process, project)
    found, remedies = findings(project, warm)
    assert any("was killed, and counts as running" in line for line in found), found
    mend(project, remedies, warm)
    assert run(["git", "symbolic-ref", "--short", "HEAD"], project).stdout == "main\n"
    assert run(["git", "rev-parse", "main"], project).stdout == head
    assert not list((project / ".dvc/tmp/exps").rglob("params.yaml"))
    run(["dvc", "exp", "run", *where, "-q", "-S", "collect.limit=3"], project, **warm)
    assert "Running" not in run(["dvc", "exp", "show", "--csv"], project, **warm).stdout
    assert findings(project, warm) == ([], [])


def kill_queue(exps: Path) -> None:
    """And wait until the system has forgotten them: DVC takes a dead process that nobody has asked after for one that lives."""
    killed = []
    for path in (*exps.glob("celery/*.pid"), *exps.glob("run/*/*.pid")):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(path.read_text().split()[0]))
            for one in (process, *process.children(recursive=True)):
                one.kill()
                killed.append(one)
    assert not psutil.wait_procs(killed, timeout=SECONDS)[1]


def test_after_a_killed_queue_the_doctors_remedies_leave_nothing(project: Path, warm: dict[str, str]) -> None:
    exps = project / ".dvc/tmp/exps"
    (project / "hold").touch()
    (project / "started").unlink()
    run([*DVC, "exp", "run", "-q", "--queue", "-S", "collect.limit=2"], project)
    try:  # the worker goes on, and keeps what it may write to
        subprocess.run(
            [*DVC, "queue", "start", "-q"], cwd=project, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        end = time.monotonic() + SECONDS
        while not (project / "started").exists():
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        kill_queue(exps)
        (project / "hold").unlink()
    found, remedies = findings(project, warm)
    assert [line.partition(": ")[2] for line in found] == ["was killed, and counts as running"]
    mend(project, remedies, warm)
    assert not list(exps.rglob("params.yaml"))
    assert "Running" not in run(["dvc", "queue", "status"], project, **warm).stdout
    assert "Running" not in run(["dvc", "exp", "show", "--csv"], project, **warm).stdout
    assert findings(project, warm) == ([], [])


def test_two_who_push_at_once_lose_nothing(project: Path, warm: dict[str, str]) -> None:
    others = []
    for x in (2, 3):
        folder = copy_project(project, project.with_name(f"{x}"))
        change(folder, x)
        run(["dvc", "repro", "-q"], folder, **warm)
        others.append(folder)
    pushes = [subprocess.Popen([*DVC, "push", "-q", "--run-cache"], cwd=folder, env=environment()) for folder in others]
    assert [push.wait(timeout=SECONDS) for push in pushes] == [0, 0]
    for folder in others:
        assert findings(folder, warm, "--remote") == ([], [])


def objects(folder: Path, project: Path, name: str) -> Path:
    lock = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))
    md5 = lock["stages"][name]["outs"][0]["md5"]
    return folder / "files" / "md5" / md5[:2] / md5[2:]


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-2] if how == "cut" else content[::-1])
    path.chmod(0o444)  # as DVC leaves it, and then trusts it


@pytest.mark.parametrize("how", ["cut", "altered"])
def test_a_damaged_object_of_the_remote_gets_no_further(project: Path, how: str, warm: dict[str, str]) -> None:
    damage(objects(project.parent / "team", project, "second"), how)
    shutil.rmtree(project / ".dvc/cache")
    (project / "first").unlink()
    (project / "second").unlink()
    pulled = run(["dvc", "pull"], project, check=False, **warm)
    assert pulled.returncode
    assert "second" in pulled.stdout + pulled.stderr
    assert not (project / "second").exists()
    assert (project / "first").exists()
    found, _ = findings(project, warm, "--remote")
    assert any(line.startswith("remote team: ") and "second has other bytes" in line for line in found), found
    objects(project.parent / "team", project, "second").unlink()
    assert is_whole(project, warm)


@pytest.mark.parametrize("how", ["cut", "altered"])
@pytest.mark.parametrize(
    ("out", "file", "reader", "param"),
    [
        ("data/cleaned.jsonl", "data/cleaned.jsonl", "split", {"seed": 1}),
        ("data/evaluation", "data/evaluation/scores.json", "report", {"replies": 1}),
    ],
)
def test_a_damaged_object_of_the_cache_is_read_by_no_stage(
    finished_project: Path, how: str, out: str, file: str, reader: str, param: dict, warm: dict[str, str], tmp_path: Path
) -> None:
    project = copy_project(finished_project, tmp_path / "project")
    whole = (project / file).read_bytes()
    md5 = hashlib.md5(whole).hexdigest()
    stored = project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    damage(stored, how)
    (project / file).unlink()
    run(["dvc", "checkout", "-q"], project, **warm)
    assert (project / file).read_bytes() != whole
    lock = (project / "dvc.lock").read_bytes()
    edit_params(project, reader, **param)
    refused = run(["dvc", "repro", reader], project, check=False, **warm)
    assert f"error: {out}: other bytes than dvc.lock says" in refused.stdout + refused.stderr
    assert (project / "dvc.lock").read_bytes() == lock
    found, _ = findings(project, warm)
    assert any(re.search(rf"altered: the object of .*{Path(file).name}", line) for line in found), found
    stored.unlink()
    (project / file).unlink()
    run(["dvc", "repro", "-q", reader], project, **warm)
    assert (project / file).read_bytes() == whole


def closed_to_root(command: list[str]) -> list[str]:
    """The command so that permissions count for root too."""
    if os.geteuid():
        return command
    if not shutil.which("setpriv"):
        pytest.skip("root may write anywhere, and there is no setpriv")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner", *command]


def test_a_cache_that_is_read_only_is_named_and_the_results_before_stay(project: Path, warm: dict[str, str]) -> None:
    cache = project / ".dvc/cache"
    lock = (project / "dvc.lock").read_bytes()
    change(project, 2)
    run(["chmod", "-R", "a-w", str(cache)], project)
    refused = run(closed_to_root([*DVC, "repro"]), project, check=False)
    assert refused.returncode
    assert "Permission denied" in refused.stderr
    assert ".dvc/cache" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (project / "dvc.lock").read_bytes() == lock
    run(["chmod", "-R", "u+w", str(cache)], project)
    for path in (cache / "files").rglob("*"):
        if path.is_file():
            path.chmod(0o444)
    assert is_whole(project, warm)


def test_what_a_cache_without_room_lacks_is_found_though_dvc_ends_well_and_is_mended(project: Path, warm: dict[str, str]) -> None:
    """By a limit on the size of a file, which the command itself does not have: DVC fails where it writes to the cache."""
    stages = yaml.safe_load((project / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    stages["second"]["cmd"] = "ulimit -S -f unlimited; seq 1000000 > second"
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    run(["dvc", "config", "cache.type", "copy"], project, **warm)
    full = run(["bash", "-c", f"ulimit -S -f 1000; exec {' '.join(DVC)} repro"], project, check=False)
    assert "failed to transfer" in full.stderr
    assert "Traceback" not in full.stderr
    assert findings(project, warm) == (["second: second is not in the cache"], ["dvc commit --force second"])
    mend(project, ["dvc commit --force second"], warm)
    assert findings(project, warm) == ([], [])
    assert (project / "second").stat().st_size > 1000 * 1024


@pytest.mark.parametrize("place", ["below git's root", "a worktree", "behind a link", "空 格/项目"])
def test_a_project_may_lie_anywhere(project: Path, place: str, warm: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / place
    if place == "a worktree":
        run(["git", "worktree", "add", "-q", "-b", "tree", str(folder)], project)
    elif place == "behind a link":
        folder.symlink_to(project)
    elif place == "below git's root":
        run(["git", "init", "-q", str(tmp_path / "all")], tmp_path)
        shutil.rmtree(project / ".git")
        shutil.rmtree(project / ".dvc")
        folder = tmp_path / "all" / "deep" / "project"
        folder.parent.mkdir()
        shutil.move(project, folder)
        run(["dvc", "init", "-q", "--subdir"], folder, **warm)
    else:
        folder.parent.mkdir()
        shutil.move(project, folder)
    for name in ("tools", "stages"):
        if not (folder / name).exists():
            (folder / name).symlink_to(REPO / name)
    run(["python", "-m", "tools.remote", "add", "here", str(folder / "store")], folder, **warm)
    change(folder, 2)
    stale = run(["python", "-m", "tools.stale"], folder, check=False, **warm)
    assert "second" in stale.stdout, stale.stderr
    run(["dvc", "repro", "-q"], folder, **warm)
    assert run(["python", "-m", "tools.stale"], folder, check=False, **warm).returncode == 0
    run(["dvc", "push", "-q", "-r", "here"], folder, **warm)
    assert findings(folder, warm, "--remote", "here") == ([], [])
