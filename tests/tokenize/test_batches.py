"""The quick way gives the examples of the long way, whatever the template, the tokenizer and the texts; and it is taken."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CHATML, REPO, SPECIAL_TOKENS, examples, make_conversations
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import TemplateMisfit, note_stops, stop_token_id, tokenize_conversation
from stages.lib.records.conversation import Message
from stages.tokenize import batches as tokenization
from stages.tokenize.batches import BatchTokenizer

FAMILIES = ["chatml", "gemma", "glm4", "llama3", "llama3_first", "mistral", "phi3", "qwen3", "sees_parts"]
FILES = {name: (REPO / f"tests/templates/{name}.jinja").read_text(encoding="utf-8") for name in FAMILIES}
MARKS = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]  # of phi3 and glm4
TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TEMPLATES = {
    "chatml_of_conftest": CHATML,
    **FILES,
    "qwen3_without_thinking": "{%- set enable_thinking = false %}" + FILES["qwen3"],
    "begins_with_text": "A talk.\n" + CHATML,
    "begins_with_bos": "{{ bos_token or '<s>' }}" + CHATML,
    "strips_contents": CHATML.replace("message.content", "message.content | trim"),
    "strips_line_breaks": CHATML.replace("message.content", "message.content.strip('\\n')"),
    "adds_text_after_the_last_reply": CHATML + "{% if not add_generation_prompt %}All said.{% endif %}",
    "adds_white_space_after_the_last_reply": CHATML + "{% if not add_generation_prompt %} \n\n{% endif %}",
    "adds_a_token_after_the_last_reply": CHATML + "{% if not add_generation_prompt %}<|endoftext|>{% endif %}",
    "ends_the_last_turn_with_another_token": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{{ '<|endoftext|>' if loop.last and m.role == 'assistant' else '<|im_end|>\n' }}{% endfor %}" + PROMPT,
    "ends_turns_with_two_tokens": CHATML.replace("<|im_end|>", "<|im_end|><|endoftext|>"),
    "ends_the_last_reply_alone": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{{ '<|im_end|>' if loop.last or m.role != 'assistant' }}\n{% endfor %}" + PROMPT,
    "ends_replies_without_token": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}\n{% endfor %}" + PROMPT,
    "has_no_token": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    "has_no_generation_prompt": "{% for m in messages %}" + TURN + "{% endfor %}",
    "ignores_what_went_before": "{% if add_generation_prompt %}<|im_start|>assistant\n{% else %}{% for m in messages "
    "if m.role == 'assistant' %}" + TURN + "{% endfor %}{% endif %}",
    "straddles": "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ '<|im_end|>' if m.role == 'assistant' }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    "has_a_long_tail": "{% for m in messages %}{% if m.role == 'assistant' %}The reply, after some thought:\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}The reply, after some thought:\n\n{% endif %}",
    "says_reply_and_question": "{% for m in messages %}<|im_start|>question or reply? {{ m.role }}: reply\n{{ m.content }} reply"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>question or reply? {% endif %}",
    "repeats_the_reply": CHATML.replace("<|im_end|>", "<|im_end|>{{ message.content }}<|im_end|>"),
    "lowers_the_reply": CHATML.replace("message.content", "message.content | lower"),
    "marks_the_last_reply": CHATML.replace(
        "<|im_end|>", "{{ (' now' if loop.last else ' old') if message.role == 'assistant' }}<|im_end|>"
    ),
    "marks_the_last_question_of_several": CHATML.replace(
        "<|im_end|>", "{{ (' now' if loop.last and loop.index > 2 else ' old') if message.role == 'user' }}<|im_end|>"
    ),
    "moves_the_system_message_to_the_last_turn": "{% for m in messages if m.role != 'system' %}<|im_start|>{{ m.role }}\n"
    "{{ messages[0].content if loop.last or loop.revindex == 2 }}{{ m.content }}<|im_end|>\n{% endfor %}" + PROMPT,
    "drops_earlier_thoughts": "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content if loop.last else m.content.split('</think>') | last }}<|im_end|>\n{% endfor %}" + PROMPT,
    "refuses_some": "{% for m in messages %}{{ raise_exception('no system role') if m.role == 'system' or 'é' in m.content }}"
    + TURN
    + "{% endfor %}"
    + PROMPT,
    "is_not_jinja": "{% for m in messages %}{{ m.content",
}  # fmt: skip
# What takes the quick way with texts that begin and end with words: all of one turn, and of several.
QUICK = [
    "chatml_of_conftest", "chatml", "gemma", "llama3", "mistral", "begins_with_text", "begins_with_bos", "has_a_long_tail",
    "ends_turns_with_two_tokens", "glm4", "llama3_first", "phi3", "sees_parts", "adds_text_after_the_last_reply",
    "adds_a_token_after_the_last_reply", "ends_the_last_turn_with_another_token",
]  # fmt: skip

PIECES = [
    "reply", "question", "assistant", "It is fine.", "你好，", "naïve", "e\u0301", "é", "👩\u200d👩\u200d👧", "ﬁ", "\u3000",
    "\u2028", " ", "  ", "\n", "\n\n", "\r\n", "\t", "\x00", "<|im_", "im_end|>", "|>", "<think>", "</think>", "<s", "system",
    ": ", "A", ".",
]  # fmt: skip
# Few of the texts hold a special token: such conversations are misfits, and a misfit proves little.
PLAIN = st.one_of(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), st.text(st.characters(exclude_categories=["Cs"])))
TEXTS = st.integers(0, 30).flatmap(
    lambda number: st.tuples(PLAIN, st.sampled_from(SPECIAL_TOKENS), PLAIN).map("".join) if number == 30 else PLAIN
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """One to four turns, some with a system message first or a question last; in some a user speaks twice in a row."""
    roles = ["user", "assistant"] * draw(st.integers(1, 4))
    roles = draw(st.sampled_from([roles, roles, roles, ["system", *roles], [*roles, "user"], ["user", *roles], ["user"]]))
    messages: list[Message] = [{"role": role, "content": draw(TEXTS)} for role in roles]
    for message in messages:
        if message["role"] == "assistant" and draw(st.integers(0, 3)) == 3:
            message["weight"] = 0
    return messages


BATCHES = st.lists(conversations(), min_size=1, max_size=5)
SETTINGS = settings(max_examples=examples(40))


def wrap(backend: Tokenizer, **kwargs: Any) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|im_end|>", **kwargs)


def with_added_tokens(tokenizer: Any, flags: dict[str, bool]) -> Any:
    """The tokenizer with other flags on its special tokens."""
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    document["added_tokens"] = [token | flags for token in document["added_tokens"]]
    return wrap(Tokenizer.from_str(json.dumps(document)))


def train(backend: Tokenizer, *more_tokens: str) -> Tokenizer:
    """BPE that has merged what stands at the borders of texts: line breaks and spaces with one another and with words."""
    texts = [" a\n\nb", "assistant\nreply", "assistant\n\n", "assistant\n ", "\nIt is fine.\n", "\n\n\n", ".\n ", "thought:\n\nA"]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=[*more_tokens, *SPECIAL_TOKENS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    backend.train_from_iterator(texts * 5, trainer)
    return backend


def make_merging() -> Any:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return wrap(train(backend))


def make_metaspace(scheme: str) -> Any:
    """Words begin with a sign for the space before them, the first one too (`first`), or each that a special token precedes."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme, split=False)
    return wrap(train(backend, "<unk>"), unk_token="<unk>")


