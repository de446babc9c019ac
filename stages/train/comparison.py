"""Which of two ways to the likelihoods is right for a model: documents packed, or each by itself. Found before the first step.

bfloat16 rounds more than many mistakes are large. So the two are compared in float32 whatever the run's precision is; and whether
documents see each other, and whether the head is the usual one, are questions of yes or no.
"""

import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.hardware import Hardware
from stages.lib.model.packs import Tokens, causal_lm
from stages.train.attention import PACKED_ATTENTION
from stages.train.float32 import computing_in_float32
from stages.train.leaks import LENGTH, looks_ahead, sees_others
from stages.train.likelihood import LabelNll, packed_nll, separate_nll

if TYPE_CHECKING:
    from stages.train.methods import Model

DOCUMENTS_COMPARED = 2  # and the longest one: each costs a pass through all weights, whatever its length
LABELS_COMPARED = 32  # of a document, about
# Nats a label in float32, mean and single. Right ways are some 1e-7 apart, of large models 1e-5.
LARGEST_MEAN, LARGEST = 3e-5, 1e-3
# In bfloat16 the packed way may be so many times as far from float32 as the model's own, and so many nats more.
WORSE_ROUNDING, ROUNDING = 3, 0.01
CONTEXTS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")  # configurations' names for a model's longest row


def choose_nll(
    model: "Model", examples: Sequence[Tokens], hardware: Hardware, tokens_at_once: int = 0, quiet: bool = True
) -> LabelNll:
    """packed_nll, with the model's attention set to it, if it is right for the model; else separate_nll.

    `examples`: the longest of the run among them; `tokens_at_once`: of a row in training.

    Raises:
        ReprotuneError: the model is no causal language model.
    """
    training = model.training
    model.eval()  # dropout would make each way differ from itself
    try:
        difference = find_difference(model, examples, hardware, tokens_at_once)
    finally:
        model.train(training)
    if difference is None:
        model.set_attn_implementation(PACKED_ATTENTION)
        return packed_nll
    if not quiet:
        print(f"train: conversations run one by one, not packed: {difference}", file=sys.stderr)
    return separate_nll


def find_difference(model: "Model", examples: Sequence[Tokens], hardware: Hardware, tokens_at_once: int) -> str | None:
    """Why the packed way is not right for the model, in a sentence, or None."""
    ids = list(itertools.islice(itertools.cycle(token for each in examples for token in each.input_ids), 3 * LENGTH))
    documents = documents_to_compare(examples)
    check_usable(model, ids, documents[-1], hardware)
    try:
        with packed_attention_of(model):
            others_seen = sees_others(model.train(), ids, hardware)
        model.eval()
        if others_seen:
            return "in this model they would see each other"
        with torch.no_grad(), computing_in_float32(model):
            exact = [separate_nll(model, [document]) for document in documents]
            if differs(model, documents, exact):
                return "this model's likelihoods would be others"
        if rounds_more(model, documents, exact, hardware, tokens_at_once):
            return f"this model's likelihoods would be rounded more in {hardware.precision}"
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        # a model without the parts that the packed way asks for, or with a forward of its own
        return describe(error)
    return None


def check_usable(model: "Model", ids: Sequence[int], longest: Example, hardware: Hardware) -> None:
    """
    Raises:
        ReprotuneError: the model has no likelihoods to learn from, or none of documents as long as the longest.
    """
    kind, length, context = model.config.model_type, len(longest.input_ids), context_of(model)
    try:
        blind = not looks_ahead(model, ids[:LENGTH], hardware)
        if length > context:
            with torch.no_grad(), hardware.autocast():
                separate_nll(model, [longest])
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if length > context:
            raise ReprotuneError(
                f"train: the longest example has {length:,} tokens, and the base model ({kind}) has a context of {context:,}; "
                f"set params.yaml: tokenize.max_length to {context} or less"
            ) from error
        raise ReprotuneError(
            f"train: the base model ({kind}) gives no likelihoods of a single conversation ({describe(error)}); "
            "choose another one in params.yaml: base_model"
        ) from error
    if not blind:
        raise ReprotuneError(
            f"train: the base model ({kind}) sees the tokens that it is to predict, as causal language models do not; "
            "choose another one in params.yaml: base_model"
        )


