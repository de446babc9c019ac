"""Run a stage in a folder in a forked child: the heavy packages are loaded once, the project's own code each time."""

import multiprocessing
import os
import runpy
import sys
from pathlib import Path

PRELOADED = ["torch", "transformers", "peft", "datasets", "evaluate", "sacrebleu", "rouge_score", "pandas", "ftfy"]


def run_in_fork(folder: Path, root: Path, arguments: list[str]) -> int:
    """Exit code of `python -m stages.<name> ...` in `folder`, with `root` as DVC_ROOT; output goes to folder.log beside it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    child = context.Process(target=_run, args=(str(folder), str(root), arguments))
    child.start()
    child.join(timeout=120)
    assert child.exitcode is not None, f"{arguments} still runs after two minutes"
    return child.exitcode


def _run(folder: str, root: str, arguments: list[str]) -> None:
    log = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder)
    os.environ |= {"DVC_ROOT": root, "HF_HUB_OFFLINE": "1"}
    here = Path(__file__).parent
    sys.path[:] = [folder, *(path for path in sys.path if path and Path(path) not in (here, here.parent))]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("stages", "tools")]:
        del sys.modules[name]
    module, *rest = arguments
    sys.argv[:] = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
