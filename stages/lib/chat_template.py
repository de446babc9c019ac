"""Conversations -> token ids and labels, with any tokenizer's chat template.

Labels come from rendering prefixes, never from the template's own mask, which many templates lack:

    prompt      = template(messages before the reply, with the generation prompt)
    prompt+reply = template(messages up to and with the reply)

What the second adds to the first, up to and with the end-of-turn token, is labelled. So the training prefix is token for
token the inference prompt, and the model learns to stop.
"""

from typing import TYPE_CHECKING, cast

from jinja2 import TemplateError

from stages.lib.records.conversation import Message
from stages.lib.records.tokenized import IGNORE_INDEX, Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TemplateMisfit(Exception):
    """The template cannot render this conversation for training; the message says why."""


def render_prompt(tokenizer: "PreTrainedTokenizerBase", messages: list[Message]) -> str:
    """The text that the model continues: the messages and the generation prompt.

    Raises:
        TemplateMisfit: the template refuses the messages (roles it does not know, say).
    """
    return _render(tokenizer, messages, add_generation_prompt=True)


def tokenize_prompt(tokenizer: "PreTrainedTokenizerBase", messages: list[Message]) -> list[int]:
    """`render_prompt` as token ids, with the template's own special tokens and no others (one BOS, not two)."""
    return _encode(tokenizer, render_prompt(tokenizer, messages))


def tokenize_conversation(tokenizer: "PreTrainedTokenizerBase", messages: list[Message]) -> list[Example]:
    """The examples that train every assistant message of a conversation.

    One example, where each prompt continues what went before, as in most templates. A template that renders earlier turns
    otherwise than the last one (reasoning models drop earlier thoughts) gets one example for each turn it breaks at.

    Raises:
        TemplateMisfit: the template refuses the messages, changes the prompt once the reply is there, or ends a reply
            without a special token; or a message holds a special token as text.
    """
    specials = special_tokens(tokenizer)
    for position, message in enumerate(messages):
        if found := next((text for text in specials if text in message["content"]), None):
            raise TemplateMisfit(f"messages[{position}] holds the special token {found}")
    examples: list[Example] = []
    for position, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        if position == 0:
            raise TemplateMisfit("it begins with the assistant, so that there is no prompt")
        prompt_ids, reply_ids = _tokenize_turn(tokenizer, messages[: position + 1], set(specials.values()))
        earlier = examples[-1].input_ids if examples else []
        if examples and prompt_ids[: len(earlier)] == earlier:
            labels = examples.pop().labels
        else:
            earlier, labels = [], []
        ignored = [IGNORE_INDEX] * (len(prompt_ids) - len(earlier))
        examples.append(Example(prompt_ids + reply_ids, labels + ignored + reply_ids))
    return examples


def special_tokens(tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """Text -> id of the tokens that mark structure; plain text must not spell one."""
    added = {token.content: id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))


def stop_token_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The token that ends an assistant turn: the last label of any reply."""
    probe: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    return tokenize_conversation(tokenizer, probe)[-1].labels[-1]


def _tokenize_turn(
    tokenizer: "PreTrainedTokenizerBase", messages: list[Message], special_ids: set[int]
) -> tuple[list[int], list[int]]:
    """(prompt ids, reply ids) of the last message, the reply with its end-of-turn token and nothing after it."""
    prompt = render_prompt(tokenizer, messages[:-1])
    rendered = _render(tokenizer, messages, add_generation_prompt=False)
    if not rendered.startswith(prompt):
        raise TemplateMisfit("the rendered conversation does not begin with its generation prompt")
    prompt_ids, ids = _encode(tokenizer, prompt), _encode(tokenizer, rendered)
    if ids[: len(prompt_ids)] != prompt_ids:  # a token straddles the border: cut there, as inference does
        ids = prompt_ids + _encode(tokenizer, rendered[len(prompt) :])
    reply_ids = ids[len(prompt_ids) :]
    end = max((position + 1 for position, id in enumerate(reply_ids) if id in special_ids), default=0)
    if not end or str(tokenizer.decode(reply_ids[end:])).strip():  # a line break may follow the stop token, text may not
        raise TemplateMisfit("the template ends a reply without a special token, so that the model would never stop")
    return prompt_ids, reply_ids[:end]


def _render(tokenizer: "PreTrainedTokenizerBase", messages: list[Message], add_generation_prompt: bool) -> str:
    try:
        chat = cast("list[dict[str, str]]", messages)
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=add_generation_prompt))
    except TemplateError as error:
        raise TemplateMisfit(f"the template refuses it: {error}") from None


def _encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]
