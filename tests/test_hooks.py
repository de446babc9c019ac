"""What .pre-commit-config.yaml lets through and what it refuses, in a git repo with that file alone."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import REPO, run

from tools.console import CREDENTIAL

# What, as which file, is refused by which hook. Put together here, or this file would be refused itself; no key opens anything.
PLANTED = {
    "a private key": (
        "id_rsa",
        "-----BEGIN " + "OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n",
        "private-keys-and-tokens",
    ),
    "an AWS key": (".env", "AWS_ACCESS_KEY_ID=AK" + "IA2E0A8F3B244C9986\n", "private-keys-and-tokens"),
    "a GitHub token": ("notes.md", "token: gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a\n", "private-keys-and-tokens"),
    "a newer GitHub token": ("a.yaml", "token: github" + "_pat_11ABCDEFG0" + "a1B2c3D4e5" * 7 + "\n", "more-tokens"),
    "a Hugging Face token": ("run.sh", "HF_TOKEN=hf" + "_aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH\n", "more-tokens"),
    "a newer OpenAI key": ("b.txt", "KEY = 'sk-" + "proj-" + "a1B2_c3D4-" * 12 + "'\n", "more-tokens"),
    "an Anthropic key": ("a.txt", "KEY = 'sk-" + "ant-api03-" + "a1B2_c3D4-" * 9 + "'\n", "more-tokens"),
    "an OpenAI key": (
        "a.toml",
        "key = 'sk-" + "a1B2c3D4e5" * 2 + "T3Blbk" + "FJ" + "a1B2c3D4e5" * 2 + "'\n",
        "private-keys-and-tokens",
    ),
    "a password in an address": ("address.md", "https://ann:" + "swordfish7" + "@example.org/team\n", "private-keys-and-tokens"),
    "a key of a remote": (".dvc/config", "['remote \"team\"']\n    secret_access_" + "key = a1B2c3D4\n", "keys-of-remotes"),
    "a remote's password": ("below/.dvc/config", "['remote \"team\"']\n    pass" + "word = sword\n", "keys-of-remotes"),
    "a large file": ("rows.jsonl", "0123456789abcdef" * 40_000, "large-files"),
    "marks of a merge": (
        "dvc.lock",
        "<<<<" + "<<< HEAD\na: 1\n" + "====" + "===\na: 2\n" + ">>>>" + ">>> main\n",
        "merge-conflicts",
    ),
    "an unused import": ("unused.py", "import os\n", "ruff"),
    "a formatting of one's own": ("code.py", "x = [1,2 ,3]\n", "format"),
}
HARMLESS = {
    "notes.md": "The key stands in ~/.aws/credentials. revision: 7ae557604adf67be50417f59c2c2f167def9a775\n",
    "lock.yaml": "revision: bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70\n",
    "code.py": "x = [1, 2, 3]\n",
    ".dvc/config": "['remote \"team\"']\n    url = ssh://ann@host/srv\n    ask_pass" + "word = true\n",
}


def make_repo(folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(REPO / ".pre-commit-config.yaml", folder)
    shutil.copy(REPO / "pyproject.toml", folder)
    for command in (["init", "-q"], ["config", "user.name", "Test"], ["config", "user.email", "test@example.org"], ["add", "."]):
        run(["git", *command], folder)
    run(["git", "commit", "-qm", "start"], folder)
    return folder


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "repo")


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each hook said of all that is planted: one commit, since hooks take longer to start than to look."""
    folder = make_repo(tmp_path_factory.mktemp("hooks") / "repo")
    for name, text, _ in PLANTED.values():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    run(["git", "add", "."], folder)
    done = run(["pre-commit", "run"], folder, check=False, **home(folder))
    assert done.returncode == 1, done.stdout
    without_titles = re.sub(
        r"^.*\.{3,}(Failed|Passed|Skipped|\(no files to check\)Skipped)$", "", done.stdout, flags=re.MULTILINE
    )
    _, *said = re.split(r"^- hook id: (.*)$", without_titles, flags=re.MULTILINE)
    return dict(zip(said[::2], said[1::2], strict=True))


