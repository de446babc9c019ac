"""A pin says which bytes may be loaded; params.yaml says whether code may run; dvc.lock says which pin is git's."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REPO

from stages.base_model import __main__ as stage
from stages.lib.base_model.pin import PIN, pinned_folder, read_base_pin
from stages.lib.base_model.pins import ADAPTER_PIN, AdapterPin, check_files, hash_files, read_pin, write_pin
from stages.lib.chat_template.tokenizer import TOKENIZER, load_tokenizer
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json, write_json
from stages.lib.model.adapter import ADAPTER, load_adapter, write_adapter
from stages.lib.model.weights import load_base_model

SOURCE = {
    "source": "path", "name": "tiny", "path": "tiny_model", "revision": None, "trust_remote_code": False,
    "chat_template": None, "template_variables": {}, "template_date": "2026-01-01", "system_messages": "keep",
}  # fmt: skip
LOUD = """
from pathlib import Path
from transformers import PreTrainedTokenizerFast


Path("it ran").touch()


class LoudTokenizer(PreTrainedTokenizerFast):
    def decode(self, *values, **options):
        return super().decode(*values, **options).upper()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path) -> Path:
    """The working directory: a project with a base model of the test's own, nothing pinned."""
    shutil.copytree(REPO / "requirements", tmp_path / "requirements")
    shutil.copytree(tiny_model_folder, tmp_path / "tiny_model")
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_params(folder: Path, **settings: object) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump({"base_model": SOURCE | settings}), encoding="utf-8")


def give_code(folder: Path, reference: str = "loud.LoudTokenizer") -> None:
    """The tokenizer in the folder needs code of its own."""
    (folder / "loud.py").write_text(LOUD, encoding="utf-8")
    config = read_json(folder / "tokenizer_config.json")
    code = {"auto_map": {"AutoTokenizer": [None, reference]}, "tokenizer_class": "LoudTokenizer"}
    write_json(folder / "tokenizer_config.json", config | code)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


