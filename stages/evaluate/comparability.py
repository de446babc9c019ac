"""What a run was measured with: two runs compare only where these are equal."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import orjson

from stages.lib.core.files import read_json
from stages.lib.records.conversation import conversations_of, read_conversations
from stages.lib.records.predictions import CONTENDERS, predictions_of, read_conditions

BASE_PIN = Path("models/base.json")


def fingerprint(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def describe_comparability(group_of: dict[str, str], signatures: dict[str, str], rouge_max_words: int) -> dict[str, str | None]:
    """Name -> a hash, or a short text where one reads better; None where it is not known."""
    test = [[row["id"], row["messages"], group_of[row["id"]]] for row in read_conversations(conversations_of("test"))]
    pin = read_json(BASE_PIN)
    tokenizer = pin["tokenizer"]
    parts: dict[str, str | None] = {
        "test": fingerprint(test),
        "metrics": fingerprint([signatures, rouge_max_words]),
        "base_model": fingerprint(pin["files"]),
        "tokenizer": fingerprint({name: file for name, file in tokenizer.items() if not name.startswith("chat_template")}),
        "chat_template": fingerprint({name: file for name, file in tokenizer.items() if name.startswith("chat_template")}),
    }
    for contender in CONTENDERS:
        conditions = read_conditions(predictions_of(contender))
        environment = conditions["environment"]
        parts[f"{contender}_decoding"] = _text(conditions, "decoding", "max_new_tokens", "batch_size")
        parts[f"{contender}_precision"] = _text(environment, "precision")
        parts[f"{contender}_device"] = _text(environment, "device")
        rest = {name: value for name, value in environment.items() if name not in ("precision", "device")}
        parts[f"{contender}_versions"] = orjson.dumps(rest, option=orjson.OPT_SORT_KEYS).decode() if rest else None
    return parts


def _text(values: Mapping[str, object], *names: str) -> str | None:
    found = [f"{values[name]}" if len(names) == 1 else f"{name} {values[name]}" for name in names if values.get(name) is not None]
    return ", ".join(found) or None
