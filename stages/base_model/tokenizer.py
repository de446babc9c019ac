"""The base model's tokenizer -> models/tokenizer/, with the chat template that every later stage uses."""

import shutil
from pathlib import Path

from stages.base_model.template import fit_to_none, make_template
from stages.lib.base_model.pin import TOKENIZER_TYPES
from stages.lib.base_model.source import BaseModelParams
from stages.lib.chat_template import check_template
from stages.lib.chat_template.stops import GENERATION, known_stops
from stages.lib.chat_template.tokenizer import TOKENIZER, open_tokenizer
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import write_json


def write_tokenizer(folder: Path, params: BaseModelParams) -> None:
    """Save the tokenizer in `folder` to models/tokenizer, with the chat template that every later stage uses.

    The tokens that end a generation come along where the tokenizer's end of sequence is not all of them.

    Raises:
        ReprotuneError: neither the tokenizer nor params.yaml has a chat template, or no reply can be learned with it.
    """
    tokenizer = open_tokenizer(folder, params.trust_remote_code)
    if not (template := choose_template(tokenizer.chat_template, params.chat_template, folder)):
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


def choose_template(own: str | dict[str, str] | None, asked: str | None, folder: Path) -> str | None:
    """`asked`: a template, or the name of one of the tokenizer's own.

    Raises:
        ReprotuneError: the tokenizer has several, of which none is the default, and none is asked for.
    """
    if not isinstance(own, dict):
        return asked or own
    if asked is None and own and "default" not in own:
        raise ReprotuneError(
            f"base_model: {folder} has chat templates named {', '.join(sorted(own))} and none that is the default; name one of "
            "them in base_model.chat_template"
        )
    return own.get(asked or "default", asked)
