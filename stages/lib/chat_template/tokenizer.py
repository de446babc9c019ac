"""The tokenizer and its chat template in models/tokenizer/: written once by base_model, read by every later stage."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.base_model.pin import PIN, pinned_folder, read_base_pin
from stages.lib.base_model.pins import check_files
from stages.lib.base_model.source import read_described
from stages.lib.chat_template import note_stops
from stages.lib.chat_template.stops import GENERATION
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER = Path("models/tokenizer")
TEMPLATE = TOKENIZER / "chat_template.jinja"
AGAIN = "; get its files again, or as saved by a transformers no newer than stages/lib/base_model/requirements.txt names"
UNREADABLE = (OSError, ValueError, TypeError, LookupError, AttributeError, ImportError)  # what transformers raises at odd files


def load_tokenizer() -> "PreTrainedTokenizerBase":
    """The tokenizer with its chat template, as pinned.

    models/tokenizer is an out, which a remote may bring: none of its code runs. A tokenizer with code of its own, which
    params.yaml must trust, comes from the base model's pinned folder and takes from here the chat template alone.

    Raises:
        ReprotuneError: there is none, or it is not what models/base.json pins.
    """
    pin = read_base_pin()
    check_files(TOKENIZER, pin.tokenizer, PIN)
    if not pin.trust_remote_code or "auto_map" not in read_json(TOKENIZER / "tokenizer_config.json"):
        return open_tokenizer(TOKENIZER, trust_remote_code=False)
    tokenizer = open_tokenizer(pinned_folder(weights=False), trust_remote_code=True, stops_of=TOKENIZER)
    tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8")
    return tokenizer


def open_tokenizer(folder: Path, trust_remote_code: bool, stops_of: Path | None = None) -> "PreTrainedTokenizerBase":
    """With the stops that a generation config beside it names (or one in `stops_of`).

    Raises:
        ReprotuneError: there is none in the folder, or it needs code that may not run.
    """
    from transformers import AutoTokenizer

    if (settings := folder / "tokenizer_config.json").is_file():
        read_described(settings)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as error:
        if type(error) is not Exception and not isinstance(error, UNREADABLE):  # the first is how tokenizers, in Rust, says it
            raise
        trust = " (base_model.trust_remote_code lets it run)" if "custom code" in str(error) and not trust_remote_code else ""
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(": ")
        raise ReprotuneError(f"{folder}: no tokenizer can be loaded: {reason}{trust or AGAIN}") from None
    if tokenizer.clean_up_tokenization_spaces and is_byte_pair(tokenizer):
        tokenizer.clean_up_tokenization_spaces = False  # which transformers ignores, and says so in each stage
    note_stops(tokenizer, read_stops(stops_of or folder))
    return tokenizer


def is_byte_pair(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Whether its tokens keep their spaces, so that none is put in for "cleaning" to take out."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return type(getattr(backend, "model", None)).__name__ == "BPE"


def read_stops(folder: Path) -> list[int]:
    """The ids of the tokens that end a generation, by the folder's generation config; none without one."""
    path = folder / GENERATION
    if not path.is_file():
        return []
    stated = read_described(path).get("eos_token_id")
    if stated is None:
        return []
    ids = stated if isinstance(stated, list) else [stated]
    if not all(isinstance(id, int) and not isinstance(id, bool) for id in ids):
        raise ReprotuneError(f"{path}: eos_token_id is {stated!r}; expected a token id or a list of them")
    return [id for id in ids if id >= 0]  # -1 stands for none in some
