"""Shared over SSH and S3: another user's clone restores everything, computes nothing, and takes what was never committed."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import REPO, copy_project, environment, run
from servers import Server, make_bucket, s3_server, ssh_server
from test_dag import edit_params, ran

pytestmark = pytest.mark.slow
NOBODY = 65534
KINDS = {"ssh": ssh_server, "s3": s3_server}
RESULTS = ("data/cleaned.jsonl", "data/tokenized/train.parquet", "models/adapter/adapter_model.safetensors")


class Shared(NamedTuple):
    """A project that was pushed, with an experiment that no commit knows; and who pushed it."""

    project: Path
    server: Server
    env: dict[str, str]


@pytest.fixture(scope="module", params=KINDS)
def shared(
    request: pytest.FixtureRequest, finished_project: Path, warm: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    folder = tmp_path_factory.mktemp(request.param)
    server = KINDS[request.param](folder / "server")
    process = server.start()
    try:
        if request.param == "s3":
            make_bucket(server)
        env = warm | {"HOME": str(server.make_home(folder / "home"))}
        project = copy_project(finished_project, folder / "project")
        run(["python", "-m", "tools.remote", "add", "team", server.url, *server.settings], project, **env)
        run(["git", "commit", "-qam", "a remote"], project)
        run(["dvc", "push", "-q", "--run-cache"], project, **env)
        edit_params(project, "evaluate", confidence=0.9)
        assert ran(run(["dvc", "repro"], project, **env).stdout) == ["evaluate", "report"]
        run(["dvc", "push", "-q", "--run-cache"], project, **env)
        run(["git", "checkout", "-q", "."], project)
        run(["dvc", "checkout", "-q"], project, **env)
        yield Shared(project, server, env)
    finally:
        server.stop(process)


class Colleague(NamedTuple):
    """Another Unix user, where the one who runs the tests may become one; another home anyway."""

    clone: Path
    env: dict[str, str]
    user: dict[str, int]

    def types(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.clone, env=self.env, capture_output=True, text=True, encoding="utf-8", check=False, **self.user
        )  # fmt: skip


def other_user() -> dict[str, int]:
    """For `subprocess`; empty where there is none who can run this Python."""
    if os.geteuid() != 0:
        return {}
    user = {"user": NOBODY, "group": NOBODY}
    try:
        tried = subprocess.run([sys.executable, "-c", "import dvc"], cwd="/", capture_output=True, check=False, **user)
    except PermissionError:  # it lies in the home of the one who runs the tests
        return {}
    return user if tried.returncode == 0 else {}


@pytest.fixture
def colleague(shared: Shared) -> Iterator[Colleague]:
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    try:
        run(["git", "clone", "-q", str(shared.project), str(folder / "clone")], shared.project)
        shared.server.make_home(folder / "home")
        user = other_user()
        for path in [folder, *folder.rglob("*")] if user else []:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        yield Colleague(folder / "clone", environment(HOME=str(folder / "home")), user)
    finally:
        shutil.rmtree(folder)


def test_a_colleagues_clone_restores_everything_and_computes_nothing(shared: Shared, colleague: Colleague) -> None:
    pulled = colleague.types("dvc", "pull", "-q", "--run-cache")
    assert pulled.returncode == 0, pulled.stderr
    for name in RESULTS:
        assert (colleague.clone / name).read_bytes() == (shared.project / name).read_bytes()
    repeated = colleague.types("dvc", "repro")
    assert (repeated.returncode, ran(repeated.stdout)) == (0, []), repeated.stderr
    assert not colleague.types("git", "status", "--porcelain").stdout


def test_another_machine_takes_an_experiment_that_was_never_committed_from_the_run_cache(colleague: Colleague) -> None:
    edit_params(colleague.clone, "evaluate", confidence=0.9)
    done = colleague.types("dvc", "repro", "--pull")
    assert done.returncode == 0, done.stderr
    assert "Stage 'evaluate' is cached" in done.stdout
    assert ran(done.stdout) == ["report"]  # which writes for git, and takes a second


SECONDS = 180  # at most, for DVC to see that no one answers: it asks some times, and S3's client five times as often by itself


@pytest.mark.parametrize("kind", KINDS)
def test_a_remote_that_goes_away_midway_leaves_nothing_that_the_next_try_does_not_mend(
    kind: str, warm: dict[str, str], tmp_path: Path
) -> None:
    server = KINDS[kind](tmp_path / "server")
    process = server.start()
    project, clone = tmp_path / "project", tmp_path / "clone"
    (project / "data").mkdir(parents=True)
    for name in range(40):
        (project / "data" / f"{name}").write_bytes(os.urandom(1 << 20))
    env = warm | {"HOME": str(server.make_home(tmp_path / "home"))}

    def start() -> subprocess.Popen[bytes]:
        process = server.start()
        if kind == "s3":  # it forgets all when it ends
            make_bucket(server)
        return process

    def interrupt(folder: Path, command: str, has_begun: Callable[[], bool]) -> None:
        doing = subprocess.Popen(
            [sys.executable, "-m", "dvc", command], cwd=folder, env=environment(HOME=env["HOME"], AWS_MAX_ATTEMPTS="1"),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            while not has_begun() and doing.poll() is None:
                time.sleep(0.02)
            server.stop(process)
            _, said = doing.communicate(timeout=SECONDS)
        finally:
            doing.kill()
        assert doing.returncode
        assert "Traceback" not in said
        assert "ERROR" in said

    try:
        if kind == "s3":
            make_bucket(server)
        write_small_project(project)
        for setup in (["tools.remote", "add", "team", server.url, *server.settings], ["dvc", "add", "-q", "data"]):
            run(["python", "-m", *setup], project, **env)
        for git in ("add .", "commit -qm start"):
            run(["git", *git.split()], project)
        interrupt(project, "push", lambda: server.holds() > 3)
        process = start()
        run(["dvc", "push", "-q"], project, **env)
        checked = run(["python", "-m", "tools.doctor", "--remote"], project, check=False, **env)
        assert "0 findings" in checked.stdout, checked.stdout + checked.stderr
        run(["git", "clone", "-q", str(project), str(clone)], project)
        interrupt(clone, "pull", lambda: len(list((clone / ".dvc/cache/files").rglob("*"))) > 5)
        process = start()
        if kind == "s3":
            run(["dvc", "push", "-q"], project, **env)
        run(["dvc", "pull", "-q"], clone, **env)
        for path in (project / "data").iterdir():
            assert (clone / "data" / path.name).read_bytes() == path.read_bytes()
    finally:
        server.stop(process)


def write_small_project(folder: Path) -> None:
    (folder / "params.yaml").write_text("collect: {sources: {}}\n", encoding="utf-8")
    (folder / ".gitignore").write_text("/tools\n/stages\n", encoding="utf-8")
    for name in ("tools", "stages"):
        (folder / name).symlink_to(REPO / name)
    for command in ("git init -q -b main", "git config user.name Test", "git config user.email t@example.org", "dvc init -q"):
        run(command.split(), folder)
