"""The base model's tokenizer -> models/tokenizer/, with the chat template that every later stage uses."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from stages.base_model.template import fit_to_none, make_template
from stages.lib.base_model.pin import TOKENIZER_TYPES
from stages.lib.base_model.source import BaseModelParams, read_described
from stages.lib.chat_template import check_template
from stages.lib.chat_template.stops import GENERATION, known_stops
from stages.lib.chat_template.tokenizer import TOKENIZER, open_tokenizer
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROCESSORS = "chat_template.json"


def write_tokenizer(folder: Path, params: BaseModelParams) -> None:
    """Save the tokenizer in `folder` to models/tokenizer, with the chat template that every later stage uses.

    The tokens that end a generation come along where the tokenizer's end of sequence is not all of them.

    Raises:
        ReprotuneError: neither the tokenizer nor params.yaml has a chat template, or no reply can be learned with it.
    """
    tokenizer = open_tokenizer(folder, params.trust_remote_code)
    if not (template := choose_template(read_own(tokenizer, folder), params.chat_template, folder)):
        raise ReprotuneError(
            f"base_model: {folder} has no chat template; choose a chat (instruct) model, or give one in base_model.chat_template"
        )
    tokenizer.chat_template = fit_to_none(tokenizer, make_template(template, params))
    check_template(tokenizer, folder if params.source == "path" else None)
    shutil.rmtree(TOKENIZER, ignore_errors=True)
    tokenizer.save_pretrained(TOKENIZER)
    if (stops := known_stops(tokenizer)) - {tokenizer.eos_token_id}:
        write_json(TOKENIZER / GENERATION, {"eos_token_id": sorted(stops)})
    others = sorted(path for path in TOKENIZER.iterdir() if path.suffix not in TOKENIZER_TYPES)
    if others and not params.trust_remote_code:
        raise ReprotuneError(
            f"base_model: the tokenizer in {folder} writes {others[0].name}; only {', '.join(TOKENIZER_TYPES)} are ever loaded"
        )
    for path in others:  # its code: what runs comes from the base model's own folder
        path.unlink()


def choose_template(own: object, asked: str | None, folder: Path) -> str | None:
    """`own`: the tokenizer's template, or its templates by their names. `asked`: a template, or the name of one of them.

    Raises:
        ReprotuneError: the tokenizer has several, of which none is the default, and none is asked for, or one that there is not.
    """
    if asked and "{" in asked:
        return asked
    named = own if isinstance(own, dict) else {"default": own} if own else {}
    if asked and asked not in named:
        names = f"the name of one of the model's ({', '.join(sorted(named))}) or " if len(named) > 1 else ""
        raise ReprotuneError(
            f"base_model.chat_template: {asked!r}; expected {names}the text of a Jinja template (`|` and lines below)"
        )
    if asked is None and named and "default" not in named:
        raise ReprotuneError(
            f"base_model: {folder} has chat templates named {', '.join(sorted(named))} and none that is the default; name one of "
            "them in base_model.chat_template"
        )
    template = named.get(asked or "default")
    if template is not None and not isinstance(template, str):
        raise ReprotuneError(
            f"base_model: {folder}: chat_template is {template!r}; expected a text; give one in base_model.chat_template"
        )
    return template.removeprefix("\ufeff") if template else None  # with which an editor begins a file


def read_own(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> object:
    """The tokenizer's chat template, or that of a processor, which some models that see have alone."""
    if tokenizer.chat_template or not (path := folder / PROCESSORS).is_file():
        return tokenizer.chat_template
    own = read_described(path).get("chat_template")
    if isinstance(own, list) and all(isinstance(one, dict) and {"name", "template"} <= one.keys() for one in own):
        return {one["name"]: one["template"] for one in own}
    return own
