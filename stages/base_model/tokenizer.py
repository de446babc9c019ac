"""The base model's tokenizer -> models/tokenizer/, with the chat template that every later stage uses."""

import json
import shutil
from pathlib import Path

from stages.lib.base_model.pin import TOKENIZER_TYPES
from stages.lib.base_model.source import TemplateValue
from stages.lib.core.errors import ReprotuneError
from stages.lib.tokenizer import TOKENIZER, open_tokenizer


def write_tokenizer(
    folder: Path, trust_remote_code: bool, chat_template: str | None, template_variables: dict[str, TemplateValue]
) -> None:
    """Save the tokenizer in `folder` to models/tokenizer, with the chat template that every later stage uses.

    `template_variables` are set at the template's top, so that training, prediction, chat and any tool that loads
    models/tokenizer render the same.

    Raises:
        ReprotuneError: neither the tokenizer nor params.yaml has a chat template.
    """
    tokenizer = open_tokenizer(folder, trust_remote_code)
    template = chat_template or tokenizer.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    if not template:
        raise ReprotuneError(
            f"base_model: {folder} has no chat template; choose a chat (instruct) model, or give one in base_model.chat_template"
        )
    variables = "".join(f"{{%- set {name} = {_jinja_literal(value)} %}}" for name, value in sorted(template_variables.items()))
    tokenizer.chat_template = variables + template
    shutil.rmtree(TOKENIZER, ignore_errors=True)
    tokenizer.save_pretrained(TOKENIZER)
    others = sorted(path for path in TOKENIZER.iterdir() if path.suffix not in TOKENIZER_TYPES)
    if others and not trust_remote_code:
        raise ReprotuneError(
            f"base_model: the tokenizer in {folder} writes {others[0].name}; only {', '.join(TOKENIZER_TYPES)} are ever loaded"
        )
    for path in others:  # its code: what runs comes from the base model's own folder
        path.unlink()


def _jinja_literal(value: TemplateValue) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
