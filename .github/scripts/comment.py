"""Show a comparison in its pull request, in one comment that is updated: `python .github/scripts/comment.py FOLDER`.

FOLDER holds compare.md. Whoever opened the pull request had the code that wrote it: it is text to show, nothing of it is run, and
nothing in it says where it goes. That stand in the environment, as GitHub's event has it: GH_REPO (owner/name), HEAD_OWNER,
HEAD_BRANCH and HEAD_SHA of the pull request, RUN_URL of the run that made FOLDER, and GH_TOKEN for `gh`. Any Python does.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

MARK = "<!-- comparison of results -->"
AUTHOR = "github-actions[bot]"
LONGEST = 60_000  # characters; GitHub takes 65,536
BYTES = 4 * LONGEST


def gh(*arguments: str, body: str | None = None) -> list[dict]:
    """What GitHub's API returns, of all pages."""
    sent = ["--input", "-"] if body is not None else ["--paginate", "--slurp"]
    done = subprocess.run(
        ["gh", "api", *sent, *arguments], input=json.dumps({"body": body}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"error: gh api {arguments[-1]}: {done.stderr.strip() or done.stdout.strip()}")
    found = json.loads(done.stdout)
    return [row for page in found for row in page] if body is None else [found]


def read(path: Path) -> str:
    """As a file of its own: a link could lead to what this machine alone may know."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        return file.read(BYTES).decode("utf-8", errors="replace")


def render(text: str, run_url: str) -> str:
    """The comment: without pictures and pages of others, without calls of people, and no longer than it may be."""
    text = re.sub(r"<(?!/?(details|summary|b|br|code|sub|sup)\b[^<>=]*>)", "&lt;", text).replace("@", "@\u200b")
    text = re.sub(r"!\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("![", "[")
    if len(text) > LONGEST:
        text = text[:LONGEST].rpartition("\n")[0] + "\n\n(cut: the whole is attached to the run)"
    return f"{MARK}\nMade by the code of this pull request; curves and numbers are [attached to the run]({run_url}).\n\n{text}"


def main(folder: Path) -> None:
    repo, sha = os.environ["GH_REPO"], os.environ["HEAD_SHA"]
    text = read(folder / "compare.md")
    head = f"head={os.environ['HEAD_OWNER']}:{os.environ['HEAD_BRANCH']}"
    pulls = gh("-X", "GET", "-f", head, "-f", "state=open", f"repos/{repo}/pulls")
    number = next((pull["number"] for pull in pulls if pull["head"]["sha"] == sha), None)
    if number is None:
        print(f"no open pull request ends with {sha}: nothing to say")
        return
    comments = f"repos/{repo}/issues/{number}/comments"
    earlier = [row["id"] for row in gh(comments) if row["user"]["login"] == AUTHOR and row["body"].startswith(MARK)]
    place = ["-X", "PATCH", f"repos/{repo}/issues/comments/{earlier[0]}"] if earlier else [comments]
    [comment] = gh(*place, body=render(text, os.environ["RUN_URL"]))
    print(comment["html_url"])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
