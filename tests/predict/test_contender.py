"""A merged adapter says what the adapter beside the weights says."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from stages.lib.chat_template import tokenize_prompt
from stages.predict.contender import merge
from stages.predict.generation import generate_replies
from stages.predict.likelihood import score_continuation
from stages.predict.questions import Question

pytestmark = pytest.mark.usefixtures("one_thread")


def adapted(model: Any, **options: Any) -> Any:
    """With an adapter that does something."""
    model = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **options)
    ).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return model


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"use_rslora": True}], ids=str)
def test_in_float32_the_adapter_is_merged_and_says_the_same(model, tokenizer, conversations, options):
    prompts = [tokenize_prompt(tokenizer, one["messages"][:1]) for one in conversations]
    questions = [Question(prompt, 8) for prompt in prompts]
    plain = generate_replies(model, tokenizer, questions, 4)
    beside = adapted(model, **options)
    replies = generate_replies(beside, tokenizer, questions, 4)
    assert replies != plain
    scores = [score_continuation(beside, prompt, reply.tokens) for prompt, reply in zip(prompts, replies, strict=True)]
    merged = merge(beside)
    assert not [name for name, _ in merged.named_modules() if "lora" in name]
    assert generate_replies(merged, tokenizer, questions, 4) == replies
    for prompt, reply, score in zip(prompts, replies, scores, strict=True):
        assert score_continuation(merged, prompt, reply.tokens).nll == pytest.approx(score.nll, rel=1e-5, abs=1e-5)


def test_in_bfloat16_and_without_an_adapter_the_model_stays(model):
    assert merge(model) is model
    beside = adapted(model.to(torch.bfloat16))
    assert merge(beside) is beside
