"""In classification each label has its likelihood, after one pass over the prompt."""

import math
from typing import Any

import pytest
import torch

from stages.lib.chat_template import tokenize_prompt
from stages.predict import classes, likelihood
from stages.predict.cache import row_wise_cache
from stages.predict.training_data import TrainingData

pytestmark = pytest.mark.usefixtures("one_thread")

ASKED: list[Any] = [{"role": "user", "content": "My card was lost, what now?"}]
LABELS = ["lost card", "a", "top up failed by transfer", "refund", "很好"] + [f"label {number}" for number in range(20)]


def test_each_label_has_the_likelihood_of_a_pass_of_its_own(model_of_kind, tokenizer):
    kind, model = model_of_kind
    tokens = classes.tokenize_labels(tokenizer, ASKED, None, LABELS)
    assert [str(tokenizer.decode(ids)) for ids in tokens.values()] == [f"{label}<|im_end|>" for label in LABELS]
    prompt = tokenize_prompt(tokenizer, ASKED)
    calls: list[int] = []
    hook = model.register_forward_pre_hook(lambda _module, _args, given: calls.append(len(given["input_ids"])), with_kwargs=True)
    found = classes.score_labels(model, prompt, tokens)
    hook.remove()
    assert list(found) == LABELS
    for label in LABELS:
        assert found[label] == pytest.approx(likelihood.score_continuation(model, prompt, tokens[label]).nll, rel=1e-4)
    assert calls == ([1] * len(LABELS) if row_wise_cache(model) is None else [1, 16, 9]), kind


def test_a_label_of_one_token_is_scored_too(model, tokenizer):
    prompt = tokenize_prompt(tokenizer, ASKED)
    found = classes.score_labels(model, prompt, {"one": [40], "other": [41]})
    logs = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    assert found == {"one": pytest.approx(-logs[40].item(), rel=1e-4), "other": pytest.approx(-logs[41].item(), rel=1e-4)}


def test_the_likelihoods_of_labels_stand_beside_each_reply_and_survive_a_kill(model, tokenizer, conversations, predict):
    training = TrainingData([], [], 8, "classification", "", ["late", "很好"])
    rows = predict(conversations, training=training)
    for row in rows:
        messages = next(one["messages"] for one in conversations if one["id"] == row["id"])[: row["turn"]]
        tokens = classes.tokenize_labels(tokenizer, messages, None, training.labels)
        assert row["label_nll"] == pytest.approx(classes.score_labels(model, tokenize_prompt(tokenizer, messages), tokens))
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert predict(conversations, training=training) == rows  # from what the first run wrote down


def test_labels_that_have_no_room_or_no_number_are_none(model, predict):
    short = {"id": "a", "messages": [*ASKED, {"role": "assistant", "content": "x"}]}
    long = TrainingData([], [], 8, "classification", "", ["x", "word " * 400])
    [row] = predict([short], training=long)
    assert row["label_nll"] is None
    assert row["reply"] is not None
    with torch.no_grad():
        model.lm_head.weight[7] = math.nan
    assert classes.score_labels(model, [5, 6], {"x": [8]}) is None


def test_a_label_that_the_template_cannot_render_is_told_by_none(tokenizer):
    assert classes.tokenize_labels(tokenizer, ASKED, None, ["x", "<|im_end|>"]) is None
