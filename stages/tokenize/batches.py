"""Many conversations -> token ids and labels, those of chat_template.tokenize_conversation at about the tokenizer's own speed.

A special token parts a text for good: what stands before it is encoded the same whatever follows. So the encoding of a whole
conversation holds the encodings of all its prompts, provided that
- every prompt is a prefix of the rendered conversation (each is rendered, and compared), and holds what was said before it;
- what follows a prompt's last special token ("assistant\\n") is encoded alone as it is inside;
- every reply stands between the same marks as the reply of a probe, and holds no ordinary token that ends a generation.
A conversation for which one of these does not hold takes the long way.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import compress, count, islice, pairwise, repeat
from typing import TYPE_CHECKING, NamedTuple, cast

from jinja2 import TemplateError
from transformers.utils.chat_template_utils import _compile_jinja_template as compile_template

from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.lib.chat_template import TemplateMisfit, special_tokens, tokenize_conversation
from stages.lib.chat_template.forms import Form, is_plain, shows_content, to_form
from stages.lib.chat_template.rendering import check_roles, form_of, specials_pattern
from stages.lib.chat_template.stops import Ending, ending_of, known_stops
from stages.lib.records.conversation import Message, Role, Tool, trained_positions

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

AT_ONCE = 1000  # conversations


class Chat(NamedTuple):
    messages: Sequence[Message]
    tools: list[Tool] | None


class Marks(NamedTuple):
    """What the template puts around a reply's text: up to it, and from it to the end-of-turn token.

    `ending`: how a whole conversation ends otherwise.
    """

    before: str
    after: str
    ending: Ending


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
        self.stops_in_text = known_stops(tokenizer) - self.special_ids
        self.special = specials_pattern(specials)
        self.tails: dict[str, list[int] | None] = {}
        self.fitting: dict[tuple[tuple[Role, ...], tuple[int, ...]], bool] = {}
        self.form = Form()
        self.marks = self.probe(specials)

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

    def probe(self, specials: dict[str, int]) -> Marks | None:
        """None where the tokenizer or the template does not fit the quick way."""
        messages: list[Message] = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "reply"}]
        if not getattr(self.tokenizer, "is_fast", False):
            return None
        try:
            self.form, ending = form_of(self.tokenizer, uses_tools=False, has_thoughts=False), ending_of(self.tokenizer, specials)
            [prompt], [text] = self.render([messages[:1]], True), self.render([messages], False)
        except (TemplateError, TemplateMisfit):
            return None
        self.tokenizer(text)  # takes off a truncation or padding that tokenizer.json sets, which the backend would apply
        before, _, rest = ending.end(text)[len(prompt) :].partition("reply")
        after, stop, _ = rest.partition(ending.stop)
        fits = stop and text.startswith(prompt) and before == ending.lead
        return Marks(before, after + stop, ending) if fits else None

    def render(self, chats: list[Sequence[Message]], add_generation_prompt: bool) -> list[str]:
        """By the template that transformers compiles, without the copies that it makes of each message: a quarter of the time.

        Where the two give another text for the first chat, by transformers alone.
        """
        if self.form.contents_as_parts:
            chats = [cast("Sequence[Message]", to_form(chat, self.form)) for chat in chats]
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
        return [self.up_to_last_stop(messages, places, texts, prompts) if places else None for messages, places in pairs]

    def up_to_last_stop(
        self, messages: Sequence[Message], places: list[int], texts: Iterator[str], prompts: Iterator[str]
    ) -> Rendered | None:
        """None where a text is not in its prompt, or the last reply does not end as the probe's did."""
        text, prompts_here = next(texts), list(islice(prompts, len(places)))
        replies = [messages[place]["content"] for place in places]
        if self.marks is None or not self.holds_all(messages, places, prompts_here):
            return None
        end = len(prompts_here[-1] + self.marks.before + replies[-1] + self.marks.after)
        text = self.marks.ending.end(text)[:end]
        return Rendered(replies, text, prompts_here) if text.endswith(self.marks.after) else None

    def holds_all(self, messages: Sequence[Message], places: list[int], prompts: list[str]) -> bool:
        """Whether each prompt holds the messages before it; label finds out that it begins with the prompt before."""
        roles = tuple(message["role"] for message in messages[: places[-1] + 1]), tuple(places)
        if roles not in self.fitting:
            self.fitting[roles] = self.fit(messages, places)
        if not self.fitting[roles]:
            return False
        starts = pairwise([0, *places])
        return all(shows_content(one, prompt) for prompt, (a, b) in zip(prompts, starts, strict=True) for one in messages[a:b])

    def fit(self, messages: Sequence[Message], places: list[int]) -> bool:
        """Whether conversations of these roles lose nothing."""
        try:
            for place in places:
                check_roles(self.tokenizer, messages[:place])
                check_roles(self.tokenizer, messages[: place + 1])
        except TemplateMisfit:
            return False
        return True

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
            if len(in_text) != len(in_ids) or not row.text.startswith(prompt + expected):
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
            if self.stops_in_text and not self.stops_in_text.isdisjoint(ids[first:last]):
                return None
            labels[first:last] = ids[first:last]
        return Example(ids, labels)

    def tail_ids(self, special: str, tail: str) -> list[int] | None:
        """Ids of what follows a special token, None if the two do not part there."""
        text = special + tail
        if text not in self.tails:
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            self.tails[text] = ids[1:] if ids and ids[0] in self.special_ids else None
        return self.tails[text]
