"""What a talk rests on, by its key's name: a text that must not be lost where it stands once, above the rows of a document."""

import shlex
from collections.abc import Collection, Iterable

from stages.collect.documents import rows_of_document
from stages.collect.messages import as_text
from stages.collect.paths import find_files
from stages.collect.readers import read_object_document
from stages.collect.sources import JsonSource, Source
from stages.collect.switches import key_of
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import normalize

# Names of keys, in lower case and their words joined by one underscore, the likeliest first; tools.preview knows them from here.
SYSTEM = (
    "system", "system_prompt", "system_message", "instructions", "system_instruction", "preamble", "meta_instruction",
    "custom_instructions", "系统提示词", "系统提示", "系统",
)  # fmt: skip
SYSTEM_OF_LISTS = ("instruction", "context", "background", "persona", "scenario", "指令", "上下文", "背景")
TEXTS_OF_LISTS = (  # the same, where it is a text of several words
    "contexts", "document", "documents", "passage", "passages", "knowledge", "article", "background_knowledge",
    "reference_text", "文档", "资料", "参考资料", "材料", "知识", "背景知识",
)  # fmt: skip
NAMES = frozenset((*SYSTEM, *SYSTEM_OF_LISTS, *TEXTS_OF_LISTS))
NAMES_ABOVE = NAMES | {"definition", "task_definition", "task_description", "任务定义", "任务描述"}

# Words that make a name one of no text, such as user_id, and others that make a key of an object one of no such text.
NO_TEXT = frozenset([
    "id", "ids", "uuid", "name", "email", "mail", "date", "time", "at", "no", "nr", "number", "count", "score", "rating",
    "type", "lang", "language", "url", "code", "hash",
])  # fmt: skip
NO_CONTEXT = NO_TEXT | {
    "title", "titles", "urls", "link", "links", "path", "source", "author", "license", "role", "version", "标题", "链接",
    "来源", "作者",
}  # fmt: skip


def has_word(key: str, words: Collection[str]) -> bool:
    """Whether one of the words is in a name; of those that are written without spaces, a part of it.

    >>> has_word("bad_answer", ["bad"]), has_word("badge", ["bad"]), has_word("拒绝的回答", ["拒绝"])
    (True, False, True)
    """
    return not {*key.split("_")}.isdisjoint(words) or any(word in key for word in words if not word.isascii())


def prose_in(cell: object) -> list[str]:
    """The texts of several words in a cell, or in the lists and objects in it, but for names, dates and the like.

    >>> prose_in([{"title": "Of doors", "text": "There are two."}]), prose_in({"sentences": [["It is old."], []]})
    (['There are two.'], ['It is old.'])
    >>> prose_in(["a.pdf", "b.pdf"]), prose_in([{"source_name": "Town library", "url": "a b"}]), prose_in([]), prose_in(17)
    ([], [], [], [])
    """
    found, waiting = [], [cell]
    while waiting:
        inner = waiting.pop(0)
        if isinstance(inner, str) and is_prose(inner.strip()):
            found.append(inner.strip())
        if isinstance(inner, dict):
            inner = [value for key, value in inner.items() if not has_word(key_of(str(key)), NO_CONTEXT)]
        waiting += inner if isinstance(inner, (list, tuple)) else ()
    return found


def is_prose(text: str) -> bool:
    """
    >>> is_prose("Be brief."), is_prose("web"), is_prose("你是图书馆员。"), is_prose("电话")
    (True, False, True, False)
    """
    return len(text.split()) > 1 or (not text.isascii() and len(text) > 3)


def texts_above(document: dict[str, object], rows: Collection[object], array: str | None) -> dict[str, list[str]]:
    """Key -> the texts under it that stand above the array of the rows, where not all rows have a text under that key too.

    `array`: which one that is, where the source says so; the others are no rows then.

    >>> texts_above({"context": "It is old.", "version": "1 of 2", "data": []}, [{"context": "It is new."}, {"q": "Who?"}], None)
    {'context': ['It is old.']}
    """
    if not any(isinstance(value, list) for value in document.values()):
        return {}
    found: dict[str, list[str]] = {}
    for key, value in document.items():
        are_rows = isinstance(value, list) and array in (None, key)
        if key_of(key) in NAMES_ABOVE and not are_rows and (texts := prose_in(value)):
            found[key] = texts
    return {key: found[key] for key in found if not all(isinstance(row, dict) and as_text(row.get(key)) for row in rows)}


def name_in_rows(key: str) -> str:
    """Under which a row's text of this name is read."""
    return "the same name" if key_of(key) in NAMES else "the name 'system'"


class TextsAbove:
    """The texts above the rows of a source's documents, of which `check` raises for the first that no talk says.

    A source with `columns` says what is used, and so what is not.
    """

    def __init__(self, source: Source) -> None:
        self.found: list[tuple[str, str, list[str]]] = []
        self.said: set[str] = set()
        if isinstance(source, JsonSource) and source.format == "json" and source.columns is None:
            for path in find_files(source.path, source.files, source.outside):
                one = source.model_copy(update={"path": str(path), "files": None})
                document = read_object_document(one) or {}
                if any(key_of(key) in NAMES_ABOVE for key in document):
                    rows = rows_of_document(document, path, None, source.array)
                    self.found += [(one.path, key, texts) for key, texts in texts_above(document, rows, source.array).items()]

    def hear(self, texts: Iterable[str]) -> None:
        if self.found:
            self.said.update(map(normalize, texts))

    def check(self) -> None:
        for path, key, texts in self.found:
            if any(normalize(text) not in self.said for text in texts):
                raise ReprotuneError(
                    f"{path}: {key!r} stands above the rows and may hold what all of them rest on, but only rows are read. "
                    f"Put it into each row, under {name_in_rows(key)}; or map the rows' keys in the source's `columns`, by which "
                    f"it is not used (`python -m tools.preview {shlex.quote(path)}` says how)"
                )
