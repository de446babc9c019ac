"""Each thing that can be wrong in a project is found, and what is said to mend it mends it."""

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import REPO, environment, run
from dvc.exceptions import DvcException
from dvc_objects.fs.errors import ConfigError

from stages.lib.core.errors import ReprotuneError
from tools.doctor.objects import Recorded, check_remote

RAW = "data/raw/mine.csv"
STAGES = {
    "file": {"cmd": "cp params.yaml file.txt", "deps": ["params.yaml"], "outs": ["file.txt"]},
    "folder": {"cmd": f"mkdir -p folder/a && cp {RAW} folder/a/1 && echo 2 > folder/2", "deps": [RAW], "outs": ["folder"]},
}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a remote, all of it whole."""
    folder = tmp_path_factory.mktemp("doctor") / "project"
    (folder / "data/raw").mkdir(parents=True)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}), encoding="utf-8")
    (folder / "params.yaml").write_text(f"collect: {{sources: {{mine: {{path: {RAW}}}}}}}\n", encoding="utf-8")
    (folder / RAW).write_text("question,answer\n", encoding="utf-8")
    commands = """
        git init -q -b main / git config user.name Test / git config user.email t@example.org / dvc init -q
        dvc remote add -q --default team ../team / dvc remote modify team verify true
        dvc add -q {raw} / dvc repro -q / dvc push -q
        git add . / git commit -qm start"""
    for command in commands.format(raw=RAW).replace("\n", " / ").strip(" /").split(" / "):
        run(command.split(), folder)
    for name in ("tools", "stages"):
        (folder / name).symlink_to(REPO / name)
    (folder / ".git/info/exclude").write_text("tools\nstages\n")
    return folder.parent


@pytest.fixture
def project(healthy: Path, tmp_path: Path) -> Path:
    shutil.copytree(healthy, tmp_path / "x", symlinks=True)
    return tmp_path / "x" / "project"


def doctor(project: Path, *arguments: str) -> tuple[int, list[str]]:
    done = run(["python", "-m", "tools.doctor", *arguments], project, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, (done.stdout + done.stderr).splitlines()


def shell(command: str, project: Path) -> None:
    subprocess.run(command, shell=True, cwd=project, check=True, capture_output=True)


def stored(project: Path, name: str) -> Path:
    """The object in the cache of a file of `file`'s."""
    lock = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))
    md5 = lock["stages"][name]["outs"][0]["md5"]
    return project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def flip(path: Path) -> None:
    """Other bytes, as many, read-only as DVC leaves it."""
    path.chmod(0o644)
    path.write_bytes(bytes(reversed(path.read_bytes())))
    path.chmod(0o444)


def test_a_whole_project_has_no_finding(project: Path) -> None:
    code, lines = doctor(project, "--remote")
    assert code == 0, lines
    assert lines[0] == "5 files of this revision compared; 0 findings"


def test_an_altered_object_of_the_same_size_is_found_though_dvc_trusts_it_and_the_remedy_brings_it_back(project: Path) -> None:
    flip(stored(project, "file"))
    (project / "file.txt").unlink()
    run(["dvc", "checkout", "-q", "file.txt"], project)  # the altered bytes come, and DVC says that all is well
    assert "up to date" in run(["dvc", "status"], project).stdout
    code, lines = doctor(project)
    assert code == 1
    assert any("altered: the object of file.txt" in line for line in lines)
    shell(f"rm -f {stored(project, 'file')} file.txt && dvc pull file.txt", project)
    assert doctor(project)[0] == 0


def test_a_file_of_a_folder_that_was_changed_in_place_is_found(project: Path) -> None:
    (project / "folder/a/1").unlink()
    (project / "folder/a/1").write_text("mine\n", encoding="utf-8")
    code, lines = doctor(project)
    assert code == 1
    assert "folder/a/1: not what the last run wrote" in lines[0]
    shell("dvc checkout --force folder", project)
    assert doctor(project)[0] == 0


def test_an_object_that_the_cache_lacks_is_found_with_what_brings_it_back(project: Path) -> None:
    stored(project, "file").unlink()
    (project / "file.txt").unlink()
    code, lines = doctor(project)
    assert code == 1
    assert lines[:2] == [
        "file.txt: file.txt is not in the cache, nor here",
        f"    rm -f {project / 'file.txt'} && dvc pull --run-cache file.txt   # if nobody has pushed it: dvc repro file",
    ]
    shell(lines[1], project)
    assert doctor(project)[0] == 0