def make_prepending() -> Any:
    """As the first Llama: a sign for a space before each text between two special tokens."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return wrap(train(backend, "<unk>"), unk_token="<unk>")


def make_knowing_few_words() -> Any:
    """A special token for each word that it does not know, and none for white space."""
    words = ["<unk>", *SPECIAL_TOKENS, "assistant", "user", "reply", "question", "fine", "."]
    backend = Tokenizer(models.WordLevel({word: id for id, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(SPECIAL_TOKENS)
    return wrap(backend, unk_token="<unk>")


def make_normalizing() -> Any:
    """Finds its special tokens in the normalised text only, so in <|IM_END|> too."""
    tokenizer = with_added_tokens(make_merging(), {"normalized": True})
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    return wrap(Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()))


def make_overlapping() -> Any:
    """Special tokens that begin as others do."""
    tokenizer = make_merging()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>assistant", "<|im_end|>\n", "<|im_start|>user\n"]})
    return tokenizer


def make_bytes() -> Any:
    """One in Python, without a backend."""
    return ByT5Tokenizer(extra_ids=0, additional_special_tokens=SPECIAL_TOKENS)


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "merging": make_merging,
    "metaspace_first": lambda: make_metaspace("first"),
    "metaspace_always": lambda: make_metaspace("always"),
    "prepending": make_prepending,
    "knowing_few_words": make_knowing_few_words,
    "normalizing": make_normalizing,
    "left_stripping": lambda: with_added_tokens(make_merging(), {"lstrip": True}),
    "right_stripping": lambda: with_added_tokens(make_merging(), {"rstrip": True}),
    "stripping": lambda: with_added_tokens(make_merging(), {"lstrip": True, "rstrip": True}),
    "single_word": lambda: with_added_tokens(make_merging(), {"single_word": True}),
    "overlapping": make_overlapping,
    "in_python": make_bytes,
}


@pytest.fixture(scope="module")
def tiny(tiny_model_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


@pytest.fixture(scope="module", params=TOKENIZERS)
def odd(request: pytest.FixtureRequest) -> Any:
    return TOKENIZERS[request.param]()


@pytest.fixture
def chatml(tiny_model_folder: Path) -> Any:
    """A tokenizer of the test's own, with the template of conftest."""
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def give_template(tokenizer: Any, name: str) -> Any:
    bos, eos = {
        "llama3": ("<|begin_of_text|>", "<|eot_id|>"), "llama3_first": ("<|begin_of_text|>", "<|eot_id|>"),
        "mistral": ("<s>", "</s>"), "gemma": ("<bos>", "<eos>"), "phi3": (None, "<|endoftext|>"),
    }.get(name, (None, "<|im_end|>"))  # fmt: skip
    tokenizer.bos_token, tokenizer.eos_token = bos, eos
    tokenizer.chat_template = TEMPLATES[name]
    if name in ("glm4", "phi3"):
        tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    note_stops(tokenizer, tokenizer.convert_tokens_to_ids(MARKS[:1]) if name == "glm4" else [])
    return tokenizer


