"""What tests of predictions share: the tiny tokenizer, and predictions of a model without a project around it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_conversations
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from stages.lib.records.predictions import Prediction
from stages.predict.journal import open_journal
from stages.predict.params import PredictParams
from stages.predict.predictions import Inputs, Predictor
from stages.predict.training_data import TrainingData
from stages.predict.work import OneModel

Predict = Callable[..., list[Prediction]]
NO_TRAINING = TrainingData([], [], 8, "dialogue", "", [])

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512, "pad_token_id": 0}
CONFIGS = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "mistral": SIZES | {"intermediate_size": 64, "num_key_value_heads": 2, "sliding_window": 24},
    "qwen3": SIZES | {"intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8},
    "gemma2": SIZES
    | {"intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 24, "tie_word_embeddings": False},
    "gpt_neox": SIZES | {"intermediate_size": 64},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "pad_token_id": 0},
}


def predict_params(**changes: Any) -> PredictParams:
    values = {
        "precision": "float32", "task": "auto", "seed": 0, "turns": 3, "batch_size": 4, "max_new_tokens": 8,
        "retention": "data/retention.jsonl",
    }  # fmt: skip
    return PredictParams(**values | changes)


@pytest.fixture
def tokenizer(tiny_model_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


@pytest.fixture(scope="module", params=CONFIGS)
def model_of_kind(request: pytest.FixtureRequest, tiny_model_folder: Path) -> tuple[str, Any]:
    torch.manual_seed(0)
    vocabulary = len(AutoTokenizer.from_pretrained(tiny_model_folder))
    config = AutoConfig.for_model(request.param, vocab_size=vocabulary, **CONFIGS[request.param])
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(10)
    return request.param, model


@pytest.fixture
def conversations() -> list[dict]:
    return make_conversations(9, seed=5)


@pytest.fixture
def predict(model: Any, tokenizer: Any, tmp_path: Path) -> Predict:
    """Predictions of the model on test, or on what is given besides; a second call goes on from the first one's journal.

    `processes`, so many share the work; here it is one that does all the parts. `ahead`, another engine, which replies.
    """

    def predict(test: list[dict], name: str = "base", room: int = 8, processes: int = 1, **given: Any) -> list[Prediction]:
        params, ahead = predict_params(**given.pop("params", {})), given.pop("ahead", None)
        worker = OneModel(model, tokenizer, params.batch_size)
        worker.number = processes
        inputs = Inputs(**{"test": test, "training": NO_TRAINING, "retention": [], "base_replies": None} | given)
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        with open_journal(folder) as journal:
            predictor = Predictor(tokenizer, params, room, name, journal)
            if ahead:
                predictor.reply_ahead(ahead, inputs)
            return predictor.predict(worker, inputs)

    return predict
