"""What torch's threads are told must be said before torch is loaded."""

import subprocess
import sys

import pytest
from conftest import REPO, environment

# Runs a module as `python -m` does, until it asks for torch.
UNTIL_TORCH = """
import os, runpy, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("GOMP_SPINCOUNT"), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch())
sys.argv[:] = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "command", [["stages.train"], ["stages.predict", "base"], ["tools.chat"], ["tools.preflight"]], ids=lambda words: words[0]
)
@pytest.mark.parametrize(("set_before", "expected"), [(None, "1000"), ("7", "7")], ids=["unset", "set"])
def test_threads_are_told_how_long_to_spin_before_torch_is_loaded(
    command: list[str], set_before: str | None, expected: str
) -> None:
    """torchrun's processes are `python -m stages.train` too."""
    variables = {key: value for key, value in environment().items() if key != "GOMP_SPINCOUNT"}
    if set_before:
        variables["GOMP_SPINCOUNT"] = set_before
    done = subprocess.run(
        [sys.executable, "-c", UNTIL_TORCH, *command], cwd=REPO, env=variables, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == (f"{expected}\n", 0), done.stderr
