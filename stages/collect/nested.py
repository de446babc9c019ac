"""JSON, and what Python prints of lists and dicts -> values, no number rounded.

orjson is quick, but reads integers beyond 64 bits as floats, by which two ids become one, and refuses NaN, which pandas writes.
"""

import ast
import io
import json
import re
import string
import tokenize
import warnings
from collections.abc import Iterator
from itertools import pairwise

import orjson

AS_ZERO = bytes.maketrans(string.digits.encode(), b"0" * 10)
NO_NUMBER = re.compile(rb"\b(?:NaN|Infinity)\b")
BLANK = re.compile(r"[ \t\r\n]*")
BETWEEN = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*")
SIDE_BY_SIDE = re.compile(r"""['"]\s*[rbfuRBFU]?['"]""")
LONGEST_LITERAL = 2**22  # characters; Python's parser takes some hundred times as many bytes

DECODER = json.JSONDecoder(parse_constant=lambda _: None)


def parse_json(text: str | bytes) -> object:
    """The value; NaN and infinity are null.

    Raises:
        json.JSONDecodeError: it is no JSON, or has half a surrogate pair, which no file can hold.

    >>> parse_json('{"id": 123456789012345678901, "topic": NaN}')
    {'id': 123456789012345678901, 'topic': None}
    """
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if b"0" * 19 not in content.translate(AS_ZERO):  # a number of so many digits; a pattern takes longer to find it than to parse
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            if not NO_NUMBER.search(content):
                raise
    return next(_decode(text, several=False))


def parse_documents(text: str | bytes) -> list[object]:
    """The values of a text that holds one after the other, with or without commas between.

    Raises:
        json.JSONDecodeError: one of them is no JSON.

    >>> parse_documents('{"a": 1}\\n{"a": 2}')
    [{'a': 1}, {'a': 2}]
    """
    return decode_all(text, DECODER)


def decode_all(text: str | bytes, decoder: json.JSONDecoder) -> list[object]:
    """As `parse_documents`, by another decoder."""
    return list(_decode(text, several=True, decoder=decoder))


def _decode(text: str | bytes, several: bool, decoder: json.JSONDecoder = DECODER) -> Iterator[object]:
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
    except UnicodeDecodeError:
        raise json.JSONDecodeError("not UTF-8", "", 0) from None
    end = BLANK.match(decoded).end()  # type: ignore[union-attr]
    while True:
        try:
            value, end = decoder.raw_decode(decoded, end)
            json.dumps(value, ensure_ascii=False).encode()
        except json.JSONDecodeError:
            raise
        except UnicodeEncodeError:
            raise json.JSONDecodeError("half a surrogate pair", decoded, end) from None
        except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
            raise json.JSONDecodeError(str(error).partition(";")[0], decoded, end) from None
        yield value
        end = (BETWEEN if several else BLANK).match(decoded, end).end()  # type: ignore[union-attr]
        if end == len(decoded):
            return
        if not several:
            raise json.JSONDecodeError("more behind the value", decoded, end)


def parse_literal(text: str | bytes) -> list | dict | None:
    """The list or dict that Python prints so, as `DataFrame.to_csv` writes it; None if it is something else.

    >>> parse_literal("[{'role': 'user', 'content': \\"It's me\\", 'name': None}]")
    [{'role': 'user', 'content': "It's me", 'name': None}]
    >>> parse_literal("['a' 'b']"), parse_literal("['a', 'b'")
    (None, None)
    """
    if len(text) > LONGEST_LITERAL:
        return None
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
        if decoded.strip()[:1] not in ("[", "{"):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python does not know
            value = ast.literal_eval(decoded.strip())
        json.dumps(value, ensure_ascii=False).encode()  # no set, no bytes, no half of a surrogate pair
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, (list, dict)) and not _joins_texts(decoded) else None


def _joins_texts(text: str) -> bool:
    """Whether two texts stand side by side, as NumPy prints them: to Python's parser they are one."""
    if not SIDE_BY_SIDE.search(text):
        return False
    kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline) if token.type != tokenize.NL]
    return any(pair == (tokenize.STRING, tokenize.STRING) for pair in pairwise(kinds))


def parse_list(text: str) -> list:
    """The list that a cell holds, as JSON or as Python prints it.

    Raises:
        ValueError: it holds none; the message says what it holds, for behind the column's name.
    """
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        value = parse_literal(text)
        if value is None:
            raise ValueError(
                f"is text, but not JSON: {error.msg} at character {error.pos + 1}; nor is it a list as Python prints it (write "
                "the column with json.dumps)"
            ) from None
    if not isinstance(value, list):
        raise ValueError(f"is {'an object' if isinstance(value, dict) else 'a text'}; expected a list of messages")
    return value
