"""Draw the pipeline's DVC plots as SVG: `python -m tools.draw [--to FOLDER] [REV ...]`; with revisions, compared in one picture.

Needs vl-convert-python, which requirements/dev.txt brings.
"""

import argparse
import json
import subprocess
from pathlib import Path

from stages.lib.core.errors import ReprotuneError
from tools.console import run_tool


def read_plots(revisions: list[str]) -> dict[str, str]:
    """Plot name -> complete Vega-Lite specification, from `dvc plots`."""
    command = ["dvc", "plots", *(["diff", *revisions] if revisions else ["show"]), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ReprotuneError(f"{' '.join(command)}: {done.stderr.strip()}")
    return {name: drawn[0]["content"] for name, drawn in json.loads(done.stdout)["data"].items() if drawn}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.draw", description=__doc__)
    parser.add_argument("revisions", nargs="*", metavar="REV", help="git revisions to compare; none: the workspace alone")
    parser.add_argument("--to", type=Path, default=Path("docs"), help="folder of the pictures (default: %(default)s)")
    options = parser.parse_args()
    try:
        import vl_convert
    except ImportError:
        raise ReprotuneError("vl-convert-python is not installed; `pip install -r requirements/dev.txt` installs it") from None
    options.to.mkdir(parents=True, exist_ok=True)
    for name, content in sorted(read_plots(options.revisions).items()):
        specification = content if isinstance(content, str) else json.dumps(content)
        path = options.to / f"{name}.svg"
        path.write_text(vl_convert.vegalite_to_svg(specification), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    run_tool(main)
