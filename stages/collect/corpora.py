"""The packaged corpora -> rows with `messages` (role, content), `label`, `language`; of chitchat with its own `id`."""

import importlib.util
from pathlib import Path
from typing import Any

import orjson
import yaml

from stages.collect.rows import Row, Rows
from stages.collect.sources import CHATTERBOT_FOLDERS, ChatterbotSource, ChitchatSource, PackagedSource
from stages.lib.core.errors import ReprotuneError


def read_chatterbot(source: ChatterbotSource, _only: object) -> Rows:
    folder = _package_folder("chatterbot_corpus") / "data" / CHATTERBOT_FOLDERS[source.language]
    files = {path.stem: path for path in sorted(folder.glob("*.yml"))}
    if unknown := set(source.topics or ()) - files.keys():
        raise ReprotuneError(f"topics: chatterbot-corpus has no {min(unknown)!r} in {source.language}; it has {', '.join(files)}")
    for topic, path in files.items():
        if source.topics is not None and topic not in source.topics:
            continue
        # BaseLoader leaves every scalar as text: "No" stays a reply, "1984" an answer.
        document = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        for number, turns in enumerate(document["conversations"], start=1):
            messages = [_message(("user", "assistant")[position % 2], turn) for position, turn in enumerate(turns)]
            values = {"label": topic, "language": source.language, "messages": messages}
            yield row_of(f"{path.name}: conversation {number}", values, source)


def read_chitchat(source: ChitchatSource, _only: object) -> Rows:
    document = orjson.loads((_package_folder("chitchat_dataset") / "dataset.json").read_bytes())
    for key, conversation in document.items():
        utterances = [utterance for turn in conversation["messages"] for utterance in turn]
        # Who speaks first is the user. The rest is one other person: no conversation has three senders.
        first = utterances[0]["sender"] if utterances else None
        messages = [_message("user" if u["sender"] == first else "assistant", u["text"]) for u in utterances]
        values = {"id": key, "label": conversation.get("prompt"), "language": "en", "messages": messages}
        yield row_of(f"dataset.json: {key}", values, source)


def row_of(place: str, values: dict[str, Any], source: PackagedSource) -> Row:
    """The conversation as it is, or its label as the reply to its first message; without both of these it has no reply."""
    if source.reply == "said":
        return Row(place, values)
    first = values["messages"][:1]
    return Row(
        place, values | {"messages": [*first, *(_message("assistant", values["label"]) for _ in first if values["label"])]}
    )


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ReprotuneError(f"package {package} is not installed; run `make env`")
    return Path(spec.submodule_search_locations[0])
