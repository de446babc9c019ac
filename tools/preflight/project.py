"""What the project's files say: params, pin, the base model's config, and the lengths of the training examples."""

from typing import TYPE_CHECKING, NamedTuple

from stages.lib.base_model.pin import PIN, BasePin, read_base_pin
from stages.lib.base_model.source import fetch, load_config
from stages.lib.base_model.tokenized import examples_of, read_examples
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_jsonl
from stages.lib.core.params import read_params
from stages.lib.records.tokenize_ledger import LEDGER, TokenizedRow
from stages.tokenize.__main__ import TokenizeParams
from stages.tokenize.lengths import tell_too_long
from stages.train.packing import pack_shuffled
from stages.train.params import TrainParams

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Data(NamedTuple):
    """Tokens and labels of each training example that has a label; `rows`: all of them."""

    rows: int
    tokens: list[int]
    labels: list[int]


class Project(NamedTuple):
    """What the files say. `config`: of transformers; `data`: None before the stage `tokenize` has run."""

    params: TrainParams
    pin: BasePin
    config: "PreTrainedConfig"
    data: Data | None

    def without_longer(self, tokens: int | None) -> "Project":
        """Without the conversations that are longer than so many tokens."""
        if self.data is None or tokens is None:
            return self
        kept = [pair for pair in zip(self.data.tokens, self.data.labels, strict=True) if pair[0] <= tokens]
        return self._replace(data=Data(self.data.rows, [pair[0] for pair in kept], [pair[1] for pair in kept]) if kept else None)


def read_pin() -> BasePin:
    """
    Raises:
        ReprotuneError: there is no pin yet, or params.yaml has another model since.
    """
    if not PIN.exists():
        raise ReprotuneError(
            f"{PIN}: not found, so the base model is not known; run `dvc repro base_model` (or `dvc pull`) first"
        )
    return read_base_pin()


def read_config(pin: BasePin) -> "PreTrainedConfig":
    """The base model's config, of transformers; from the hub by itself, without the weights."""
    hub = pin.source == "hub"
    place = pin.name if hub else fetch(pin)
    options = {"revision": pin.revision} if hub else {"local_files_only": True}
    return load_config(place, pin.trust_remote_code, **options)


def read_data() -> Data | None:
    """None before the stage `tokenize` has run.

    Raises:
        ReprotuneError: no example has a label.
    """
    path = examples_of("train")
    if not path.exists():
        return None
    examples = read_examples(path)
    tokens, labels = examples.lengths(), examples.predicted()
    if not labels.any():
        raise ReprotuneError(f"{path}: none of {len(tokens):,} examples has a label to learn from; see metrics/examples.md")
    return Data(len(tokens), tokens[labels > 0].tolist(), labels[labels > 0].tolist())


def read_too_long() -> str | None:
    """What there is to say of the training conversations that are left out for their length, if they are many."""
    if not LEDGER.exists():
        return None
    rows: list[TokenizedRow] = [row for row in read_jsonl(LEDGER) if row["split"] == "train"]
    whole = [row["whole"] for row in rows if row["fate"] == "too_long" and "whole" in row]
    return tell_too_long(whole, len(rows), read_params("tokenize", TokenizeParams).max_length)


def read_project() -> Project:
    params, pin = read_params("train", TrainParams), read_pin()
    return Project(params, pin, read_config(pin), read_data())


def make_packs(data: Data | None, params: TrainParams) -> list[tuple[int, int]]:
    """Tokens and labels of each pack; the packs are those that stages.train makes."""
    if data is None:
        return []
    groups = pack_shuffled(data.tokens, params.pack_length, params.seed)
    return [(sum(data.tokens[at] for at in group), sum(data.labels[at] for at in group)) for group in groups]
