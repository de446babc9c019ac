"""The workflows' scripts, run as their steps run them; only `gh` is a stub, and the remote repository a folder."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from conftest import REPO, environment, run

from tools.compare.markdown import code, plain, texts

SCRIPTS = REPO / ".github" / "scripts"
WORKFLOWS = sorted((REPO / ".github" / "workflows").glob("*.yml"))
EVENT = {
    "GH_REPO": "team/project",
    "HEAD_OWNER": "ann",
    "HEAD_BRANCH": "try",
    "HEAD_SHA": "abc",
    "RUN_URL": "https://run",
    "GH_TOKEN": "x",
}
# Answers from the files beside it, one a page of GitHub's API, and keeps what it was sent.
GH = """\
#!/usr/bin/env python3
import json, pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([sys.argv[1:], sys.stdin.read()]) + "\\n")
[path] = [word for word in sys.argv if word.startswith("repos/")]
if "--input" in sys.argv:
    print(json.dumps({"html_url": "https://comment"}))
else:
    print((here / path.rpartition("/")[2]).read_text())
"""


def read_workflow(path: Path) -> dict:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # `on` is a word there


def steps(path: Path) -> list[dict]:
    return [step for job in read_workflow(path)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_action_is_pinned_and_a_workflow_may_do_no_more_than_it_says(path: Path) -> None:
    workflow = read_workflow(path)
    assert workflow["permissions"]["contents"] == ("write" if path.stem == "reproduce" else "read")
    for line in re.findall(r"uses: (.*)", path.read_text(encoding="utf-8")):
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v[0-9.]+", line)
    for step in steps(path):
        assert "${{" not in step.get("run", ""), "text of others would become part of the script: give it in `env`"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_code_of_a_fork_meets_neither_a_secret_nor_leave_to_write(path: Path) -> None:
    workflow = read_workflow(path)
    events = workflow["on"] if isinstance(workflow["on"], (dict, list)) else [workflow["on"]]
    assert "pull_request_target" not in events
    if "pull_request" in events:
        assert workflow["permissions"] == {"contents": "read"}
        assert "secrets." not in path.read_text(encoding="utf-8")
    if "workflow_run" in events:
        checkouts = [step.get("with", {}) for step in steps(path) if "checkout" in step.get("uses", "")]
        assert checkouts == [{"persist-credentials": "false"}]  # of the main branch: no ref


def test_every_script_of_a_step_is_there_and_may_be_run() -> None:
    named = {
        name for path in WORKFLOWS for step in steps(path) for name in re.findall(r"\.github/scripts/[\w.]+", step.get("run", ""))
    }
    assert {Path(name).name for name in named} == {path.name for path in SCRIPTS.iterdir() if path.is_file()}
    assert all(os.access(REPO / name, os.X_OK) or name.endswith(".py") for name in named)


@pytest.fixture
def comment(tmp_path: Path) -> Path:
    """A folder with `gh` and what a run left."""
    (tmp_path / "gh").write_text(GH, encoding="utf-8")
    (tmp_path / "gh").chmod(0o755)
    pulls = [[{"number": 6, "head": {"sha": "old"}}], [{"number": 7, "head": {"sha": "abc"}}]]
    (tmp_path / "pulls").write_text(json.dumps(pulls), encoding="utf-8")
    (tmp_path / "comments").write_text("[[]]", encoding="utf-8")
    (tmp_path / "compare.md").write_text("# Better\n", encoding="utf-8")
    return tmp_path


def post(folder: Path) -> tuple[subprocess.CompletedProcess[str], list[list]]:
    path = os.pathsep.join([str(folder), environment()["PATH"]])
    done = run(["python", str(SCRIPTS / "comment.py"), str(folder)], REPO, check=False, **EVENT | {"PATH": path})
    calls = folder / "calls"
    return done, [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []


def test_the_comparison_becomes_a_comment_of_its_pull_request(comment: Path) -> None:
    done, calls = post(comment)
    assert done.stdout == "https://comment\n", done.stderr
    asked, _, (arguments, body) = calls
    assert "head=ann:try" in asked[0]
    assert arguments[-1] == "repos/team/project/issues/7/comments"
    assert json.loads(body)["body"].endswith("\n\n# Better\n")


def test_the_next_comparison_takes_the_comments_place_and_no_one_elses(comment: Path) -> None:
    mark = load_comment().MARK
    bot = {"login": "github-actions[bot]"}
    rows = [
        {"id": 1, "user": {"login": "ann"}, "body": mark},
        {"id": 2, "user": bot, "body": "other"},
        {"id": 3, "user": bot, "body": mark},
    ]
    (comment / "comments").write_text(json.dumps([rows[:1], rows[1:]]), encoding="utf-8")
    _, calls = post(comment)
    assert calls[-1][0][-3:] == ["-X", "PATCH", "repos/team/project/issues/comments/3"]


def test_a_pull_request_that_moved_on_gets_nothing(comment: Path) -> None:
    (comment / "pulls").write_text(json.dumps([[{"number": 6, "head": {"sha": "old"}}]]), encoding="utf-8")
    done, calls = post(comment)
    assert (done.returncode, len(calls)) == (0, 1)


def test_a_link_in_place_of_the_text_is_not_followed(comment: Path) -> None:
    (comment / "secret").write_text("token", encoding="utf-8")
    (comment / "compare.md").unlink()
    (comment / "compare.md").symlink_to(comment / "secret")
    done, calls = post(comment)
    assert done.returncode
    assert not calls


def load_comment() -> ModuleType:
    spec = importlib.util.spec_from_file_location("comment", SCRIPTS / "comment.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![loss](https://x/y.svg)", "loss"),
        ("![loss][1]\n\n[1]: https://x/y.svg", "[loss][1]\n\n[1]: https://x/y.svg"),
        ("!<!-- -->[loss](https://x)", "!&lt;!-- -->[loss](https://x)"),
        ("<img src=x> <IMG SRC=x> <a href=x>y</a>", "&lt;img src=x> &lt;IMG SRC=x> &lt;a href=x>y&lt;/a>"),
        ("<details><summary>Replies</summary>a</details>", "<details><summary>Replies</summary>a</details>"),
        ("<details open onclick=x>", "&lt;details open onclick=x>"),
        ("@all <!-- comparison of results -->", "@\u200ball &lt;!-- comparison of results -->"),
        ("a <!-- b", "a &lt;!-- b"),
        ("1 < 2 | 3 |", "1 &lt; 2 | 3 |"),
    ],
)
def test_what_a_fork_may_have_written_shows_nothing_of_others_and_calls_no_one(text: str, shown: str) -> None:
    assert load_comment().render(text, "https://run").partition("\n\n")[2] == shown


@pytest.mark.parametrize("write", [code, texts, plain])
@pytest.mark.parametrize(
    "text",
    [
        "<!-- a reply\nits second line",
        "<img src=x> </details> <b>",
        "![a](https://x) ![b][c]",
        "a | `b` | \\",
        "--> @all",
        "1 < 2 & 3",
    ],
)
def test_what_people_wrote_stands_in_the_comment_as_the_comparison_has_it(write: Callable[[str], str], text: str) -> None:
    """What comes from a fork is changed where it is markup; the comparison's own text is none, and nothing of it may get lost."""
    written = f"{write(text)}\n\nafter it"
    shown = load_comment().render(written, "https://run").partition("\n\n")[2]
    assert shown.replace("\u200b", "") == written


