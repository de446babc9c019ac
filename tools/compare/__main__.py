"""Is this run better than that one? `python -m tools.compare [A] [B] [--json] [--out DIR]`, or `--best [EXPERIMENT ...]`.

A and B are branches, tags, commits, experiments or `workspace`, the work tree. Without B it is the work tree; without A, the last
commit that HEAD has in common with the main branch. Both tuned models' scores of the same test conversations are compared pair by
pair. They come from DVC's cache, or are fetched; where they are out of reach, what git has is compared. Prints Markdown, as for a
pull request's comment. --out writes a page for a browser too, with every reply of both side by side.
"""

import argparse
import json
from pathlib import Path

from stages.lib.core.files import write_json
from tools.compare.best import Best, find_best, render_best
from tools.compare.comparison import Comparison, compare
from tools.compare.loss import draw
from tools.compare.page import render
from tools.compare.revision import find_revisions
from tools.compare.run import Run, bring, read_before, read_run
from tools.compare.side_by_side.document import render_page
from tools.compare.store import Store
from tools.console import run_tool, whole


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "revisions", nargs="*", metavar="REVISION", help="A and B; with --best, the experiments (default: all of HEAD)"
    )
    parser.add_argument(
        "--best", action="store_true", help="rank experiments by validation loss, and say whether the best is luck"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write compare.md, compare.html, compare.json and loss.svg there too"
    )
    parser.add_argument("--no-fetch", action="store_true", help="ask no remote for what is not in the cache")
    options = parser.parse_args()
    if not options.best and len(options.revisions) > len("AB"):
        parser.error("two revisions at most; --best takes more")
    return options


def read_two(names: list[str], fetch: bool) -> tuple[Run, Run]:
    """A and B, with what can be had of them; A may be no run."""
    a, b = find_revisions(*(*names, None, None)[:2])
    store = Store(fetch)
    runs = read_before(a, store), read_run(b, store)
    if runs[0].why_none is None:
        bring(runs)
    return runs


def compare_two(names: list[str], fetch: bool) -> Comparison:
    return compare(*read_two(names, fetch))


def main() -> None:
    options = parse_arguments()
    record: Best | Comparison
    files: dict[str, str | None] = {}
    if options.best:
        record = find_best(options.revisions, not options.no_fetch)
        text = render_best(record)
    else:
        runs = read_two(options.revisions, not options.no_fetch)
        record = compare(*runs)
        text = render(record)
        if options.out:
            files = {"compare.html": render_page(record, *runs), "loss.svg": draw(record["loss"]["a"], record["loss"]["b"])}
    # A param may be what JSON has no word for: infinite, or of a tag such as !!set. As text, then.
    written = json.loads(json.dumps(record, default=str), parse_constant=str)
    if options.out:
        with whole(options.out / "compare.json") as half:
            write_json(half, written)
        for name, content in (("compare.md", text), *files.items()):
            if content:
                with whole(options.out / name) as half:
                    half.write_text(content, encoding="utf-8", newline="\n")
    print(json.dumps(written, indent=2, sort_keys=True, ensure_ascii=False) if options.json else text.rstrip("\n"))


if __name__ == "__main__":
    run_tool(main)