# Code


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """transformers copies a model's code to a folder before it runs it: here one of the test's own."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))


@pytest.mark.usefixtures("modules")
def test_a_tokenizer_with_code_works_where_params_trust_it_and_its_code_is_the_models(folder: Path) -> None:
    give_code(folder / "tiny_model")
    write_params(folder, trust_remote_code=True, template_variables={"a": 1})
    stage.main()
    assert (folder / "it ran").exists()
    assert "loud.py" in read_base_pin().files
    assert [path.name for path in TOKENIZER.glob("*.py")] == []
    tokenizer = load_tokenizer()
    assert tokenizer.decode(tokenizer("hello")["input_ids"]) == "HELLO"
    assert tokenizer.chat_template.startswith("{%- set a = 1 %}")
    flip(folder / "tiny_model/loud.py")
    with pytest.raises(ReprotuneError, match=r"tiny_model/loud\.py: its bytes differ from models/base\.json"):
        load_tokenizer()


@pytest.mark.usefixtures("modules")
def test_without_trust_no_code_of_the_models_folder_runs(folder: Path) -> None:
    give_code(folder / "tiny_model")
    with pytest.raises(ReprotuneError, match=r"tiny_model: no tokenizer .*\(base_model\.trust_remote_code lets"):
        stage.main()
    assert not (folder / "it ran").exists()


@pytest.mark.usefixtures("modules")
@pytest.mark.parametrize("trust_remote_code", [False, True])
def test_code_in_the_tokenizers_folder_never_runs(folder: Path, trust_remote_code: bool) -> None:
    write_params(folder, trust_remote_code=trust_remote_code)
    stage.main()
    give_code(TOKENIZER)
    with pytest.raises(ReprotuneError, match=r"models/tokenizer/tokenizer_config\.json: its bytes differ"):
        load_tokenizer()
    pin = read_base_pin()
    rehashed = hash_files(path for path in TOKENIZER.iterdir() if path.suffix != ".py")
    write_pin(PIN, pin.model_copy(update={"tokenizer": rehashed}))
    with pytest.raises(ReprotuneError, match=r"models/tokenizer/loud\.py: models/base\.json does not pin it"):
        load_tokenizer()
    write_pin(PIN, pin.model_copy(update={"tokenizer": hash_files(TOKENIZER.iterdir())}))
    with pytest.raises(ReprotuneError, match=r"models/base\.json: tokenizer: .*loud\.py is of a type that is never loaded"):
        load_tokenizer()
    assert not (folder / "it ran").exists()


@pytest.mark.parametrize(
    ("key", "value"), [("source", "wheel"), ("name", "a==1"), ("path", "elsewhere"), ("trust_remote_code", True)]
)
def test_a_pin_that_says_otherwise_than_params_is_one_line(folder: Path, key: str, value: Any) -> None:
    stage.main()
    other = {"revision": "a" * 64, "name": "a==1"} if key == "source" else {}
    write_json(PIN, read_json(PIN) | other | {key: value})
    for read in (read_base_pin, pinned_folder, load_tokenizer):
        with pytest.raises(
            ReprotuneError, match=rf"models/base\.json: {key} is .*, but base_model\.{key} in params.yaml is"
        ) as caught:
            read()
        assert "\n" not in str(caught.value)
    assert folder.exists()


def test_code_of_another_repository_is_refused_since_no_revision_pins_it(folder: Path) -> None:
    give_code(folder / "tiny_model", "someone/else--loud.LoudTokenizer")
    write_params(folder, trust_remote_code=True)
    with pytest.raises(ReprotuneError, match=r"tokenizer_config\.json: auto_map names code of another repository"):
        stage.main()


# Bytes


@pytest.mark.parametrize("damage", ["flipped", "truncated", "absent", "added", "renamed"])
def test_a_damaged_folder_is_one_line_with_what_brings_it_back(folder: Path, damage: str) -> None:
    shutil.copytree("tiny_model", "models/adapter")
    write_pin(ADAPTER_PIN, AdapterPin(files=hash_files(Path("models/adapter").iterdir())))
    weights = Path("models/adapter/model.safetensors")
    if damage == "flipped":
        flip(weights)
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "absent":
        weights.unlink()
    elif damage == "added":
        (weights.parent / "adapter_model.bin").write_bytes(b"\x80\x04.")
    else:
        weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ReprotuneError, match=r"models/adapter/.*models/adapter\.json.*models/adapter") as caught:
        check_files(weights.parent, read_pin(ADAPTER_PIN, AdapterPin).files, ADAPTER_PIN)
    assert "\n" not in str(caught.value)
    assert folder.exists()


def damage_weights(damage: str) -> None:
    [weights] = ADAPTER.glob("*.safetensors")
    content = weights.read_bytes()
    weights.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:] if damage == "flipped" else content[:100])


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "another method's"])
def test_what_training_wrote_is_loaded_as_it_was_written_or_not_at_all(folder: Path, method: str, damage: str) -> None:
    from peft import LoraConfig, get_peft_model

    stage.main()
    model = load_base_model("float32", "cpu")
    model = get_peft_model(model, LoraConfig(r=2, task_type="CAUSAL_LM")) if method == "lora" else model
    tensors = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    write_adapter(model, {name: tensor.detach() for name, tensor in tensors.items()})
    assert load_adapter(load_base_model("float32", "cpu"))
    if damage == "another method's":  # its name alone decides how the folder is read
        (ADAPTER / "adapter_config.json").write_bytes(b"{}")
    else:
        damage_weights(damage)
    with pytest.raises(ReprotuneError, match=r"models/adapter/.*models/adapter\.json.*models/adapter") as caught:
        load_adapter(load_base_model("float32", "cpu"))
    assert "\n" not in str(caught.value)
    assert folder.exists()


def test_what_systems_leave_in_a_folder_is_no_damage(folder: Path) -> None:
    stage.main()
    for name in (".DS_Store", "Thumbs.db", "._tokenizer.json"):
        (TOKENIZER / name).write_bytes(b"x")
    assert load_tokenizer().chat_template
    assert folder.exists()


def lock(pin: Path, md5: str) -> None:
    stages = {"train": {"cmd": "x", "outs": [{"path": str(pin), "hash": "md5", "md5": md5}]}}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")


def test_a_pin_is_used_if_the_lock_names_it_or_it_was_made_here(folder: Path) -> None:
    write_pin(ADAPTER_PIN, AdapterPin(files={}))
    lock(ADAPTER_PIN, "0" * 32)
    assert read_pin(ADAPTER_PIN, AdapterPin).files == {}  # made here, by a stage without DVC
    shutil.rmtree(folder / ".scratch")
    with pytest.raises(
        ReprotuneError, match=r"models/adapter\.json: not the file that dvc\.lock names .*; run `rm models/adapter"
    ):
        read_pin(ADAPTER_PIN, AdapterPin)
    lock(ADAPTER_PIN, hashlib.md5(ADAPTER_PIN.read_bytes()).hexdigest())
    assert read_pin(ADAPTER_PIN, AdapterPin).files == {}
    Path("dvc.lock").write_text("<<<<<<< HEAD\nstages: {\n", encoding="utf-8")
    with pytest.raises(ReprotuneError, match=r"dvc\.lock: damaged, or with marks of a merge"):
        read_pin(ADAPTER_PIN, AdapterPin)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": {"a": 1}}', json.dumps({"files": {}, "more": 1})])
def test_a_pin_that_is_damaged_is_one_line(folder: Path, text: str) -> None:
    (folder / "models").mkdir()
    ADAPTER_PIN.write_text(text, encoding="utf-8")
    with pytest.raises(ReprotuneError, match=r"^models/adapter\.json: .*dvc pull models/adapter\.json") as caught:
        read_pin(ADAPTER_PIN, AdapterPin)
    assert "\n" not in str(caught.value)