def test_a_comment_is_no_longer_than_it_may_be() -> None:
    assert len(load_comment().render("| row |\n" * 20_000, "https://run")) < 65_536


@pytest.fixture
def branch(tmp_path: Path) -> Path:
    """A clone on a branch, with a pipeline that was never run, a remote of git's and one of DVC's."""
    run(["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "origin")], tmp_path)
    run(["git", "clone", "-q", str(tmp_path / "origin"), str(tmp_path / "clone")], tmp_path)
    clone = tmp_path / "clone"
    (clone / ".github" / "scripts").mkdir(parents=True)
    for name in ("reproduce", "compare"):
        shutil.copy(SCRIPTS / name, clone / ".github" / "scripts")
    report = {"cmd": "mkdir -p metrics && cp out metrics/a.yaml", "deps": ["out"], "outs": [{"metrics/a.yaml": {"cache": False}}]}
    stages = {"copy": {"cmd": "cp params.yaml out", "deps": ["params.yaml"], "outs": ["out"]}, "report": report}
    (clone / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")
    (clone / "params.yaml").write_text("collect: {sources: {}, limit: 1}\n", encoding="utf-8")
    for name in ("tools", "stages"):
        (clone / name).symlink_to(REPO / name)
    (clone / ".gitignore").write_text("/tools\n/stages\n/out\n", encoding="utf-8")
    commands = """
        git config user.name Test / git config user.email test@example.org / git checkout -q -b try / dvc init -q
        dvc remote add -q -d team ../store / dvc remote modify team verify true
        git add . / git commit -qm start / git push -q origin HEAD:try HEAD:main"""
    for command in commands.replace("\n", " / ").strip(" /").split(" / "):
        run(command.split(), clone)
    return clone


@pytest.mark.slow
def test_a_machine_of_ones_own_computes_shares_and_commits_and_does_it_once(branch: Path) -> None:
    run([".github/scripts/reproduce"], branch)
    other = branch.parent / "other"
    run(["git", "clone", "-q", "-b", "try", str(branch.parent / "origin"), str(other)], branch)
    run(["dvc", "pull", "-q"], other)
    assert (other / "out").read_text() == (other / "metrics" / "a.yaml").read_text() == "collect: {sources: {}, limit: 1}\n"
    assert "try: nothing was stale" in run([".github/scripts/reproduce"], branch).stdout
    # Someone pushes meanwhile: the results are kept in the remote, and the next run takes them.
    (other / "notes").write_text("mine")
    for command in ("add .", "commit -qm notes", "push -q"):
        run(["git", "-c", "user.name=B", "-c", "user.email=b@example.org", *command.split()], other)
    (branch / "params.yaml").write_text("collect: {sources: {}, limit: 2}\n", encoding="utf-8")
    run(["git", "commit", "-qam", "rate"], branch)
    refused = run([".github/scripts/reproduce"], branch, check=False)
    assert refused.returncode == 1
    assert "error: try has moved" in refused.stderr
    shutil.rmtree(branch / ".dvc" / "cache")
    run(["git", "reset", "-q", "--hard", "HEAD~1"], branch)
    run(["git", "pull", "-q", "--rebase", "origin", "try"], branch)
    assert "Stage 'copy' is cached" in run([".github/scripts/reproduce"], branch).stdout


def test_the_comparison_is_with_where_the_branch_left_and_stands_in_the_summary(tmp_path: Path) -> None:
    """`tools.compare` itself has its own tests: here it writes what it was given."""
    clone = tmp_path / "clone"
    (clone / ".github" / "scripts").mkdir(parents=True)
    (clone / "tools").mkdir()
    shutil.copy(SCRIPTS / "compare", clone / ".github" / "scripts")
    (clone / "tools" / "compare.py").write_text(
        "import pathlib, sys\npathlib.Path(sys.argv[3], 'compare.md').write_text(' '.join(sys.argv[1:]))\n", encoding="utf-8"
    )
    commits = ["init -q -b main", "add .", "commit -qm start", "tag start", "checkout -q -b try", "commit -qm x --allow-empty",
               "checkout -q main", "commit -qm y --allow-empty", "checkout -q try"]  # fmt: skip
    for command in commits:
        run(["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *command.split()], clone)
    run([".github/scripts/compare", "main", "--no-fetch"], clone, GITHUB_STEP_SUMMARY=str(tmp_path / "summary"))
    start = run(["git", "rev-parse", "start"], clone).stdout.strip()
    assert (clone / "comparison" / "compare.md").read_text() == f"{start} --out comparison --no-fetch"
    assert (tmp_path / "summary").read_text() == f"{start} --out comparison --no-fetch"
