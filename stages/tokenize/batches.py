"""Many conversations -> token ids and labels, those of chat_template.tokenize_conversation at about the tokenizer's own speed.

A special token parts a text for good: what stands before it is encoded the same whatever follows. So the encoding of a whole
conversation holds the encodings of all its prompts, provided that
- every prompt is a prefix of the rendered conversation (each is rendered, and compared);
- what follows a prompt's last special token ("assistant\\n") is encoded alone as it is inside;
- every reply stands between the same marks as the reply of a probe.
A conversation for which one of these does not hold takes the long way.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import compress, count, islice, repeat
from typing import TYPE_CHECKING, NamedTuple, cast

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import _compile_jinja_template as compile_template

from stages.lib.chat_template import TemplateMisfit, special_tokens, tokenize_conversation
from stages.lib.records.conversation import Message, Tool, trained_positions
from stages.lib.records.tokenized import IGNORE_INDEX, Example
from stages.lib.template_forms import is_plain

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

AT_ONCE = 1000  # conversations


class Chat(NamedTuple):
    messages: Sequence[Message]
    tools: list[Tool] | None


class Marks(NamedTuple):
    """What the template puts around a reply's text: up to it, and from it to the end-of-turn token."""

    before: str
    after: str


class Rendered(NamedTuple):
    """`text` up to the last reply that is learned; of each of those its text and its prompt."""

    replies: list[str]
    text: str
    prompts: list[str]