def tokenize_slowly(tokenizer: Any, batch: list[list[Message]]) -> list:
    """What the long way gives: the examples, or the message of the misfit."""
    outcomes: list = []
    for messages in batch:
        try:
            outcomes.append(tokenize_conversation(tokenizer, messages))
        except TemplateMisfit as misfit:
            outcomes.append(str(misfit))
    return outcomes


def tokenize_quickly(tokenizer: Any, batch: list[list[Message]]) -> list:
    outcomes = BatchTokenizer(tokenizer).tokenize(iter(batch))
    return [str(outcome) if isinstance(outcome, TemplateMisfit) else outcome for outcome in outcomes]


def count_long_ways(monkeypatch: pytest.MonkeyPatch) -> list[list[Message]]:
    """A list that collects the conversations that take the long way from now on."""
    taken: list[list[Message]] = []
    long_way = BatchTokenizer.long_way

    def watched(self: BatchTokenizer, messages: list[Message], tools: Any = None) -> Any:
        taken.append(messages)
        return long_way(self, messages, tools)

    monkeypatch.setattr(BatchTokenizer, "long_way", watched)
    return taken


def talk(*texts: str, system: str | None = None) -> list[Message]:
    first: list[Message] = [{"role": "system", "content": system}] if system is not None else []
    return first + [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


# The same as the long way


@pytest.mark.parametrize("name", TEMPLATES)
@SETTINGS
@given(batch=BATCHES)
def test_each_template_gives_what_the_long_way_gives(tiny: Any, name: str, batch: list[list[Message]]) -> None:
    tokenizer = give_template(tiny, name)
    assert tokenize_quickly(tokenizer, batch) == tokenize_slowly(tokenizer, batch)


@SETTINGS
@given(name=st.sampled_from(sorted(TEMPLATES)), batch=BATCHES)
def test_each_tokenizer_gives_what_the_long_way_gives(odd: Any, name: str, batch: list[list[Message]]) -> None:
    tokenizer = give_template(odd, name)
    assert tokenize_quickly(tokenizer, batch) == tokenize_slowly(tokenizer, batch)


BORDERS = [
    "",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n",
    " \n",
    "\n ",
    "\t",
    "\u3000",
    "reply",
    "question",
    "reply question reply",
    "assistant\n",
]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("tokenizer_name", ["merging", "metaspace_first", "right_stripping", "left_stripping"])
def test_white_space_and_the_probes_own_words_at_a_border_change_nothing(tokenizer_name: str, name: str) -> None:
    tokenizer = give_template(TOKENIZERS[tokenizer_name](), name)
    batch = [talk("A?", border) for border in BORDERS] + [talk(border, "A.") for border in BORDERS]
    batch += [talk("A?", f"{border}A.", "B?", f"B.{border}") for border in BORDERS]
    assert tokenize_quickly(tokenizer, batch) == tokenize_slowly(tokenizer, batch)


@pytest.mark.parametrize("place", range(7))
def test_a_conversation_that_the_template_refuses_changes_no_other_one_of_its_batch(tiny: Any, place: int) -> None:
    tokenizer = give_template(tiny, "mistral")
    batch = [row["messages"] for row in make_conversations(6)]
    batch.insert(place, talk("Hi", "Hello.", system="Be brief."))
    outcomes = tokenize_quickly(tokenizer, batch)
    assert outcomes == tokenize_slowly(tokenizer, batch)
    assert [type(outcome) for outcome in outcomes] == [str if at == place else list for at in range(7)]


@pytest.mark.parametrize("position", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("token", ["<|im_end|>", "<|endoftext|>", "[INST]", "<s>"])
def test_a_special_token_in_a_text_is_a_misfit_wherever_it_stands(tiny: Any, position: int, token: str) -> None:
    batch = [talk("a", "b", "c", "d", "e"), talk("a", "b", "c", "d", "e"), talk("a", "b")]
    batch[1][position]["content"] = f"and {token}"
    outcomes = tokenize_quickly(give_template(tiny, "chatml"), batch)
    assert outcomes[1] == f"messages[{position}] holds the special token {token}"
    assert [len(outcomes[at]) for at in (0, 2)] == [1, 1]


def test_thoughts_are_in_no_batch_of_plain_texts(chatml: Any) -> None:
    batch = [talk("Hi", "Hello."), talk("2+2?", "4.")]
    batch[1][1]["reasoning_content"] = "2 and 2."
    outcomes = tokenize_quickly(chatml, batch)
    assert outcomes == tokenize_slowly(chatml, batch)
    assert "2 and 2." in chatml.decode(outcomes[1][0].input_ids)


@pytest.mark.parametrize("text", ["a", "user", "Be brief."])
def test_a_text_that_the_template_leaves_out_is_missed_although_its_words_stand_elsewhere(chatml: Any, text: str) -> None:
    """It writes a system message at the beginning alone."""
    chatml.chat_template = CHATML.replace("message.content", "message.content if message.role != 'system' or loop.first")
    first = talk("Hi", "Hello.", system="Be brief.")
    batch = [first, [*first, {"role": "system", "content": text}, *talk("Is it a user?", "Yes.")]]
    outcomes = tokenize_quickly(chatml, batch)
    assert outcomes == tokenize_slowly(chatml, batch)
    assert [type(outcome) for outcome in outcomes] == [list, str]


@pytest.mark.parametrize("name", ["chatml", "mistral", "qwen3"])
@pytest.mark.parametrize("size", range(11))
def test_the_border_of_a_batch_changes_nothing(tiny: Any, monkeypatch: pytest.MonkeyPatch, name: str, size: int) -> None:
    tokenizer = give_template(tiny, name)
    batch = [row["messages"] for row in make_conversations(10)]
    batch[2] = talk("Is it <|im_end|>?", "Yes.")
    batch[4] = talk("Hi", "Hello.", system="Be brief.")
    batch[7] = talk("Hi")
    expected = tokenize_slowly(tokenizer, batch[:size])
    for at_once in (1, 3, 5, 1000):
        monkeypatch.setattr(tokenization, "AT_ONCE", at_once)
        assert tokenize_quickly(tokenizer, batch[:size]) == expected


def test_conversations_are_taken_as_they_are_needed_and_their_outcomes_come_in_order(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenization, "AT_ONCE", 3)
    taken = []

    def read() -> Iterator[list[Message]]:
        for row in make_conversations(20):
            taken.append(row["messages"])
            yield row["messages"]

    tokenizer = give_template(tiny, "chatml")
    outcomes = BatchTokenizer(tokenizer).tokenize(read())
    first = next(outcomes)
    assert len(taken) == 6, "one batch is finished while the next one is encoded"
    assert [first, *outcomes] == tokenize_slowly(tokenizer, taken)
    assert len(taken) == 20


def test_the_conversations_are_left_as_they_were(tiny: Any) -> None:
    batch = [row["messages"] for row in make_conversations(5)]
    before = json.dumps(batch)
    tokenize_quickly(give_template(tiny, "gemma"), batch)
    assert json.dumps(batch) == before


# The quick way is taken


ORDINARY = [row["messages"] for row in make_conversations(200)] + [
    talk("What is it?", '{"name": "find"}\n\n```python\nx = 1\n```', "为什么？", "很好，谢谢！ 👩\u200d👩\u200d👧"),
    talk("reply", "question", "question", "reply"),
    talk(" a ", "b \n"),
]  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_every_ordinary_conversation_takes_the_quick_way(chatml: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    ordinary = ORDINARY if name not in ("gemma", "llama3", "llama3_first") else ORDINARY[:-1]  # these strip the texts
    tokenizer = give_template(chatml, name)
    if bos := tokenizer.bos_token:  # which it adds by itself too, unless told not to
        processor = TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)])
        tokenizer.backend_tokenizer.post_processor = processor
    taken = count_long_ways(monkeypatch)
    assert tokenize_quickly(tokenizer, ordinary) == tokenize_slowly(tokenizer, ordinary)
    assert not taken


