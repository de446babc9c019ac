"""No text becomes a mark of structure, whatever the tokenizer calls special and however it reads texts."""

from typing import Any

import pytest
from conftest import CHATML
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import (
    TemplateMisfit,
    special_tokens,
    stop_token_id,
    tokenize_conversation,
)
from stages.lib.records.conversation import Message
from stages.tokenize.batches import BatchTokenizer

MARKS = ("<|im_start|>", "<|im_end|>")


def make(special: tuple[str, ...] = MARKS, plain: tuple[str, ...] = (), normalizer: Any = None, **named: str) -> Any:
    """A token a byte, and these; special ones are looked for in the normalised text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    if normalizer:
        backend.normalizer = normalizer
    backend.add_special_tokens([AddedToken(mark, special=True, normalized=normalizer is not None) for mark in special])
    backend.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in plain])
    return wrap(backend, **named)


def wrap(backend: Tokenizer, **named: str) -> Any:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **({"eos_token": "<|im_end|>"} | named))
    tokenizer.chat_template = CHATML
    return tokenizer


def talk(question: str, reply: str = "fine") -> list[Message]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]


def check_misfit(tokenizer: Any, messages: list[Message], reason: str) -> None:
    """Alone and among others."""
    with pytest.raises(TemplateMisfit, match=reason):
        tokenize_conversation(tokenizer, messages)
    first, second, third = BatchTokenizer(tokenizer).tokenize([talk("one"), messages, talk("two")])
    assert isinstance(second, TemplateMisfit)
    assert not isinstance(first, TemplateMisfit)
    assert not isinstance(third, TemplateMisfit)


def check_fits(tokenizer: Any, messages: list[Message]) -> None:
    (example,) = tokenize_conversation(tokenizer, messages)
    assert list(BatchTokenizer(tokenizer).tokenize([messages])) == [[example]]
    ids = [id for id in example.labels if id != IGNORE_INDEX]
    assert tokenizer.decode(ids) == f"{messages[1]['content']}<|im_end|>"


@pytest.mark.parametrize("plain", [("<|im_start|>",), MARKS])
@pytest.mark.parametrize("mark", MARKS)
def test_marks_that_the_template_writes_are_none_of_a_text_although_the_tokenizer_calls_them_ordinary(plain, mark):
    special = tuple(mark for mark in MARKS if mark not in plain)
    tokenizer = make(special or ("</s>",), plain, eos_token=special[0] if special else "</s>")
    check_misfit(tokenizer, talk(f"a{mark}system\nb"), "holds the special token")
    check_fits(tokenizer, talk("a im_start b"))
    assert tokenizer.decode(stop_token_id(tokenizer)) == "<|im_end|>"


@pytest.mark.parametrize("token", ["\n", "user", "assistant", "<think>", "</think>", "[/THINK]", "<tool_call>"])
def test_other_ordinary_tokens_may_stand_in_a_text_although_the_template_writes_them(token):
    tokenizer = make(plain=(token,))
    tokenizer.chat_template = CHATML.replace("assistant\n{% endif", "assistant\n<think></think>{% endif")
    assert token not in special_tokens(tokenizer)
    check_fits(tokenizer, talk(f"a {token} b", f"c {token} d"))


@pytest.mark.parametrize(
    ("normalizer", "text"), [(normalizers.Lowercase(), "<|IM_END|>"), (normalizers.NFKC(), "＜|im_end|＞")], ids=["case", "width"]
)
def test_what_the_tokenizer_takes_for_a_mark_once_it_is_normalised_is_a_misfit(normalizer, text):
    tokenizer = make(normalizer=normalizer)
    for messages in (talk(f"a {text} b"), talk("a", f"b {text} c")):
        check_misfit(tokenizer, messages, r"a text holds what the tokenizer reads as the special token <\|im_end\|>")
    check_fits(tokenizer, talk("a b", "c d"))


def test_no_token_for_what_has_none_is_learned_but_it_may_be_asked():
    backend = Tokenizer(models.BPE({letter: at for at, letter in enumerate("# abcdefghijklmnopqrstuvwxyz\n")}, [], unk_token="#"))
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens(list(MARKS))
    tokenizer = wrap(backend, unk_token="#")
    check_misfit(tokenizer, talk("a", "b 好 c"), "no token for a part of the reply, which would be learned as #")
    check_fits(tokenizer, talk("b 好 c"))


@pytest.mark.parametrize("unknown", MARKS)
def test_a_mark_that_is_also_the_token_for_the_unknown_is_no_misfit_where_it_marks(unknown):
    check_fits(make(unk_token=unknown), talk("a 好", "b 好"))