def describe(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def context_of(model: "Model") -> float:
    """Tokens of the longest row that the model is made for; infinity where its configuration names none."""
    config = model.config.get_text_config()
    return min((value for name in CONTEXTS if (value := getattr(config, name, None))), default=math.inf)


@contextmanager
def packed_attention_of(model: "Model") -> Iterator[None]:
    """What packed_nll needs, for a while."""
    own = model.config._attn_implementation
    model.set_attn_implementation(PACKED_ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(own)


def documents_to_compare(examples: Sequence[Tokens]) -> list[Example]:
    """Some, of all lengths, and the longest; labels at their beginnings, where a leak would be, and here and there."""
    by_length = sorted((each for each in examples if len(each.input_ids) > 1), key=lambda each: len(each.input_ids))
    some = [*by_length[:: math.ceil(len(by_length) / DOCUMENTS_COMPARED)], *by_length[-1:]]
    found = []
    for each in some:
        ids, step = each.input_ids, math.ceil(len(each.input_ids) / (LABELS_COMPARED // 2))
        chosen = {*range(LABELS_COMPARED // 2), *range(0, len(ids), step)}
        found.append(Example(ids, [token if at in chosen else IGNORE_INDEX for at, token in enumerate(ids)]))
    return found


def differs(model: "Model", documents: Sequence[Example], exact: Sequence[torch.Tensor]) -> bool:
    """Also where a likelihood is no number: that is for the trainer to tell. `exact`: each document's, by itself."""
    if not has_usual_head(model, documents[0]):
        return True
    with packed_attention_of(model):
        differences = (packed_nll(model, documents) - torch.cat([*exact])).abs()
    return not (differences.mean() <= LARGEST_MEAN and differences.max() <= LARGEST)


def has_usual_head(model: Any, document: Example) -> bool:
    """Whether the logits are to the bit what the output layer makes of the decoder's last states: no soft caps, no scales."""
    causal = causal_lm(model)
    passed: dict[str, torch.Tensor] = {}
    handles = [
        causal.base_model.register_forward_hook(lambda _module, _inputs, output: passed.update(states=output.last_hidden_state)),
        causal.get_output_embeddings().register_forward_hook(
            lambda _module, inputs, output: passed.update(taken=inputs[0], made=output)
        ),
    ]
    ids = torch.tensor([document.input_ids], device=model.device)
    try:
        logits = causal(input_ids=ids, use_cache=False).logits
        if "states" not in passed:  # some call what is inside the base model
            causal.base_model(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return torch.equal(passed["states"], passed["taken"]) and torch.equal(passed["made"].float(), logits.float())


@torch.no_grad()
def rounds_more(
    model: "Model", documents: Sequence[Example], exact: Sequence[torch.Tensor], hardware: Hardware, tokens_at_once: int
) -> bool:
    """In the run's precision, and in rows as long as training's where the model's context is shorter."""
    longest, context = documents[-1], context_of(model)
    wanted = context + 1 if context < tokens_at_once else 0
    number = math.ceil(max(0, wanted - sum(len(each.input_ids) for each in documents)) / len(longest.input_ids))
    if hardware.precision == "float32" and not number:
        return False
    if hardware.device == "cpu" and not number and len(documents) > 1:  # where attention has no kernel of its own for bfloat16
        documents, exact = documents[:-1], exact[:-1]
    with hardware.autocast():
        own = separate_nll(model, documents)
        with packed_attention_of(model):
            silent = longest._replace(labels=[IGNORE_INDEX] * len(longest.labels))
            packed = packed_nll(model, [*documents, *[silent] * number])
    own_error, packed_error = ((each - torch.cat([*exact])).abs().mean() for each in (own, packed))
    return not packed_error <= WORSE_ROUNDING * own_error + ROUNDING
