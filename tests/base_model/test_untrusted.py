"""What a remote or a cache brings is never run, and used only if git knows it: with the real DVC and a real remote."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import copy_project, environment, run

from stages.lib.base_model.pin import PIN
from stages.lib.base_model.pins import ADAPTER_PIN
from stages.lib.chat_template.tokenizer import TOKENIZER
from stages.lib.core.files import read_json

EVIL = "from pathlib import Path\nPath({mark!r}).touch()\nfrom transformers import PreTrainedTokenizerFast as Evil\n"
pytestmark = pytest.mark.slow

CHAT = ["python", "-m", "tools.chat"]
PREDICT = ["python", "-m", "stages.predict"]


def share(project: Path, folder: Path, warm: dict[str, str]) -> tuple[Path, Path]:
    """(a copy of the project, its remote with everything in it)."""
    copy, remote = copy_project(project, folder / "mine"), folder / "remote"
    run(["dvc", "remote", "add", "-q", "-d", "team", str(remote)], copy, **warm)
    run(["git", "commit", "-qam", "a remote"], copy)
    run(["dvc", "push", "-q"], copy, **warm)
    return copy, remote


def clone(project: Path, target: Path, warm: dict[str, str]) -> Path:
    run(["git", "clone", "-q", str(project), str(target)], project)
    run(["dvc", "pull", "-q"], target, **warm)
    return target


def locked(project: Path, path: str) -> str:
    stages = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))["stages"].values()
    return next(out["md5"] for stage in stages for out in stage["outs"] if out["path"] == path)


def object_of(store: Path, md5: str) -> Path:
    return store / "files/md5" / md5[:2] / md5[2:]


def rewrite(path: Path, content: bytes) -> None:
    """In place, read-only as DVC leaves it, so that it counts as good unread."""
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


def add_to_folder(remote: Path, directory: str, files: dict[str, bytes]) -> None:
    """What someone with write access to the remote can do to an out that is a folder, and git does not see."""
    listing = object_of(remote, directory)
    entries = [entry for entry in json.loads(listing.read_bytes()) if entry["relpath"] not in files]
    for name, content in files.items():
        md5 = hashlib.md5(content).hexdigest()
        object_of(remote, md5).parent.mkdir(exist_ok=True)
        object_of(remote, md5).write_bytes(content)
        entries.append({"md5": md5, "relpath": name})
    rewrite(listing, json.dumps(entries).encode())


def fails_with_one_line(command: list[str], folder: Path, warm: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment(**warm), input="hello\n\n", capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return line


def test_code_on_the_remote_does_not_run_in_a_clean_clone(finished_project: Path, warm: dict[str, str], tmp_path: Path) -> None:
    mine, remote = share(finished_project, tmp_path, warm)
    mark = tmp_path / "it ran"
    config = read_json(mine / TOKENIZER / "tokenizer_config.json")
    config |= {"auto_map": {"AutoTokenizer": [None, "evil.Evil"]}, "tokenizer_class": "Evil"}
    evil = {"tokenizer_config.json": json.dumps(config).encode(), "evil.py": EVIL.format(mark=str(mark)).encode()}
    add_to_folder(remote, locked(mine, "models/tokenizer"), evil)
    at_first = clone(mine, tmp_path / "tokenizer altered", warm)
    assert (at_first / TOKENIZER / "evil.py").exists(), "the attack did not arrive"
    pin = read_json(mine / PIN) | {"trust_remote_code": True, "path": "models/tokenizer"}
    hashes = {name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in evil.items()}
    rewrite(
        object_of(remote, locked(mine, "models/base.json")), json.dumps(pin | {"tokenizer": pin["tokenizer"] | hashes}).encode()
    )
    then = clone(mine, tmp_path / "pin altered too", warm)
    for command in ([*CHAT, "--base"], [*PREDICT, "base"], [*PREDICT, "tuned"]):
        assert "models/tokenizer/tokenizer_config.json: its bytes differ" in fails_with_one_line(command, at_first, warm)
        assert "models/base.json: " in fails_with_one_line(command, then, warm)
    assert not mark.exists()


@pytest.mark.parametrize("where", ["cache", "remote"])
def test_an_adapter_of_the_same_size_with_flipped_bytes_is_one_line_with_what_brings_it_back(
    where: str, finished_project: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    mine, remote = share(finished_project, tmp_path, warm)
    weights = Path("models/adapter/adapter_model.safetensors")
    good = (mine / weights).read_bytes()
    name = hashlib.md5(good).hexdigest()
    theirs = clone(mine, tmp_path / "theirs", warm)
    flipped = good[:-2] + bytes([good[-2] ^ 1]) + good[-1:]
    store = theirs / ".dvc/cache" if where == "cache" else remote
    rewrite(object_of(store, name), flipped)
    if where == "remote":
        shutil.rmtree(theirs)
        clone(mine, theirs, warm)
    else:
        shutil.rmtree(theirs / "models/adapter")
        run(["dvc", "checkout", "-q"], theirs, **warm)
    assert (theirs / weights).read_bytes() == flipped, "the damage did not arrive"
    assert "up to date" in run(["dvc", "status"], theirs, **warm).stdout, "DVC sees it by now"
    for command in (CHAT, [*PREDICT, "tuned"]):
        line = fails_with_one_line(command, theirs, warm)
        assert f"{weights}: its bytes differ from those that models/adapter.json pins; run `" in line
    rewrite(object_of(remote, name), good)
    subprocess.run(line.split("`")[1], shell=True, cwd=theirs, env=environment(**warm), check=True)
    assert (theirs / weights).read_bytes() == good
    assert object_of(theirs / ".dvc/cache", name).read_bytes() == good


def test_an_altered_adapter_whose_pin_is_altered_too_is_one_line(
    finished_project: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    mine, remote = share(finished_project, tmp_path, warm)
    pin = read_json(mine / ADAPTER_PIN)
    pin["files"]["adapter_model.safetensors"]["sha256"] = "0" * 64
    rewrite(object_of(remote, locked(mine, str(ADAPTER_PIN))), json.dumps(pin).encode())
    theirs = clone(mine, tmp_path / "theirs", warm)
    assert "models/adapter.json: not the file that dvc.lock names" in fails_with_one_line(CHAT, theirs, warm)
    assert read_json(mine / "metrics/details/adapter.json") == read_json(mine / ADAPTER_PIN)
