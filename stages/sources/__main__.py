"""The names under `collect.sources` in params.yaml -> data/sources.json, and data/sources.txt, which says that they are checked.

DVC makes paths and param names of them before `collect` starts, and removes what lies at those paths (`../../data/raw/mine`). So
a stage of its own comes first. What sources.txt says is always the same: a new source makes no other one stale.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict

from stages.lib.collected import NAMES, check_names, in_order_of_ids
from stages.lib.core.errors import run_stage
from stages.lib.core.files import write_json
from stages.lib.core.params import Section, read_params
from stages.lib.core.requirements import check_installed

CHECKED = Path("data/sources.txt")


class SourceNames(Section):
    """Of `collect`, only which sources there are."""

    model_config = ConfigDict(extra="ignore")
    sources: Annotated[dict[str, object], BeforeValidator(check_names)]


def main() -> None:
    check_installed()
    names = in_order_of_ids(read_params("collect", SourceNames).sources)
    write_json(NAMES, names)
    CHECKED.write_text("The sources' names may stand in files' names.\n", encoding="utf-8")
    print(f"sources: {', '.join(names)}")


if __name__ == "__main__":
    run_stage(main, outs=[CHECKED, NAMES], restore="dvc checkout sources")