@pytest.mark.parametrize("altered", [False, True])
def test_a_folder_that_nobody_has_pushed_and_that_is_whole_here_is_kept_where_its_listing_is_lost(
    project: Path, altered: bool
) -> None:
    """What a pull could not bring would be taken away by it, and the stage would have to run again."""
    shutil.rmtree(project.parent / "team")
    (project / "folder/.DS_Store").touch()
    (project / ".dvcignore").write_text(".DS_Store\n")
    flip(stored(project, "folder")) if altered else stored(project, "folder").unlink()
    _, lines = doctor(project)
    assert lines[1].endswith("dvc commit --force folder")
    shell(lines[1], project)
    assert ((project / "folder/2").read_text(), doctor(project)[0]) == ("2\n", 0)


def test_what_a_remote_lacks_or_holds_altered_is_found(project: Path) -> None:
    objects = project.parent / "team/files/md5"
    first, second = (objects / stored(project, name).relative_to(project / ".dvc/cache/files/md5") for name in STAGES)
    first.unlink()
    flip(second)
    code, lines = doctor(project, "--remote", "team")
    assert code == 1
    assert "remote team: lacks file.txt" in lines
    assert any(f"{second} is altered: folder" in line for line in lines)
    second.unlink()
    shell("dvc push", project)
    assert doctor(project, "--remote")[0] == 0


def test_what_another_remote_than_the_default_one_lacks_is_pushed_there(project: Path) -> None:
    run(["dvc", "remote", "add", "-q", "second", "../second"], project)
    run(["dvc", "remote", "modify", "second", "verify", "true"], project)
    code, lines = doctor(project, "--remote", "second")
    assert code == 1
    shell(lines[1], project)
    assert doctor(project, "--remote", "second")[0] == 0


@pytest.mark.parametrize(("name", "said"), [("", "no remote is set up; "), ("nowhere", "remote nowhere: ")])
def test_a_remote_that_is_none_is_one_sentence(project: Path, name: str, said: str) -> None:
    run(["dvc", "config", "--unset", "core.remote"], project)
    code, lines = doctor(project, "--remote", *filter(None, [name]))
    assert code == 1
    assert lines[-1].startswith(f"error: {said}"), lines


@pytest.mark.parametrize(
    "error", [OSError("no route"), ConfigError("no key"), DvcException("no"), ValueError("bad"), KeyError("x")]
)
def test_what_a_remote_raises_becomes_a_sentence_and_a_fault_of_the_code_does_not(error: Exception) -> None:
    def fail(*_arguments: object) -> None:
        raise error

    odb = SimpleNamespace(oid_to_path=str, fs=SimpleNamespace(open=fail))
    remote = SimpleNamespace(name="team", odb=odb, fs=SimpleNamespace(protocol="s3"))
    repo = SimpleNamespace(cloud=SimpleNamespace(get_remote=lambda _: remote))
    expected = pytest.raises(KeyError) if isinstance(error, KeyError) else pytest.raises(ReprotuneError, match=r"^remote team: ")
    with expected:
        list(check_remote(repo, "team", [Recorded(Path("a"), "0" * 32, "a", "make")]))


def test_a_raw_file_that_a_clone_would_lack_is_found(project: Path) -> None:
    (project / f"{RAW}.dvc").unlink()
    code, lines = doctor(project)
    assert code == 1
    assert lines[:2] == [f"collect.sources.mine: a clone will lack {RAW}", f"    dvc add {RAW} && git add {RAW}.dvc"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("    secret_access_key = x\n", "secret_access_key stands in a file that git tracks"),
        ("    verify = false\n", "taken from it unseen"),
    ],
)
def test_a_setting_that_betrays_or_believes_is_found(project: Path, line: str, found: str) -> None:
    config = project / ".dvc/config"
    kept = [row for row in config.read_text(encoding="utf-8").splitlines(keepends=True) if "verify" not in row]
    kept = [row.replace("url = ../../team", "url = s3://team") for row in kept] if "secret" in line else kept
    config.write_text("".join(kept) + line, encoding="utf-8")
    code, lines = doctor(project)
    assert code == 1
    assert any(found in row for row in lines), lines


