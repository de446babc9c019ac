"""Each id that the tokenizer can give has an embedding; what stands for padding, pictures or sound need not, for none is read."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.chat_template.tokenizer import TOKENIZER, open_tokenizer
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OF_TEXT = ("bos_token", "eos_token", "unk_token", "sep_token", "cls_token", "mask_token")


def fit_to_embeddings(folder: Path, rows: int, trust_remote_code: bool) -> list[str]:
    """Take tokens out of models/tokenizer whose ids are `rows` or more, if they are for padding or media; those taken out.

    Padding is then by the end of a sequence: no position of it is ever attended to or learned. A tokenizer with code of its own
    is read from `folder`, where nothing can be taken out.

    Raises:
        ReprotuneError: there are such tokens for text.
    """
    own_code = trust_remote_code and "auto_map" in read_json(TOKENIZER / "tokenizer_config.json")
    tokenizer = open_tokenizer(folder if own_code else TOKENIZER, own_code)
    if not (beyond := _beyond(tokenizer, rows)):
        return []
    if not own_code and set(beyond) <= _not_of_text(tokenizer) and (TOKENIZER / "tokenizer.json").is_file():
        _take_out(set(beyond), tokenizer.eos_token)
        if not _beyond(open_tokenizer(TOKENIZER, False), rows):
            return sorted(beyond)
    token = min(set(beyond) - _not_of_text(tokenizer) or beyond, key=beyond.__getitem__)
    more = f" (and {len(beyond) - 1:,} more such tokens)" if len(beyond) > 1 else ""
    raise ReprotuneError(
        f"base_model: {folder}: token {token!r} has the id {beyond[token]}, but the embeddings end at {rows - 1}{more}; resize "
        "them (model.resize_token_embeddings(len(tokenizer)), then save_pretrained) or take the token out of the tokenizer"
    )


def _beyond(tokenizer: "PreTrainedTokenizerBase", rows: int) -> dict[str, int]:
    return {token: at for token, at in tokenizer.get_vocab().items() if at >= rows}


def _not_of_text(tokenizer: "PreTrainedTokenizerBase") -> set[str]:
    """The tokens for padding and media, unless the template writes them or they are also something else."""
    named = {key: str(token) for key, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    of_text = {named[key] for key in OF_TEXT if key in named}
    template = str(tokenizer.chat_template)
    return {token for token in named.values() if token not in of_text and token not in template}


def _take_out(tokens: set[str], end: str | None) -> None:
    path = TOKENIZER / "tokenizer.json"
    whole = read_json(path)
    whole["added_tokens"] = [added for added in whole["added_tokens"] if added["content"] not in tokens]
    write_json(path, whole)
    path = TOKENIZER / "tokenizer_config.json"
    settings = {key: value for key, value in read_json(path).items() if not (isinstance(value, str) and value in tokens)}
    of_media = settings.pop("model_specific_special_tokens", {})
    if kept := {key: token for key, token in of_media.items() if token not in tokens}:
        settings["model_specific_special_tokens"] = kept
    settings.setdefault("pad_token", end)
    write_json(path, settings)
