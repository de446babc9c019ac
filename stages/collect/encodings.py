"""What encoding bytes that are not UTF-8 may be in: a suggestion for a person to judge, never a decision.

A suggestion rests on one short line. There charset-normalizer finds 9 of 31 (25 if it may only choose among the five below,
none of the Chinese ones in GB 18030), these tables 29.
"""

import codecs
import unicodedata

# Of each encoding, characters so frequent in its languages that text read wrongly has few of them.
FREQUENT = {
    "gb18030": "的一是不了在人有我他这个们中来上大为和国地到说时要就出会可也你对生能好吗请您问么什怎没么订单谢再见，。？！、：“”",
    "big5": "的一是不了在人有我他這個們中來上大為和國地到說時要就出會可也你對生能好嗎請您問麼什怎沒訂單謝再見天，。？！、：「」",
    "shift_jis": "".join(map(chr, range(0x3041, 0x30FD))) + "。、「」日本人",
    "euc_kr": "이다는을가에의고를하지은로기도나시사해요니습안녕세어요있한그리까아서대자수만것면게네무일여보인전화제주",
    "cp1252": "äöüßéèàáíóúñçêâîôûëïãõåæøœÄÖÜÉÅØ¿¡«»’‘“”–—…€°",
}


def suggest_encoding(content: bytes) -> str:
    """What the content could be read as, the likeliest first, and the remedy.

    >>> suggest_encoding("您好，我的订单\\n".encode("gb18030"))
    "reads as gb18030: '您好，我的订单'; set `encoding: gb18030` if that is right"
    """
    likely = [(encoding, excerpt(text)) for encoding, text in likely_encodings(content)]
    if not likely:
        return "name its `encoding`, or save it as UTF-8"
    (first, text), *others = likely
    or_else = "".join(f", or {encoding}: {other}" for encoding, other in others[:2])
    return f"reads as {first}: {text}{or_else}; set `encoding: {first}` if that is right"


def likely_encodings(content: bytes) -> list[tuple[str, str]]:
    """(encoding, the content in it), the likeliest first: the one whose frequent characters it has most of, and those near it.

    >>> likely_encodings("schön".encode("cp1252")), likely_encodings("a,b".encode("utf-16-be"))
    ([('cp1252', 'schön')], [('utf-16-be', 'a,b')])
    """
    if encoding := utf16_without_mark(content):
        return [(encoding, _decode_start(content, encoding))]
    readings = {encoding: _decode_start(content, encoding) for encoding in FREQUENT}
    shares = {encoding: _share_of_frequent(text, FREQUENT[encoding]) for encoding, text in readings.items()}
    near = [encoding for encoding, share in shares.items() if share >= max(shares.values()) / 2 > 0]
    return [(encoding, readings[encoding]) for encoding in sorted(near, key=lambda encoding: (-shares[encoding], encoding))]


def utf16_without_mark(head: bytes) -> str | None:
    """UTF-16 without a byte-order mark, told by the NUL in each of ASCII's characters.

    Chinese has NULs at the other place too: 一 is U+4E00, 开 U+5F00. So what has more of them is tried first, and a reading
    with characters that no text has is refused. Bytes that could be UTF-8 must be mostly ASCII in UTF-16.

    >>> utf16_without_mark("一一一,您好\\n".encode("utf-16-le")), utf16_without_mark("question,答".encode("utf-16-be"))
    ('utf-16-le', 'utf-16-be')
    >>> utf16_without_mark(b"a\\0 stray\\0 NUL\\0")
    """
    nuls = {"utf-16-le": head[1::2].count(0), "utf-16-be": head[::2].count(0)}
    likelier, other = sorted(nuls, key=lambda encoding: -nuls[encoding])
    if nuls[likelier] < 2:
        return None
    if _decode_start(head, "utf-8") and (4 * nuls[likelier] < len(head) or 4 * nuls[other] > nuls[likelier]):
        return None
    return next((encoding for encoding in (likelier, other) if _is_text(_decode_start(head, encoding))), None)


def _is_text(text: str) -> bool:
    """Whether there is any, without control characters and, emoji aside, without code points that Unicode has not assigned."""
    return bool(text) and not any(
        letter not in "\t\r\n" and letter <= "\uffff" and unicodedata.category(letter) in ("Cc", "Cn") for letter in text
    )


def _decode_start(content: bytes, encoding: str) -> str:
    """The text, without a character that is cut at the end; empty if it is not in this encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(content)
    except UnicodeDecodeError:
        return ""


def _share_of_frequent(text: str, frequent: str) -> float:
    beyond_ascii = [character for character in text if not character.isascii()]
    return sum(character in frequent for character in beyond_ascii) / len(beyond_ascii) if beyond_ascii else 0.0


def excerpt(text: str) -> str:
    """Some characters around the first beyond ASCII, as a literal.

    >>> excerpt("id,text\\n1,您好\\n"), excerpt("id\\n1")
    ("'1,您好'", "'id'")
    """
    lines = text.splitlines() or [""]
    line = next((line for line in lines if not line.isascii()), lines[0])
    first = next((position for position, character in enumerate(line) if not character.isascii()), 0)
    begin, end = max(0, first - 10), first + 30
    return repr(("…" if begin else "") + line[begin:end] + ("…" if len(line) > end else ""))
