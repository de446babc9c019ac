"""One architecture, tiny and random, through what training and predicting do with it, beside the plain way to do the same."""

import contextlib
import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
import transformers
from peft import PeftModel
from torch.nn import functional

from benchmarks.architectures.gradients import DOCUMENTS, Comparison, compare, compare_errors, differentiate
from benchmarks.architectures.shapes import make_config
from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import read_params
from stages.lib.model.hardware import Hardware
from stages.lib.model.packs import Tokens, causal_lm
from stages.predict.generation import generate
from stages.predict.questions import Question
from stages.predict.reply import Reply
from stages.train.comparison import choose_nll
from stages.train.likelihood import LabelNll, packed_nll
from stages.train.methods import add_adapter
from stages.train.params import TrainParams
from stages.train.quick_layers import quicken

LARGER = 3  # than usual, so that attention looks at something
NEW_TOKENS = 6
STOP = 2
# In bfloat16: how far ours may be from float32, beside how far the plain loop is. Rounding chooses another expert for a token now
# and then, by one way and not by the other: the sum was eleven times as far off then, most documents no farther.
WORSE_ROUNDING, WORSE_CHOICE = 2, 20

PRECISIONS = ("float32", "bfloat16")

ChooseNll = Callable[[Any, Sequence[Tokens], Hardware], LabelNll]


class Result(NamedTuple):
    """`loss`, `gradients` and `summed`, their sum: relative differences from the plain loop's in float32; in bfloat16 the error
    beside that loop's own, where 1 is as good. `replies`: of a batch, those that are the same one by one. `merged`: relative
    difference of the adapter's effect on logits, once merged. `refused`: why it can't be trained; nothing else is known then.
    """

    packed: bool = False
    loss: float = 0.0
    gradients: float = 0.0
    summed: float = 0.0
    replies: float = 1.0
    reloaded: bool = True
    merged: float = 0.0
    refused: str = ""

    def wrong(self, precision: str) -> list[str]:
        """What is not as it should be."""
        exact = precision == "float32"
        limits = {
            "loss": self.loss <= (1e-5 if exact else WORSE_ROUNDING),
            "gradients": self.gradients <= (1e-4 if exact else WORSE_ROUNDING),
            "summed gradients": self.summed <= (1e-4 if exact else WORSE_CHOICE),
            "replies": self.replies == 1 or not exact,  # rounding decides between equals
            "adapter": self.reloaded,
            "merge": self.merged <= (1e-3 if exact else 0.5),
        }
        return [name for name, right in limits.items() if not right]


Row = dict[str, Result | str]  # of a precision: what came of it, or what went wrong instead


def make_model(kind: str, precision: str) -> Any:
    """Random weights, the same in both precisions but for rounding."""
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    torch.manual_seed(0)
    model: Any = transformers.AutoModelForCausalLM.from_config(make_config(kind), dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
            elif parameter.dim() >= 2 and "A_log" not in name:
                parameter.mul_(LARGER)
    model.to(getattr(torch, precision))
    kept = model._keep_in_fp32_modules_strict or ()  # as from_pretrained keeps them
    for module in (module for name, module in model.named_modules() if any(part in f"{name}.weight" for part in kept)):
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.float()
    return model.eval()


def with_adapter(model: Any) -> Any:
    """As `train` makes it, and already trained to something."""
    params = read_params("train", TrainParams).model_copy(update={"r": 2, "lora_alpha": 4, "lora_dropout": 0.0})
    model = add_adapter(model, params)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1, generator=generator)
    return model


def plain_nll(model: Any, documents: Sequence[Tokens]) -> torch.Tensor:
    """As anyone would write it: document by document, all logits. Nats of each label, in order."""
    losses = []
    for document in documents:
        ids = torch.tensor([document.input_ids], device=model.device)
        logits = causal_lm(model)(input_ids=ids, use_cache=False).logits[0, :-1].float()
        following = torch.tensor(document.labels[1:], device=model.device)
        losses.append(functional.cross_entropy(logits, following, reduction="none")[following != IGNORE_INDEX])
    return torch.cat(losses)


def train_once(plain: Any, precision: str, choose: ChooseNll = choose_nll) -> tuple[bool, Comparison]:
    """Of a model with an adapter: whether packed; loss, gradients and their sum, see Result.

    Raises:
        ReprotuneError: the model can't be trained.
    """
    hardware = Hardware(plain.device.type, precision)
    ours, exact_model = copy.deepcopy(plain), copy.deepcopy(plain).float()  # now: some keep what they computed last
    quicken(ours)
    nll = choose(ours, DOCUMENTS, hardware)
    found, expected = differentiate(ours, nll, hardware), differentiate(plain, plain_nll, hardware)
    if precision == "float32":
        return nll is packed_nll, compare(found, expected)
    exact = differentiate(exact_model, plain_nll, Hardware(plain.device.type, "float32"))
    return nll is packed_nll, compare_errors(found, expected, exact)


def try_kind(kind: str, precision: str, device: str = "cpu") -> Result:
    try:
        plain = with_adapter(make_model(kind, precision)).to(device)
        packed, comparison = train_once(plain, precision)
    except ReprotuneError as error:
        return Result(refused=str(error))
    reloaded, merged = try_adapter(kind, precision, plain.eval())
    return Result(packed, *comparison, try_replies(plain), reloaded, merged)


def try_both(kind: str) -> Row:
    """A result a precision; what went wrong instead, if it did."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    row: Row = {}
    for precision in PRECISIONS:
        try:
            row[precision] = try_kind(kind, precision, device)
        except Exception as error:  # whatever it is, it stands in the table
            row[precision] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    return row


def try_replies(model: Any) -> float:
    """The share of a batch's replies that are those of each prompt by itself."""
    prompts = [document.input_ids for document in DOCUMENTS[:4]]
    alone = [reply(model, [prompt])[0] for prompt in prompts]
    return sum(one == other for one, other in zip(reply(model, prompts), alone, strict=True)) / len(prompts)


def reply(model: Any, prompts: list[list[int]]) -> list[list[int]]:
    """To all of them at once."""
    replies: dict[int, Reply] = {}
    generate(model, [Question(prompt, NEW_TOKENS) for prompt in prompts], {STOP}, 0, len(prompts), replies.__setitem__)
    return [replies[at].ids for at in range(len(prompts))]


@torch.no_grad()
def try_adapter(kind: str, precision: str, model: Any) -> tuple[bool, float]:
    """Whether plain peft reads the adapter back as it was, and how far the merged model's logits are off."""
    ids = torch.tensor([DOCUMENTS[1].input_ids], device=model.device)
    expected = model(input_ids=ids, use_cache=False).logits.float()
    with tempfile.TemporaryDirectory() as folder, quietly():
        model.save_pretrained(folder)
        again = PeftModel.from_pretrained(make_model(kind, precision).to(model.device), folder).eval()
        reloaded = torch.equal(again(input_ids=ids, use_cache=False).logits.float(), expected)
        with again.disable_adapter():
            base = again(input_ids=ids, use_cache=False).logits.float()
        merged = again.merge_and_unload()(input_ids=ids, use_cache=False).logits.float()
    return reloaded, ((merged - expected).norm() / (expected - base).norm()).item()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """peft warns of what a folder without a base model's config can't tell it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