class BatchTokenizer:
    def __init__(self, tokenizer: "PreTrainedTokenizerBase"):
        self.tokenizer = tokenizer
        specials = special_tokens(tokenizer)
        self.special_ids = frozenset(specials.values())
        # The longest first, of those that begin alike. Without any the pattern matches nothing.
        self.special = re.compile("|".join(map(re.escape, sorted(filter(None, specials), key=len, reverse=True))) or "(?!)")
        self.tails: dict[str, list[int] | None] = {}
        self.marks = self.probe()

    def tokenize(
        self, conversations: Iterable[Sequence[Message]], tools: Iterable[list[Tool] | None] = repeat(None)
    ) -> Iterator[list[Example] | TemplateMisfit]:
        """The examples of each conversation, in order, or why there are none. One thread renders while others encode.

        `tools`: of each conversation.
        """
        remaining = map(Chat, conversations, tools)
        with ThreadPoolExecutor(1) as encoder:
            ahead = None
            while chunk := list(islice(remaining, AT_ONCE)):
                rendered = self.render_all(chunk)
                texts = [row.text for row in rendered if row]
                encoding = encoder.submit(self.encode, texts)
                if ahead:
                    yield from self.finish(*ahead)
                ahead = (chunk, rendered, encoding)
            if ahead:
                yield from self.finish(*ahead)

    def encode(self, texts: list[str]) -> "list[Encoding]":
        if not texts:  # a tokenizer in Python has no backend, and sends no texts here
            return []
        return self.tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)

    def finish(
        self, chunk: list[Chat], rendered: list[Rendered | None], encoding: "Future[list[Encoding]]"
    ) -> Iterator[list[Example] | TemplateMisfit]:
        encodings = iter(encoding.result())
        for chat, row in zip(chunk, rendered, strict=True):
            example = self.label(row, next(encodings).ids) if row else None
            yield [example] if example else self.long_way(*chat)

    def long_way(self, messages: Sequence[Message], tools: list[Tool] | None = None) -> list[Example] | TemplateMisfit:
        try:
            return tokenize_conversation(self.tokenizer, messages, tools)
        except TemplateMisfit as misfit:
            return misfit

    def probe(self) -> Marks | None:
        """None where the tokenizer or the template does not fit the quick way."""
        messages: list[Message] = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "reply"}]
        if not getattr(self.tokenizer, "is_fast", False):
            return None
        try:
            [prompt], [text] = self.render([messages[:1]], True), self.render([messages], False)
        except TemplateError:
            return None
        self.tokenizer(text)  # takes off a truncation or padding that tokenizer.json sets, which the backend would apply
        before, _, rest = text[len(prompt) :].partition("reply")
        ends = [match.end() for match in self.special.finditer(rest)]
        return Marks(before, rest[: ends[-1]]) if ends and text.startswith(prompt) else None

    def render(self, chats: list[Sequence[Message]], add_generation_prompt: bool) -> list[str]:
        """By the template that transformers compiles, without the copies that it makes of each message: a quarter of the time.

        Where the two give another text for the first chat, by transformers alone.
        """
        [first] = self.render_slowly(chats[:1], add_generation_prompt)
        template = compile_template(self.tokenizer.get_chat_template())
        given = {"tools": None, "documents": None, "add_generation_prompt": add_generation_prompt}
        texts = [template.render(messages=chat, **given, **self.tokenizer.special_tokens_map) for chat in chats]
        return texts if texts[0] == first else self.render_slowly(chats, add_generation_prompt)

    def render_slowly(self, chats: list[Sequence[Message]], add_generation_prompt: bool) -> list[str]:
        given = cast("list[list[dict[str, str]]]", chats)
        texts = self.tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=add_generation_prompt)
        return cast("list[str]", texts)

    def render_all(self, chunk: list[Chat]) -> list[Rendered | None]:
        """None for what needs the long way: no prompt or no reply, more than roles and contents, a special token in a text, a
        template that refuses it.
        """
        places_of = [
            [] if messages[:1] == [] or messages[0]["role"] == "assistant" or not is_plain(messages, tools)
            or any(self.special.search(message["content"]) for message in messages)
            else trained_positions(messages)
            for messages, tools in chunk
        ]  # fmt: skip
        if self.marks is None or not any(places_of):
            return [None] * len(chunk)
        pairs = [(messages, places) for (messages, _), places in zip(chunk, places_of, strict=True)]
        try:
            texts = iter(self.render([messages[: places[-1] + 1] for messages, places in pairs if places], False))
            prompts = iter(self.render([messages[:place] for messages, places in pairs for place in places], True))
        except TemplateError:  # of one of them; halving finds it
            middle = len(chunk) // 2
            return self.render_all(chunk[:middle]) + self.render_all(chunk[middle:]) if middle else [None]
        replies = ([messages[place]["content"] for place in places] for messages, places in pairs)
        return [Rendered(said, next(texts), list(islice(prompts, len(said)))) if said else None for said in replies]

    def label(self, row: Rendered, ids: list[int]) -> Example | None:
        """The example; None where the quick way is not right for this conversation."""
        in_text = [match.span() for match in self.special.finditer(row.text)]
        in_ids = list(compress(count(1), map(self.special_ids.__contains__, ids)))  # twice as fast as a loop
        token_after = dict(zip((end for _, end in in_text), in_ids, strict=False))
        labels = [IGNORE_INDEX] * len(ids)
        marks = self.marks
        end, seen = 0, 0
        for reply, prompt in zip(row.replies, row.prompts, strict=True):
            expected = f"{marks.before}{reply}{marks.after}" if marks else ""
            if len(in_text) != len(in_ids) or not (row.text.startswith(prompt) and row.text.startswith(expected, len(prompt))):
                return None
            while seen < len(in_text) and in_text[seen][1] <= len(prompt):
                seen += 1
            tail = (
                self.tail_ids(row.text[in_text[seen - 1][0] : in_text[seen - 1][1]], prompt[in_text[seen - 1][1] :])
                if seen
                else None
            )
            end = len(prompt) + len(expected)
            if tail is None or end not in token_after:
                return None
            first = token_after[in_text[seen - 1][1]]
            if ids[first : first + len(tail)] != tail:
                return None
            first, last = first + len(tail), token_after[end]
            labels[first:last] = ids[first:last]
        if in_text[-1][1] != end or row.text[end:].strip():
            return None
        return Example(ids[: token_after[end]], labels[: token_after[end]])

    def tail_ids(self, special: str, tail: str) -> list[int] | None:
        """Ids of what follows a special token, None if the two do not part there."""
        text = special + tail
        if text not in self.tails:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            self.tails[text] = ids[1:] if ids and ids[0] in self.special_ids else None
        return self.tails[text]
