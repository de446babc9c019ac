"""Two Unix users, each with a group of his own, who share a cache and a remote as docs/sharing.md has it typed."""

import grp
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from conftest import REPO, environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make users"),
    pytest.mark.skipif(not shutil.which("useradd", path="/usr/sbin:/sbin"), reason="there is no useradd"),
]
UMASK = 0o022
STAGES = {
    "make": {"cmd": "mkdir folder && cp params.yaml folder/a && date +%N > folder/b", "params": ["train"], "outs": ["folder"]},
    "last": {"cmd": "cp folder/b last", "deps": ["folder"], "outs": ["last"]},
}


class User(NamedTuple):
    name: str
    team: str
    python: str
    home: Path

    def types(self, command: str, folder: Path, check: bool = True) -> str:
        """A line in a shell of this user, with a new login's umask; what it prints."""
        (bin_folder := self.home / "bin").mkdir(exist_ok=True)
        path = os.pathsep.join([str(bin_folder), "/usr/bin", "/bin"])
        env = {key: value for key, value in environment().items() if key not in ("XDG_CACHE_HOME", "TMPDIR")}
        env |= {"HOME": str(self.home), "PATH": path, "USER": self.name, "PYTHONPATH": sysconfig.get_path("purelib"),
                "PYTHONDONTWRITEBYTECODE": "1", "DVC_SITE_CACHE_DIR": str(self.home.parent / "site")}  # fmt: skip
        ids = {name: getattr(pwd.getpwnam(self.name), f"pw_{name}") for name in ("uid", "gid")}
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=folder, env=env, capture_output=True, text=True, check=False, umask=UMASK,
            user=ids["uid"], group=ids["gid"], extra_groups=[grp.getgrnam(self.team).gr_gid],
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{self.name}: {command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


def find_python(name: str) -> str | None:
    """This Python, or one of the same version, that another user may start; it finds DVC where this one does."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    user = {"user": name, "group": name, "extra_groups": []}
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            tried = subprocess.run(
                [python, "-c", "import dvc.repo, pydantic"], cwd="/", capture_output=True, check=False,
                env={"PATH": "/usr/bin:/bin", "PYTHONPATH": sysconfig.get_path("purelib"), "HOME": "/nonexistent"}, **user,
            )  # fmt: skip
        except (PermissionError, FileNotFoundError):
            continue
        if tried.returncode == 0:
            return python
    return None


@pytest.fixture(scope="module")
def users() -> Iterator[tuple[User, User, Path]]:
    """Ann and Bob, and a folder that both reach; gone afterwards, with all that is theirs."""
    token = secrets.token_hex(4)
    team, names = f"rt{token}", (f"rt{token}a", f"rt{token}b")
    folder = Path(tempfile.mkdtemp(prefix="two-users-"))
    folder.chmod(0o755)
    subprocess.run(["/usr/sbin/groupadd", team], check=True)
    try:
        for name in names:
            home = str(folder / name)
            subprocess.run(["/usr/sbin/useradd", "-U", "-G", team, "-m", "-d", home, "-s", "/bin/sh", name], check=True)
        python = find_python(names[0])
        if python is None:
            pytest.skip("another user can start no Python of this version: it lies in the home of the one who runs the tests")
        (folder / "srv").mkdir()
        (folder / "srv").chmod(0o1777)
        (folder / "site").mkdir()
        (folder / "site").chmod(0o1777)
        ann, bob = (User(name, team, python, folder / name) for name in names)
        for user in (ann, bob):
            (user.home / "bin").mkdir()
            for command, words in (("python", ""), ("dvc", " -m dvc")):
                (user.home / "bin" / command).write_text(f'#!/bin/sh\nexec {python}{words} "$@"\n')
                (user.home / "bin" / command).chmod(0o755)
            user.types("git config --global user.name X; git config --global user.email x@example.org; "
                       "git config --global --add safe.directory '*'; git config --global init.defaultBranch main",
                       folder)  # fmt: skip
        yield ann, bob, folder
    finally:
        for name in names:
            subprocess.run(["/usr/sbin/userdel", "-r", name], check=False, capture_output=True)
        subprocess.run(["/usr/sbin/groupdel", team], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def share_cache(user: User, clone: Path, srv: Path) -> None:
    """As docs/sharing.md has it."""
    user.types(f"dvc cache dir --local {srv}/dvc-cache", clone)
    user.types("dvc config --local cache.shared group; dvc config --local cache.type reflink,hardlink,symlink", clone)


def closed_to(team: str, folder: Path) -> list[Path]:
    """Folders below that the team can't write into, and files that it can't read."""
    group = grp.getgrnam(team).gr_gid
    closed = []
    for path in folder.rglob("*"):
        found = path.lstat()
        wanted = 0o070 if path.is_dir() else 0o040
        if found.st_gid != group or found.st_mode & wanted != wanted:
            closed.append(path)
    return closed


def test_what_one_computes_the_other_has_and_both_write_into_the_same_cache_and_remote(users: tuple[User, User, Path]) -> None:
    ann, bob, folder = users
    srv, project, clone = folder / "srv", ann.home / "project", bob.home / "clone"
    ann.types("mkdir project", ann.home)
    for name in ("stages", "tools"):
        shutil.copytree(REPO / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (project / "params.yaml").write_text("train: {seed: 1}\ncollect: {sources: {}}\n")
    (project / ".gitignore").write_text("/folder\n/last\n")
    subprocess.run(["chown", "-R", f"{ann.name}:", str(project)], check=True)
    ann.types("git init -q; dvc init -q", project)
    for place in ("dvc-cache", "team"):
        assert "may write into it" in ann.types(f"python -m tools.remote share {srv}/{place}", project)
        ann.types(f"chgrp {ann.team} {srv}/{place}", project)
    share_cache(ann, project, srv)
    ann.types(f"python -m tools.remote add team {srv}/team", project)
    ann.types("dvc repro -q && git add . && git commit -qm first && dvc push -q --run-cache", project)
    bob.types(f"git clone -q {project} clone", bob.home)
    share_cache(bob, clone, srv)
    bob.types("dvc pull -q --run-cache", clone)
    assert (clone / "last").read_bytes() == (project / "last").read_bytes()
    assert "up to date" in bob.types("dvc repro", clone)
    bob.types("sed -i s/1/2/ params.yaml && dvc repro -q && git commit -qam second && dvc push -q --run-cache", clone)
    ann.types(f"git pull -q {clone} main && dvc pull -q --run-cache", project)
    assert (project / "last").read_bytes() == (clone / "last").read_bytes()
    ann.types("sed -i s/2/1/ params.yaml", project)  # what she had, and he has not
    assert "Stage 'make' is cached" in ann.types("dvc repro", project)
    bob.types("sed -i s/2/1/ params.yaml", clone)
    assert "Stage 'make' is cached" in bob.types("dvc repro", clone)
    assert (clone / "last").read_bytes() == (project / "last").read_bytes()
    ann.types("sed -i s/1/3/ params.yaml && dvc repro -q && git commit -qam third && dvc push -q --run-cache", project)
    for place in ("dvc-cache", "team"):
        assert closed_to(ann.team, srv / place) == []
    assert "; 0 findings" in ann.types("python -m tools.doctor --remote", project, check=False)
    bob.types("dvc gc -q --workspace --force", clone)  # of what she made too