def home(folder: Path) -> dict[str, str]:
    """Where pre-commit keeps its log; the checks of types and dvc.lock want a whole project."""
    return {"PRE_COMMIT_HOME": str(folder.parent / "pre-commit"), "SKIP": "types,dvc-lock"}


@pytest.mark.parametrize("what", PLANTED)
def test_what_must_not_enter_git_is_refused(refused: dict[str, str], what: str) -> None:
    name, _, expected = PLANTED[what]
    named = rf"(?<![\w/.]){re.escape(name)}(?![\w/.])"
    assert [hook for hook, said in refused.items() if re.search(named, said)] == [expected]


def test_hashes_revisions_and_clean_code_pass(repo: Path) -> None:
    (repo / ".dvc").mkdir()
    for name, text in HARMLESS.items():
        (repo / name).write_text(text, encoding="utf-8")
    run(["git", "add", "."], repo)
    run(["pre-commit", "run"], repo, **home(repo))


def test_a_commit_is_refused_once_the_hooks_are_installed(repo: Path) -> None:
    run(["pre-commit", "install"], repo, **home(repo))
    (repo / "id_ed25519").write_text(PLANTED["a private key"][1], encoding="utf-8")
    run(["git", "add", "."], repo)
    assert run(["git", "commit", "-qm", "key"], repo, check=False, **home(repo)).returncode
    assert run(["git", "log", "--format=%s"], repo).stdout == "start\n"


@pytest.mark.parametrize("what", ["a GitHub token", "a key of a remote"])
def test_what_was_committed_past_the_hooks_is_found_by_what_ci_runs(repo: Path, what: str) -> None:
    name, text, hook = PLANTED[what]
    (repo / name).parent.mkdir(exist_ok=True)
    (repo / name).write_text(text, encoding="utf-8")
    run(["git", "add", "."], repo)
    run(["git", "commit", "-qm", "in a hurry", "--no-verify"], repo)
    [command] = re.findall(r"(SKIP=\S+) (pre-commit .*)$", run(["make", "-n", "hooks", "VENV=none"], REPO).stdout, re.MULTILINE)
    skip = f"{command[0].removeprefix('SKIP=')},types,dvc-lock"
    done = run(command[1].split(), repo, check=False, **home(repo) | {"SKIP": skip})
    assert done.returncode == 1
    assert f"- hook id: {hook}" in done.stdout
    assert name in done.stdout


@pytest.mark.slow
def test_a_stale_lock_is_refused(repo: Path) -> None:
    """A current one passes in a clone without data too, as CI has it."""
    stage = {"cmd": "cp params.yaml out.yaml", "deps": ["params.yaml"], "outs": ["out.yaml"]}
    (repo / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"copy": stage}}), encoding="utf-8")
    (repo / "params.yaml").write_text("rate: 1\n", encoding="utf-8")
    (repo / ".gitignore").write_text("tools\nstages\n", encoding="utf-8")
    for command in (["dvc", "init", "-q"], ["dvc", "repro", "-q"], ["git", "add", "."], ["git", "commit", "-qm", "run"]):
        run(command, repo)
    clone = repo.parent / "clone"
    run(["git", "clone", "-q", str(repo), str(clone)], repo)
    check = ["pre-commit", "run", "--all-files", "dvc-lock"]
    for folder in (repo, clone):
        for name in ("tools", "stages"):
            (folder / name).symlink_to(REPO / name)
        run(check, folder, **home(repo) | {"SKIP": ""})
        (folder / "params.yaml").write_text("rate: 2\n", encoding="utf-8")
        refused = run(check, folder, check=False, **home(repo) | {"SKIP": ""})
        assert refused.returncode == 1
        assert "copy: params.yaml changed" in refused.stdout


def test_every_hook_comes_with_the_requirements() -> None:
    """Nothing is fetched at a commit."""
    config = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    assert {hook["language"] for repo in config["repos"] for hook in repo["hooks"]} == {"system", "pygrep"}


def test_the_hook_knows_keys_of_remotes_by_the_pattern_of_the_tools() -> None:
    config = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    [entry] = [hook["entry"] for repo in config["repos"] for hook in repo["hooks"] if hook["id"] == "keys-of-remotes"]
    assert entry == rf"(?i)^\s*{CREDENTIAL}\s*="