def test_replies_not_to_learn_take_the_quick_way_and_have_no_label(chatml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [talk("a", "wrong", "no", "right", "more", "wrong again"), talk("a", "right", "b", "wrong"), talk("a", "wrong")]
    for messages in batch:
        for message in messages:
            if message["content"].startswith("wrong"):
                message["weight"] = 0
    taken = count_long_ways(monkeypatch)
    outcomes = tokenize_quickly(chatml, batch)
    assert outcomes == tokenize_slowly(chatml, batch)
    learned = [[chatml.decode([id for id in one.labels if id != IGNORE_INDEX]) for one in examples] for examples in outcomes]
    assert learned == [["right<|im_end|>"], ["right<|im_end|>"], []]
    assert "wrong<|im_end|>" in chatml.decode(outcomes[0][0].input_ids)
    assert "wrong again" not in chatml.decode(outcomes[0][0].input_ids), "nothing is read behind the last label"
    assert taken == batch[2:]


def test_conversations_with_a_system_message_take_the_quick_way(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [[{"role": "system", "content": "Be brief.\n请简短。"}, *messages] for messages in ORDINARY]
    taken = count_long_ways(monkeypatch)
    assert tokenize_quickly(give_template(tiny, "chatml"), batch) == tokenize_slowly(tiny, batch)
    assert not taken


@pytest.mark.parametrize("name", ["qwen3", "qwen3_without_thinking"])
def test_where_a_template_rewrites_earlier_turns_one_turn_takes_the_quick_way_and_more_the_long_one(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    taken = count_long_ways(monkeypatch)
    tokenize_quickly(give_template(tiny, name), ORDINARY)
    assert taken == [messages for messages in ORDINARY if len(messages) > 2]


def test_what_cannot_take_the_quick_way_takes_nobody_else_along(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    odd_ones = [talk("Is it <|im_end|>?", "Yes."), talk("No reply?")]
    taken = count_long_ways(monkeypatch)
    tokenize_quickly(give_template(tiny, "chatml"), [*ORDINARY[:5], odd_ones[0], *ORDINARY[5:10], odd_ones[1]])
    assert taken == odd_ones


def test_a_reply_that_merges_with_the_prompt_takes_the_long_way_and_is_cut_where_inference_cuts_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokenizer = give_template(make_merging(), "chatml")
    merging, other = talk("A?", "\nA."), talk("A?", "A.")
    whole = tokenizer(tokenizer.apply_chat_template(merging, tokenize=False), add_special_tokens=False)["input_ids"]
    prompt = tokenizer.apply_chat_template(merging[:1], add_generation_prompt=True, return_dict=False)
    assert whole[: len(prompt)] != prompt, "the tokenizer should join the two line breaks"
    taken = count_long_ways(monkeypatch)
    (first,), (second,) = tokenize_quickly(tokenizer, [merging, other])
    assert taken == [merging]
    assert first.input_ids[: len(prompt)] == second.input_ids[: len(prompt)] == prompt
    assert [label for label in first.labels if label != IGNORE_INDEX] == first.input_ids[len(prompt) :]


def test_labels_of_the_quick_way_spell_the_replies_with_their_stop_tokens(chatml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = stop_token_id(chatml)
    taken = count_long_ways(monkeypatch)
    for messages, (example,) in zip(ORDINARY, tokenize_quickly(chatml, ORDINARY), strict=True):
        labels = [label for label in example.labels if label != IGNORE_INDEX]
        replies = [message["content"] for message in messages if message["role"] == "assistant"]
        assert chatml.decode(labels) == "".join(f"{reply}<|im_end|>" for reply in replies)
        assert labels[-1] == example.input_ids[-1] == stop
    assert not taken


# Tokenizers with a state or without a backend


@pytest.mark.parametrize("cut", [None, 2, 5, 20])
@pytest.mark.parametrize("side", ["left", "right"])
def test_truncation_and_padding_that_come_with_a_tokenizer_are_set_aside(
    chatml: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int | None, side: str
) -> None:
    batch = [row["messages"] for row in make_conversations(20)]
    expected = tokenize_slowly(chatml, batch)
    chatml.backend_tokenizer.enable_padding(direction=side, pad_id=chatml.pad_token_id, pad_token=chatml.pad_token)
    if cut:
        chatml.backend_tokenizer.enable_truncation(cut, direction=side)
    chatml.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.backend_tokenizer.padding
    monkeypatch.setattr(tokenization, "AT_ONCE", 3)
    taken = count_long_ways(monkeypatch)
    assert tokenize_quickly(loaded, batch) == expected
    assert not taken


def test_a_tokenizer_without_a_backend_takes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = give_template(make_bytes(), "chatml")
    assert not tokenizer.is_fast
    taken = count_long_ways(monkeypatch)
    batch = [talk("a", "b"), talk("c", "<s>")]
    assert tokenize_quickly(tokenizer, batch) == tokenize_slowly(tokenizer, batch)
    assert taken == batch
