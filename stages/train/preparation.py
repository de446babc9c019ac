"""From params, data and base model to a trainer that is ready for its first step."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from peft.helpers import disable_input_dtype_casting

from stages.lib.base_model.tokenized import TOKENIZED_SPLITS
from stages.lib.model.hardware import Hardware
from stages.lib.model.weights import load_base_model
from stages.train.comparison import choose_nll
from stages.train.memory import check_memory
from stages.train.methods import Model, add_adapter, checkpoint_activations, shard, train_all
from stages.train.params import TrainParams
from stages.train.plan import Packs, make_plan, read_packs
from stages.train.quick_layers import quicken
from stages.train.ranks import Ranks, shards_wanted
from stages.train.trainer import Trainer

TOKENS_AT_ONCE = 16_384  # on a GPU; halved when its memory runs out


def load_model(params: TrainParams, hardware: Hardware, ranks: Ranks) -> Model:
    """The base model with what is to be trained, on this process's device."""
    device = f"cuda:{ranks.local}" if hardware.device == "cuda" else "cpu"
    model = load_base_model(hardware.precision, device, four_bit=params.method == "qlora")
    if params.gradient_checkpointing:
        checkpoint_activations(model)
    if params.method == "full":
        model = train_all(model)
    else:
        model = add_adapter(model, params)
        quicken(model)
    return model


def count_tokens_at_once(params: TrainParams, device: str) -> int:
    """`device`: "cuda" or "cpu"."""
    return TOKENS_AT_ONCE if device == "cuda" else params.pack_length


@contextmanager
def prepare_trainer(params: TrainParams, hardware: Hardware, ranks: Ranks) -> Iterator[tuple[Trainer, Packs]]:
    """The trainer, and the packs to validate on.

    Raises:
        ReprotuneError: no example has a label, or the memory can't suffice.
    """
    train, validation = (read_packs(split, params.pack_length, params.seed) for split in TOKENIZED_SPLITS)
    check_memory(params.method, hardware, ranks.world)
    model = load_model(params, hardware, ranks)
    # peft casts each layer's input to the adapter's float32, and autocast back again: no bit changes, and time goes.
    with disable_input_dtype_casting(model) if hardware.precision == "bfloat16" else nullcontext():
        longest = max(train.longest(), validation.longest(), key=lambda document: len(document.input_ids))
        at_once = count_tokens_at_once(params, hardware.device)
        nll = choose_nll(model, [*train[0], longest], hardware, at_once, quiet=not ranks.first)
        if shards_wanted(model, ranks):
            shard(model)
        yield Trainer(model, nll, make_plan(params, train), params, hardware, ranks, at_once), validation
