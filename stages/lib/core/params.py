"""The one reader of params.yaml: YAML 1.2 scalars, no duplicate keys, strict typed sections."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from stages.lib.core.errors import ReprotuneError, raise_first

PARAMS = Path("params.yaml")
SECTIONS = ("base_model", "collect", "clean", "split", "tokenize", "train", "predict", "evaluate", "report")


class UnknownKeys(ValueError):
    """`meant`: each unknown key -> the key that it stands for, if that can be told."""

    def __init__(self, meant: dict[str, str | None], allowed: Iterable[str]) -> None:
        self.meant, self.allowed = meant, ", ".join(allowed)
        super().__init__(f"unknown key {', '.join(meant)}; allowed: {self.allowed}")


class Section(BaseModel):
    """A part of params.yaml: every key is known, typed and, unless its model says otherwise, required.

    `other_names`: a key -> what other tools call it, for the error's "did you mean".
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
    other_names: ClassVar[dict[str, tuple[str, ...]]] = {}

    @model_validator(mode="before")
    @classmethod
    def name_allowed_keys(cls, data: object) -> object:
        if cls.model_config["extra"] != "forbid" or not isinstance(data, dict):
            return data
        if unknown := sorted(set(map(str, data)) - set(cls.model_fields)):
            raise UnknownKeys({key: cls._meant_by(key) for key in unknown}, cls.model_fields)
        return data

    @classmethod
    def _meant_by(cls, key: str) -> str | None:
        written = key.lower().replace("-", "_")
        same = [field for field, names in cls.other_names.items() if written in names]
        return next(iter(same or get_close_matches(written, cls.model_fields, n=1, cutoff=0.75)), None)


SectionType = TypeVar("SectionType", bound=Section)


class Yaml12Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML, by libyaml where it has it, with YAML 1.2's core schema, the one DVC reads: `5e-05` is a number, `no` is text."""

    yaml_implicit_resolvers: dict = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice", node.value[position][0].start_mark
                )
        return super().construct_mapping(node, deep)


def _resolve(tag: str, pattern: str, first: str) -> None:
    Yaml12Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("null", r"^(?:~|null|Null|NULL|)$", "~nN\0")
Yaml12Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile("^$")))
_resolve("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve("int", r"^[-+]?[0-9]+$", "-+0123456789")
_resolve("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")
Yaml12Loader.add_constructor("tag:yaml.org,2002:int", lambda _loader, node: int(node.value))
Yaml12Loader.add_constructor("tag:yaml.org,2002:float", lambda _loader, node: float(node.value))


def read_params(section: str, model: type[SectionType], path: Path = PARAMS) -> SectionType:
    """Read and check one section.

    Raises:
        ReprotuneError: the file is missing or not YAML, a section or key is unknown or missing, or a value is out of
            range; one line for each: key, found, allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.load(text, Loader=Yaml12Loader)
    except FileNotFoundError:
        raise ReprotuneError(f"{path}: not found; run the command in the project's folder") from None
    except UnicodeDecodeError as error:
        raise ReprotuneError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except yaml.YAMLError as error:
        worded = _in_more_words(error, text)
        mark = getattr(worded, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(worded, "problem", None) or " ".join(str(worded).split())
        raise ReprotuneError(f"{place}: not valid YAML: {problem}") from None
    if not isinstance(document, dict):
        raise ReprotuneError(f"{path}: expected the sections {', '.join(SECTIONS)}; found no mapping")
    raise_first([f"{path}: unknown section {key!r}; allowed: {', '.join(SECTIONS)}" for key in document if key not in SECTIONS])
    if section not in document:
        raise ReprotuneError(f"{path}: section {section!r} is missing; `git diff {path}` shows what was removed")
    try:
        return model.model_validate(document[section])
    except ValidationError as error:
        raise_first([f"{path}: {line}" for line in _describe_all(section, document[section], error)])
        raise


def _in_more_words(error: yaml.YAMLError, text: str) -> yaml.YAMLError:
    """PyYAML's own words, where it finds the fault too: they name the character that libyaml only counts."""
    try:
        yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as worded:
        return worded
    return error


def _describe_all(section: str, values: Any, error: ValidationError) -> list[str]:
    """A line for each key at fault, such as `train.max_steps: found 'two'; input should be a valid number`."""
    lines: dict[str, str] = {}
    for detail in error.errors(include_url=False):
        key = ".".join([section, *_keys_in_file(values, detail["loc"], detail["type"] == "missing")])
        unknown = detail.get("ctx", {}).get("error")
        if isinstance(unknown, UnknownKeys):
            for name, field in unknown.meant.items():
                hint = f" (did you mean {key}.{field}?)" if field else ""
                lines[f"{key}.{name}"] = f"{key}: unknown key {name}{hint}; allowed: {unknown.allowed}"
            continue
        problem = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "missing":
            line = f"{key} is missing"
        elif detail["type"] == "union_tag_not_found":
            line = f"{key}.format is missing"
        elif detail["type"] == "value_error":
            line = f"{key}: {problem}"
        elif key in lines:  # of several types that a value may have, it has none
            line = f"{lines[key]}, or: {problem}"
        else:
            line = f"{key}: found {detail['input']!r}; {problem[0].lower()}{problem[1:]}"
        lines[key] = line
    return list(lines.values())


def _keys_in_file(values: Any, location: tuple[int | str, ...], missing: bool) -> list[str]:
    """pydantic's location without the names of union members, which stand in no file; a `missing` key stands in none either."""
    keys = []
    for position, part in enumerate(location):
        known = part in values if isinstance(values, dict) else isinstance(values, list) and isinstance(part, int)
        if known:
            values = values[part]
            keys.append(str(part))
        elif missing and position == len(location) - 1:
            keys.append(str(part))
    return keys
