"""Before the first step: which way is right for a model is seen in float32 and by gradients, whatever the run's precision is."""

from typing import Any

import pytest
import torch
import transformers
from training import EXAMPLES, FLOAT32, SIZES, VOCABULARY, make_example, make_model, with_adapter

from benchmarks.architectures.shapes import make_config
from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.hardware import Hardware
from stages.lib.model.packs import collate_pack, label_nll
from stages.train import attention
from stages.train.comparison import choose_nll, packed_attention_of
from stages.train.float32 import computing_in_float32
from stages.train.likelihood import packed_nll, separate_nll

pytestmark = pytest.mark.usefixtures("one_thread")

BFLOAT16 = Hardware("cpu", "bfloat16")
DYNAMIC = SIZES | {
    "max_position_embeddings": 64,
    "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
}
LONG = {"long_factor": [4.0, 6.0, 8.0, 10.0], "short_factor": [1.0] * 4, "original_max_position_embeddings": 64}
LONG_ROPE = SIZES | {
    "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, **LONG},
    "original_max_position_embeddings": 64,
}
IDS = [VOCABULARY - 1 - at for at in range(20)]


def make_faint(kind: str, precision: str = "bfloat16") -> Any:
    """With weights as small as transformers begins with: what leaks changes a likelihood by less than bfloat16 rounds."""
    torch.manual_seed(0)
    config = make_config(kind, vocab_size=VOCABULARY)
    return transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, precision)).eval()


@pytest.mark.parametrize("hardware", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["lfm2", "bamba", "jamba"])
def test_states_that_run_on_into_the_next_document_are_seen_however_little_they_change(kind, hardware, capsys):
    model = make_faint(kind, hardware.precision)
    own = model.config._attn_implementation
    assert choose_nll(model, EXAMPLES, hardware, quiet=False) is separate_nll
    assert model.config._attn_implementation == own
    assert capsys.readouterr().err == (
        "train: conversations run one by one, not packed: in this model they would see each other\n"
    )


@pytest.mark.parametrize("hardware", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(("kind", "sizes"), [("llama", DYNAMIC), ("phi3", LONG_ROPE)], ids=["dynamic", "longrope"])
def test_rotations_that_the_longest_document_decides_for_all_are_seen(kind, sizes, hardware):
    model = make_model(kind, sizes).to(getattr(torch, hardware.precision))
    assert choose_nll(model, [*EXAMPLES, make_example(100, 1)], hardware) is separate_nll
    assert choose_nll(model, EXAMPLES, hardware) is packed_nll, "within the usual context they are as for any Llama"


def test_dynamic_rotations_do_not_depend_on_the_rows_before():
    model = make_model("llama", DYNAMIC)
    long, middle = make_example(160, 1), make_example(80, 2)
    alone = label_nll(model, collate_pack([middle]))
    assert not torch.allclose(label_nll(model, collate_pack([long]))[:5], alone[:5])
    assert torch.equal(label_nll(model, collate_pack([middle])), alone)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("kind", "asked"),
    [("gpt_oss", "s_aux"), ("gemma2", "softcap"), ("doge", "a mask of its own"), ("inkling_text", "position_bias")],
)
def test_attention_that_is_asked_for_more_than_it_computes_is_not_used(kind, asked, precision, capsys):
    hardware = Hardware("cpu", precision)
    assert choose_nll(make_faint(kind, precision), EXAMPLES, hardware, quiet=False) is separate_nll
    assert capsys.readouterr().err.endswith(f"not packed: its attention takes {asked}\n")


@pytest.mark.parametrize(
    "option", [{"sinks": torch.zeros(2)}, {"softcap": 50.0}, {"of_another_version": 0}, {"is_causal": False}]
)
def test_an_argument_that_the_attention_does_not_know_is_refused(option):
    query, key, value = torch.randn(3, 1, 2, 8, 4)
    borders = torch.tensor([0, 8], dtype=torch.int32)
    known = {"position_ids": torch.arange(8)[None], "max_length_q": 8, "cu_seq_lens_k": borders, "output_attentions": False}
    attention.packed_attention(None, query, key, value, None, cu_seq_lens_q=borders, softcap=None, s_aux=None, **known)
    with pytest.raises(TypeError, match="its attention"):
        attention.packed_attention(None, query, key, value, None, cu_seq_lens_q=borders, **option)
    with pytest.raises(TypeError, match="its attention takes a mask of its own"):
        attention.packed_attention(None, query, key, value, torch.ones(1, 1, 8, 8), cu_seq_lens_q=borders)


