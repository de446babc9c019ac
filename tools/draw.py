"""Draw the pipeline's DVC plots as SVG: `python -m tools.draw [--to FOLDER] [REV ...]`; with revisions, compared in one picture.

`--script FILE` writes Vega itself, which `dvc plots show` needs to draw without a network; `make env` does so.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import vl_convert

from stages.lib.core.errors import ReprotuneError
from tools.console import run_tool, whole


def read_plots(revisions: list[str]) -> dict[str, Any]:
    """Plot name -> complete Vega-Lite specification, from `dvc plots`.

    Raises:
        ReprotuneError: there are none, or DVC can't read them.
    """
    command = ["dvc", "plots", *(["diff", *revisions] if revisions else ["show"]), "--json"]
    # By this Python: its environment need not be active.
    done = subprocess.run([sys.executable, "-m", *command], check=False, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise ReprotuneError(f"{' '.join(command)}: {done.stderr.strip()}")
    plots = {name: drawn[0]["content"] for name, drawn in json.loads(done.stdout).get("data", {}).items() if drawn}
    if not plots:
        raise ReprotuneError(
            "no plots: run it in the project's folder, once `dvc repro` has made them or `dvc pull` fetched them"
        )
    return plots


def without_revision(part: object) -> Any:
    """A specification, or a part of it, without the channels that tell revisions apart: of one alone they say nothing."""
    if isinstance(part, list):
        return [without_revision(inner) for inner in part if not _is_revision(inner)]
    if not isinstance(part, dict):
        return part
    kept = {key: without_revision(inner) for key, inner in part.items() if not _is_revision(inner)}
    return kept.pop("spec") | {key: inner for key, inner in kept.items() if inner} if kept.get("facet") == {} else kept


def _is_revision(part: object) -> bool:
    return isinstance(part, dict) and part.get("field") == "rev"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.draw", description=__doc__)
    parser.add_argument("revisions", nargs="*", metavar="REV", help="git revisions to compare; none: the workspace alone")
    parser.add_argument("--to", type=Path, default=Path("docs"), help="folder of the pictures (default: %(default)s)")
    parser.add_argument("--script", type=Path, metavar="FILE", help="write Vega, Vega-Lite and Vega-Embed as one script instead")
    options = parser.parse_args()
    if options.script:
        with whole(options.script) as half:
            half.write_text(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"), encoding="utf-8")
        return
    for name, content in sorted(read_plots(options.revisions).items()):
        specification = json.loads(content) if isinstance(content, str) else content
        if not options.revisions:
            specification = without_revision(specification)
        path = options.to / f"{name}.svg"
        with whole(path) as half:
            half.write_text(vl_convert.vegalite_to_svg(specification), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    run_tool(main)
