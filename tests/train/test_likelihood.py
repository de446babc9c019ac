"""The quick likelihood is the slow one, values and gradients, and gives way to it in models for which it is not written."""

import copy

import pytest
import torch
import transformers
from training import (
    EXAMPLES,
    FLOAT32,
    SIZES,
    VOCABULARY,
    WINDOW,
    assert_equal,
    make_example,
    make_model,
    value_and_gradients,
    with_adapter,
    with_new_adapter,
)

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.model.hardware import Hardware
from stages.train import attention, likelihood
from stages.train.attention import PACKED_ATTENTION
from stages.train.comparison import choose_nll
from stages.train.likelihood import head_nll, packed_nll, separate_nll
from stages.train.methods import checkpoint_activations

pytestmark = pytest.mark.usefixtures("one_thread")

GPT2 = {
    "vocab_size": VOCABULARY, "n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
}  # fmt: skip
RECURRENT = {key: value for key, value in SIZES.items() if key not in ("intermediate_size", "num_key_value_heads", "head_dim")}
QUICK = {
    "llama": ("llama", SIZES),
    "llama_tied": ("llama", SIZES | {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", SIZES),
    "mistral_window": ("mistral", SIZES | {"sliding_window": WINDOW}),
    "qwen2_window_in_one_layer": (
        "qwen2",
        SIZES | {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "gemma3_scaled_otherwise": ("gemma3_text", SIZES | {"sliding_window": WINDOW, "query_pre_attn_scalar": 24}),
    "gpt_neox": ("gpt_neox", SIZES),
    "gpt2": ("gpt2", GPT2),
    "phi_head_with_bias": ("phi", SIZES),
}
SLOW = {
    "gemma2_soft_caps": ("gemma2", SIZES | {"sliding_window": WINDOW, "query_pre_attn_scalar": 8}),
    "granite_scaled_logits": ("granite", SIZES | {"logits_scaling": 4.0}),
    "mamba": ("mamba", RECURRENT | {"state_size": 4}),
    "recurrent_gemma": ("recurrent_gemma", RECURRENT | {"lru_width": 32, "block_types": ["recurrent", "attention"]}),
    "bloom_distances_in_the_attention": ("bloom", {**RECURRENT, "n_head": 4, "n_layer": 2}),
}
UNPREPARED = {  # they raise where the quick way is tried
    "stablelm_borders_not_handed_on": ("stablelm", SIZES),
    "qwen3_next_packs_need_a_package": (
        "qwen3_next",
        SIZES
        | {"layer_types": ["linear_attention", "full_attention"], "num_experts": 2, "num_experts_per_tok": 1}
        | {"linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
        | {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 16},
    ),
}


@pytest.mark.parametrize("trains", ["everything", "adapter", "adapter_checkpointed"])
@pytest.mark.parametrize("case", QUICK)
def test_a_pack_gives_values_and_gradients_of_its_documents_alone(case, trains, monkeypatch):
    monkeypatch.setitem(likelihood.LOGITS_AT_ONCE, "cpu", 10 * VOCABULARY)  # several pieces, the last one shorter
    model = make_model(*QUICK[case])
    if "checkpointed" in trains:
        checkpoint_activations(model)
    model = (model if trains == "everything" else with_adapter(model)).train()
    own = model.config._attn_implementation
    expected = value_and_gradients(model, separate_nll, EXAMPLES)
    assert choose_nll(model, EXAMPLES, FLOAT32) is packed_nll
    assert own != PACKED_ATTENTION == model.config._attn_implementation
    assert model.training
    assert_equal(value_and_gradients(model, packed_nll, EXAMPLES), expected)


@pytest.mark.parametrize("case", SLOW)
def test_where_a_model_does_more_each_document_runs_by_itself(case):
    model = make_model(*SLOW[case])
    own = model.config._attn_implementation
    for training in (True, False):
        model.train(training)
        assert choose_nll(model, EXAMPLES, FLOAT32) is separate_nll
        assert model.training is training
    assert model.config._attn_implementation == own
    expected = []
    for example in EXAMPLES:
        logits = model(input_ids=torch.tensor([example.input_ids])).logits[0, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits, torch.tensor(example.labels[1:]), reduction="none")
        expected.append(losses[torch.tensor(example.labels[1:]) != IGNORE_INDEX])
    torch.testing.assert_close(separate_nll(model, EXAMPLES), torch.cat(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", UNPREPARED)
def test_a_model_that_fails_in_the_quick_way_takes_the_slow_one(case):
    model = make_model(*UNPREPARED[case])
    own = model.config._attn_implementation
    assert choose_nll(model, EXAMPLES[:1], FLOAT32) is separate_nll
    assert model.config._attn_implementation == own


@pytest.mark.parametrize("case", ["llama", "mistral_window"])
def test_in_bfloat16_a_pack_differs_by_rounding_alone(case):
    hardware = Hardware("cpu", "bfloat16")
    model = make_model(*QUICK[case])
    exact = value_and_gradients(with_adapter(copy.deepcopy(model)).train(), separate_nll, EXAMPLES)
    model = with_adapter(model.to(torch.bfloat16)).train()
    slow = value_and_gradients(model, separate_nll, EXAMPLES, hardware)
    assert choose_nll(model, EXAMPLES, hardware) is packed_nll
    quick = value_and_gradients(model, packed_nll, EXAMPLES, hardware)
    assert_equal(quick, slow, tolerance=0.1)
    errors = [torch.cat([(one[1][name] - each).flatten() for name, each in exact[1].items()]).norm() for one in (quick, slow)]
    assert errors[0] < 1.3 * errors[1], "the quick way should round no worse than the slow one"


def test_attention_on_a_cpu_rounds_once_also_under_autocast():
    """Autocast would compute it in bfloat16, which for short documents is slower too."""
    torch.manual_seed(0)
    parts = [3 * torch.randn(1, 2, 40, 8, dtype=torch.bfloat16) for _ in range(3)]
    borders = torch.tensor([0, 13, 40], dtype=torch.int32)
    expected, _ = attention.packed_attention(None, *(part.float() for part in parts), None, cu_seq_lens_q=borders)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = attention.packed_attention(None, *parts, None, cu_seq_lens_q=borders)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.bfloat16())


@pytest.mark.parametrize("longest", [4, 1024])
def test_attention_takes_queries_and_values_of_two_precisions_under_autocast(longest, monkeypatch):
    """So they are where the norms of queries and keys train in float32."""
    monkeypatch.setattr(attention, "LONGEST_IN_FLOAT32", longest)
    query, key, value = torch.randn(3, 1, 2, 40, 8)
    borders = torch.tensor([0, 13, 40], dtype=torch.int32)
    expected, _ = attention.packed_attention(None, query, key, value, None, cu_seq_lens_q=borders)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = attention.packed_attention(None, query, key, value.bfloat16(), None, cu_seq_lens_q=borders)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05, check_dtype=False)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("case", ["llama", "mistral_window", "gpt2"])
def test_what_one_document_says_changes_nothing_in_the_next(case, checkpointing):
    model = make_model(*QUICK[case]).train()
    if checkpointing:
        checkpoint_activations(model)
    choose_nll(model, EXAMPLES, FLOAT32)
    second = EXAMPLES[1]
    results = []
    for seed in (1, 2):
        first = make_example(9, seed)
        silent = first._replace(labels=[IGNORE_INDEX] * 9)
        results.append(value_and_gradients(model, packed_nll, [silent, second]))
    assert_equal(results[0], results[1], tolerance=1e-6)


@pytest.mark.parametrize("mistake", ["one_border", "full_window"])
def test_without_borders_or_window_the_quick_way_would_be_another(mistake, monkeypatch):
    """The traps are real: choose_nll sees them, so that the tests above can fail."""
    attend = PACKED_ATTENTION
    known = transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS[attend]

    def wrong(*args, cu_seq_lens_q, sliding_window=None, **options):
        borders = cu_seq_lens_q[[0, -1]] if mistake == "one_border" else cu_seq_lens_q
        return known(*args, cu_seq_lens_q=borders, sliding_window=None if mistake == "full_window" else sliding_window, **options)

    monkeypatch.setitem(transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS, attend, wrong)
    assert choose_nll(make_model(*QUICK["mistral_window"]), EXAMPLES, FLOAT32) is separate_nll


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("labels", [0, 1, 7, 33])
def test_the_head_in_pieces_is_the_head_at_once(bias, trained, labels, monkeypatch):
    torch.manual_seed(0)
    head = torch.nn.Linear(8, VOCABULARY, bias=bias).requires_grad_(trained)
    targets = torch.randint(VOCABULARY, (labels,))
    weights = torch.rand(labels)
    results = []
    for at_once in (1, 3 * VOCABULARY, 32 * VOCABULARY, 1 << 25):
        monkeypatch.setitem(likelihood.LOGITS_AT_ONCE, "cpu", at_once)
        hidden = torch.linspace(-2, 2, labels * 8).view(labels, 8).requires_grad_()
        head.zero_grad()
        losses = head_nll(hidden, head, targets)
        (losses * weights).sum().backward()
        results.append([losses.detach(), hidden.grad, *([parameter.grad for parameter in head.parameters()] if trained else [])])
    hidden = hidden.detach().requires_grad_()
    head.zero_grad()
    losses = torch.nn.functional.cross_entropy(head(hidden), targets, reduction="none")
    (losses * weights).sum().backward()
    expected = [losses.detach(), hidden.grad, *([parameter.grad for parameter in head.parameters()] if trained else [])]
    for found in results:
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("vocabulary", [100, 32_000, 49_152, 151_936, 262_144, 10_000_000])
def test_pieces_of_labels_have_few_lengths(vocabulary):
    """Each length is prepared for on a CPU; whatever multiple of 32 there is, what is left after pieces is of few lengths."""
    rows = likelihood.rows_at_once(torch.empty(vocabulary, 1))
    assert rows * vocabulary <= max(vocabulary, likelihood.LOGITS_AT_ONCE["cpu"])
    assert rows % likelihood.LABELS_IN_A_ROW == 0 or likelihood.LABELS_IN_A_ROW % rows == 0


def test_an_adapter_on_the_head_is_trained_too():
    """It begins as no change, so the comparison at the start cannot tell whether it is used."""
    model = with_new_adapter(make_model(*QUICK["llama"]), target_modules=["q_proj", "lm_head"]).train()
    nll = choose_nll(model, EXAMPLES, FLOAT32)
    found = value_and_gradients(model, nll, EXAMPLES)
    model.set_attn_implementation("sdpa")
    expected = value_and_gradients(model, separate_nll, EXAMPLES)
    assert any("lm_head" in name and gradient.norm() > 0 for name, gradient in expected[1].items())
    assert_equal(found, expected)


@pytest.mark.parametrize("case", ["llama", "phi_head_with_bias"])
def test_weights_that_are_no_numbers_are_left_to_the_trainer(case):
    model = make_model(*QUICK[case])
    torch.nn.init.constant_(model.get_output_embeddings().weight, float("nan"))
    own = model.config._attn_implementation
    nll = choose_nll(model, EXAMPLES, FLOAT32)
    assert nll is separate_nll
    assert model.config._attn_implementation == own
    assert nll(model, EXAMPLES).isnan().all()


def test_dropout_does_not_hide_that_both_ways_agree():
    model = with_adapter(make_model(*QUICK["llama"]), dropout=0.5).train()
    assert choose_nll(model, EXAMPLES, FLOAT32) is packed_nll
    assert model.training
    first, second = (packed_nll(model, EXAMPLES) for _ in range(2))
    assert (first - second).abs().max() > 0.01, "the test needs dropout that acts"