@pytest.mark.parametrize(
    ("url", "line", "kept"),
    [
        ("s3://team", "secret_access_key", "secret_access_key"),
        ("https://me:{secret}@host:8080/a path?x=1", "", "https://me@host:8080/a path?x=1"),
        ("ssh://me@host/path", "password", "password"),
    ],
)
def test_a_credential_is_moved_to_where_git_does_not_look_by_the_remedy_as_typed(
    project: Path, url: str, line: str, kept: str
) -> None:
    secret, config = "s3" + '$x `y` "z', project / ".dvc/config"
    planted = url.format(secret="pa55" + "word")
    entry = f"['remote \"of us\"']\n    url = {planted}\n    verify = true\n" + (f"    {line} = {secret}\n" if line else "")
    config.write_text(config.read_text(encoding="utf-8") + entry, encoding="utf-8")
    code, lines = doctor(project)
    assert code == 1
    assert not [row for row in lines if secret in row or "pa55" in row]
    [remedy] = [row for row in lines if row.startswith("    ")]
    shell(remedy, project)
    assert doctor(project)[0] == 0
    assert secret not in config.read_text(encoding="utf-8")
    assert "pa55" not in config.read_text(encoding="utf-8")
    own = project / ".dvc/config.local"
    assert kept in (own if line else config).read_text(encoding="utf-8")
    assert not line or secret in own.read_text(encoding="utf-8")


def test_what_a_killed_experiment_leaves_is_found_and_the_remedies_leave_nothing(project: Path) -> None:
    """The files as DVC writes them, of one in the work tree and one in a copy; HEAD as it stands meanwhile."""
    head = run(["git", "rev-parse", "HEAD"], project).stdout.strip()
    copy = project / ".dvc/tmp/exps/standalone/tmp1"
    copy.mkdir(parents=True)
    for name, place, root in (("one", "workspace", project), ("two", "tempdir", copy)):
        info = project / f".dvc/tmp/exps/run/{name}/{name}.run"
        info.parent.mkdir(parents=True)
        info.write_text(json.dumps({"name": name, "location": place, "root_dir": str(root), "status": 2}), encoding="utf-8")
    run(["git", "update-ref", "refs/exps/exec/EXEC_BASELINE", head], project)
    run(["git", "checkout", "-q", "--detach"], project)
    code, lines = doctor(project)
    assert code == 1
    assert {line for line in lines if "was killed" in line} == {
        f"experiment {n}: was killed, and counts as running" for n in ("one", "two")
    }
    for remedy in [line for line in lines if line.startswith("    ")]:
        shell(remedy, project)
    assert not copy.exists()
    assert run(["git", "symbolic-ref", "--short", "HEAD"], project).stdout.strip() == "main"
    assert doctor(project)[0] == 0


@pytest.mark.parametrize("way", ["rebase", "bisect"])
def test_what_git_is_in_the_midst_of_is_ended_and_no_branch_is_made(project: Path, way: str) -> None:
    for name in ("one", "two"):
        run(["git", "switch", "-qc", name, "main"], project)
        (project / "note").write_text(name)
        run(["git", "add", "note"], project)
        run(["git", "commit", "-qm", name], project)
    begin = ["rebase", "one"] if way == "rebase" else ["bisect", "start", "HEAD", "HEAD~1"]
    run(["git", *begin], project, check=False)
    if way == "bisect":
        run(["git", "checkout", "-q", "--detach"], project)
    else:
        (project / "note").write_text("both")
        run(["git", "add", "note"], project)
    found = doctor(project)[1]
    assert found[0] == f"git: a {way} is under way"
    subprocess.run(found[1], shell=True, cwd=project, check=True, capture_output=True, env=environment(GIT_EDITOR="true"))
    assert run(["git", "symbolic-ref", "--short", "HEAD"], project).stdout == "two\n"
    assert doctor(project)[0] == 0


def test_a_lock_with_the_marks_of_a_merge_is_one_sentence(project: Path) -> None:
    with (project / "dvc.lock").open("a") as lock:
        lock.write("<<<<<<< HEAD\n=======\n>>>>>>> theirs\n")
    code, [line] = doctor(project)
    assert code == 1
    assert line.startswith("error: dvc.lock holds marks of a merge: ")


def test_folders_of_a_shared_cache_that_shut_the_group_out_are_found(project: Path) -> None:
    run(["dvc", "config", "cache.shared", "group"], project)
    for folder in (project / ".dvc/cache").rglob("*/"):
        folder.chmod(0o755)
    (project / ".dvc/cache").chmod(0o755)
    code, lines = doctor(project)
    assert code == 1
    assert lines[0].startswith("cache: your group can't write into ")
    shell(f"chmod -R g+rwX {project / '.dvc/cache'}", project)
    assert not any(line.startswith("cache: ") for line in doctor(project)[1])
