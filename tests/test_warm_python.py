"""The server that starts stages in the tests gives what Python gives."""

import subprocess
from pathlib import Path

import pytest
from conftest import environment

MODULE = """
import os, sys
print(sys.argv[1:], __name__, sys.stdin.read(), os.environ["WORD"], os.path.basename(os.getcwd()), "torch" in sys.modules)
sys.exit({"number": 3, "text": "told", "none": None}[sys.argv[1]])
"""


@pytest.mark.parametrize(
    ("argument", "code", "said"), [("number", 3, ""), ("text", 1, "told\n"), ("none", 0, ""), ("other", 1, "KeyError: 'other'\n")]
)
@pytest.mark.parametrize("seed", [{}, {"PYTHONHASHSEED": "1"}], ids=["server", "ordinary"])
def test_a_call_has_its_arguments_files_environment_folder_and_exit_code(
    warm: dict[str, str], tmp_path: Path, argument: str, code: int, said: str, seed: dict[str, str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "own.py").write_text(MODULE, encoding="utf-8")
    done = subprocess.run(
        ["python", "-m", "own", argument, "b c"], cwd=tmp_path / "folder", env=environment(WORD="word", **warm, **seed),
        input="typed", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert done.stdout == f"['{argument}', 'b c'] __main__ typed word folder {not seed}\n"
    assert done.stderr.endswith(said)