@pytest.mark.parametrize("hardware", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["nanochat", "beam", "cohere"])
def test_a_head_that_does_more_is_seen_also_where_logits_are_small(kind, hardware):
    assert choose_nll(make_faint(kind, hardware.precision), EXAMPLES, hardware) is separate_nll


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "gemma3_text", "phi3"])
@pytest.mark.parametrize("hardware", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
def test_the_usual_decoders_are_packed(kind, hardware):
    model = with_adapter(make_faint(kind, hardware.precision), dropout=0.1)
    assert choose_nll(model, EXAMPLES, hardware) is packed_nll


def test_a_model_in_bfloat16_computes_in_float32_for_a_while_and_is_then_as_it_was():
    model = make_model("llama", SIZES | {"tie_word_embeddings": True}).to(torch.bfloat16)
    before = {name: (parameter.data_ptr(), parameter.clone()) for name, parameter in model.named_parameters()}
    exact = make_model("llama", SIZES | {"tie_word_embeddings": True}).to(torch.bfloat16).float()
    with torch.no_grad():
        for way in (separate_nll, packed_nll):
            with computing_in_float32(model):
                if way is packed_nll:
                    with packed_attention_of(model), packed_attention_of(exact):
                        found, expected = packed_nll(model, EXAMPLES), packed_nll(exact, EXAMPLES)
                else:
                    found, expected = separate_nll(model, EXAMPLES), separate_nll(exact, EXAMPLES)
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    for name, parameter in model.named_parameters():
        assert parameter.data_ptr() == before[name][0]
        assert torch.equal(parameter, before[name][1])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_weights_are_put_back_also_where_a_layer_fails():
    model = make_model("llama", SIZES).to(torch.bfloat16)
    model.model.layers[1].forward = lambda *_args, **_options: 1 / 0
    with pytest.raises(ZeroDivisionError), computing_in_float32(model):
        model(input_ids=torch.tensor([IDS]))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_model_that_sees_what_it_predicts_is_refused_in_one_line():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48
    )
    with pytest.raises(ReprotuneError, match=r"base model \(bert\) sees the tokens that it is to predict") as error:
        choose_nll(transformers.BertLMHeadModel(config), EXAMPLES, FLOAT32)
    assert "\n" not in str(error.value)
    config.is_decoder = True
    assert choose_nll(transformers.BertLMHeadModel(config), EXAMPLES, FLOAT32) is separate_nll


def test_an_example_beyond_the_context_is_told_with_both_lengths():
    sizes = {"vocab_size": VOCABULARY, "n_embd": 32, "n_head": 4, "n_layer": 1, "n_positions": 24}
    with pytest.raises(ReprotuneError, match=r"longest example has 30 tokens.* \(gpt2\) has a context of 24.*max_length to 24"):
        choose_nll(make_model("gpt2", sizes), EXAMPLES, FLOAT32)


def test_rows_of_training_that_are_longer_than_a_model_s_context_are_tried():
    sizes = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "num_heads": 4, "num_layers": 2, "max_position_embeddings": 100,
        "attention_types": [[["global"], 2]], "intermediate_size": 48, "resid_dropout": 0.0, "embed_dropout": 0.0,
    }  # fmt: skip
    model = make_model("gpt_neo", sizes)
    assert choose_nll(model, EXAMPLES[:3], FLOAT32, tokens_at_once=64) is packed_nll
    model.set_attn_implementation("eager")
    assert choose_nll(model, EXAMPLES[:3], FLOAT32, tokens_at_once=256) is separate_nll


class TakesLittle(torch.nn.Module):
    """A model whose forward takes neither positions nor `logits_to_keep`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config, self.device = model, model.config, model.device

    def forward(self, input_ids: torch.Tensor, use_cache: bool | None = None) -> Any:
        return self.model(input_ids=input_ids, use_cache=use_cache)


def test_a_forward_function_that_takes_no_positions_gives_the_same_likelihoods():
    model = make_model("llama", SIZES)
    torch.testing.assert_close(separate_nll(TakesLittle(model), EXAMPLES), separate_nll(model, EXAMPLES))
    silent = EXAMPLES[0]._replace(labels=[IGNORE_INDEX] * len(EXAMPLES[0].labels))
    assert len(separate_nll(TakesLittle(model), [silent])) == 0
