"""What a stage reads is what DVC recorded, and what it writes leaves DVC's cache alone."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import REPO
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree

from stages.lib.core.cache import check_inputs, detach
from stages.lib.core.errors import ReprotuneError, run_stage

FILES = {
    "data/collected/a.jsonl": "one\n", "data/cleaned.jsonl": "two\n", "data/raw/a.csv": "three\n",
    "data/raw/chats/deep/a.txt": "six\n", "data/evaluation/deep/b.json": "four\n", "data/evaluation/a.json": "five\n",
}  # fmt: skip


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def md5_of_folder(folder: str) -> str:
    """DVC's own."""
    files = [Path(name) for name in FILES if name.startswith(f"{folder}/")]
    tree = Tree()
    for path in files:
        tree.add(path.relative_to(folder).parts, None, HashInfo("md5", md5(FILES[path.as_posix()])))
    tree.digest()
    return str(tree.oid)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, an out and a raw file as deps, each recorded elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "../dvc.yaml:last@a")
    for name, text in FILES.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    outs = [{"path": name, "md5": md5(FILES[name])} for name in ("data/collected/a.jsonl", "data/cleaned.jsonl")]
    outs.append({"path": "data/evaluation", "md5": md5_of_folder("data/evaluation")})
    raw = ["data/raw/a.csv", "data/raw/chats"]
    deps = ["data/collected", "data/cleaned.jsonl", *raw, "data/evaluation", "models/adapter", "stages"]
    stages = {
        "first": {"cmd": "x", "outs": [outs[0], {"path": "models/adapter", "md5": "0.dir"}]},
        "second": {"cmd": "x", "outs": [*outs[1:], {"path": "not-here", "md5": "0"}]},
        "last@a": {"cmd": "x", "deps": [{"path": path, "md5": "of an earlier run"} for path in deps]},
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    for name, hashed in (("a.csv", md5(FILES["data/raw/a.csv"])), ("chats", md5_of_folder("data/raw/chats"))):
        Path(f"data/raw/{name}.dvc").write_text(yaml.safe_dump({"outs": [{"path": name, "md5": hashed}]}))


def test_whole_files_are_read() -> None:
    check_inputs()


def test_what_a_system_leaves_in_a_folder_is_no_damage_and_what_dvc_counts_is() -> None:
    shutil.copy(REPO / ".dvcignore", ".")
    for name in (".DS_Store", "a.json~", "deep/Thumbs.db"):
        (Path("data/evaluation") / name).write_bytes(b"")
        check_inputs()
    Path("data/evaluation/c.json").write_bytes(b"")
    with pytest.raises(ReprotuneError, match=r"^data/evaluation: other bytes"):
        check_inputs()


def test_what_dvc_never_counts_in_a_folder_that_people_brought_is_no_damage() -> None:
    for name in (".git/HEAD", ".dvc/config", "deep/.hg/store"):
        (Path("data/raw/chats") / name).parent.mkdir(parents=True)
        (Path("data/raw/chats") / name).touch()
    check_inputs()
    Path("data/raw/chats/.dvcignore").write_text("*.log\n")  # rules of its own, which only DVC knows how to follow
    Path("data/raw/chats/a.log").touch()
    check_inputs()


def place_of(name: str) -> str:
    return next((folder for folder in ("data/evaluation", "data/raw/chats") if name.startswith(f"{folder}/")), name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [lambda text: text.swapcase(), lambda text: text[:-2], lambda text: text + "x"])
def test_a_damaged_file_is_found_before_a_stage_reads_it_also_where_its_size_is_the_same(
    name: str, change: Callable[[str], str]
) -> None:
    Path(name).write_text(change(FILES[name]))
    ran: list[int] = []
    with pytest.raises(SystemExit, match=rf"error: {place_of(name)}: other bytes than .* says; .*`python -m tools.doctor`"):
        run_stage(lambda: ran.append(1))
    assert not ran


def test_what_the_stage_does_not_depend_on_and_a_run_by_hand_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("data/cleaned.jsonl").write_text("mine\n")
    with pytest.raises(ReprotuneError):
        check_inputs()
    for stage in ("first", "new", ""):
        monkeypatch.setenv("DVC_STAGE", stage)
        check_inputs()


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_stage_that_is_run_by_hand_writes_through_no_link_into_the_cache(link: str) -> None:
    cache, out, folder = Path("cache"), Path("out"), Path("folder")
    cache.write_text("earlier")
    (folder / "deep").mkdir(parents=True)
    for path in (out, folder / "deep" / "file"):
        getattr(path, link)(cache.absolute())
    (folder / "own").write_text("mine")

    def main() -> None:
        for path in (out, folder / "deep" / "file"):
            path.write_text("later")

    run_stage(main, outs=[out, folder, Path("never")])
    assert (cache.read_text(), out.read_text(), (folder / "own").read_text()) == ("earlier", "later", "mine")


def test_an_out_of_ones_own_is_left() -> None:
    Path("out").write_text("mine")
    detach([Path("out")])
    assert Path("out").read_text() == "mine"
