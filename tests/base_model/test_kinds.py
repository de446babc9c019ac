"""What can't be trained is refused in one line that names it, before anything is computed; the ways out work."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from stages.base_model import __main__ as stage
from stages.lib.chat_template.tokenizer import load_tokenizer
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.weights import load_base_model

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY = 600
SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64, "pad_token_id": None, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path) -> Path:
    """The base model's folder in a project that needs no packages, which is the working directory."""
    shutil.copytree(tiny_model_folder, tmp_path / "model")
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "model"


def write_params(project: Path, trust_remote_code: bool = False) -> None:
    settings = {
        "source": "path", "name": "model", "path": "model", "revision": None, "trust_remote_code": trust_remote_code,
        "chat_template": None, "template_variables": {}, "template_date": "2026-01-01", "system_messages": "keep",
    }  # fmt: skip
    (project / "params.yaml").write_text(yaml.safe_dump({"base_model": settings}), encoding="utf-8")


def put(folder: Path, model: Any) -> None:
    """The model in place of the folder's, beside its tokenizer."""
    for path in [*folder.glob("*.safetensors*"), *folder.glob("*config.json")]:
        if path.name != "tokenizer_config.json":
            path.unlink()
    model.save_pretrained(folder)


def make(kind: str, head: str = "CausalLM", **sizes: Any) -> Any:
    torch.manual_seed(0)
    auto = getattr(transformers, f"AutoModelFor{head}")
    return auto.from_config(AutoConfig.for_model(kind, **SIZES | sizes))


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


def remove(folder: Path, name: str) -> None:
    change_tensors(folder, lambda tensors: tensors.__delitem__(name))


def spoil(folder: Path, name: str, value: float) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = tensors[name].clone()
        tensors[name].view(-1)[-1] = value

    change_tensors(folder, change)


def in_shards(folder: Path) -> list[Path]:
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="30KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    return shards


def without_a_tensor(shard: Path) -> str:
    tensors = load_file(shard)
    name = sorted(tensors)[-1]
    del tensors[name]
    save_file(tensors, shard, {"format": "pt"})
    return name


def lack_a_tensor_of_a_shard(folder: Path) -> None:
    without_a_tensor(in_shards(folder)[0])


def lack_a_shard(folder: Path) -> None:
    in_shards(folder)[1].unlink()


def forget_a_shard_s_tensor(folder: Path) -> None:
    """The index does not know of it either."""
    name = without_a_tensor(in_shards(folder)[0])
    index = folder / "model.safetensors.index.json"
    described = json.loads(index.read_text(encoding="utf-8"))
    del described["weight_map"][name]
    index.write_text(json.dumps(described), encoding="utf-8")


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def lack_an_expert(folder: Path) -> None:
    put(folder, make("mixtral", num_local_experts=3))
    with safe_open(folder / "model.safetensors", "pt") as file:
        name = next(name for name in sorted(file.keys()) if ".experts.1." in name)
    remove(folder, name)


def add_tokens(folder: Path, *tokens: str, **special: Any) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(folder, **special)
    tokenizer.add_tokens(list(tokens))
    tokenizer.save_pretrained(folder)
    return tokenizer


def add_adapter_files(folder: Path) -> None:
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), LoraConfig(target_modules=["q_proj"], r=2))
    model.save_pretrained(folder)


def leave_an_adapter_alone(folder: Path) -> None:
    add_adapter_files(folder)
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()


def put_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def rename_the_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")


def forget_what_it_is(folder: Path) -> None:
    put(folder, make("bert", "MaskedLM"))
    change_config(folder, architectures=None)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def write_index(folder: Path, text: str) -> None:
    in_shards(folder)
    write(folder, "model.safetensors.index.json", text)


def store_as(folder: Path, dtype: torch.dtype, **others: torch.Tensor) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors |= {name: tensor.to(dtype) for name, tensor in tensors.items() if name.endswith("up_proj.weight")}
        tensors |= {f"model.layers.0.mlp.up_proj.{name}": tensor for name, tensor in others.items()}

    change_tensors(folder, change)


def let_a_later_version_save_the_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    write(folder, "tokenizer.json", path.read_text(encoding="utf-8").replace('"BPE"', '"BytePatches"'))


T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
ANOTHER = r"; choose a decoder that writes text, such as Llama, Qwen or Mistral$"
REFUSED = {
    "untied head missing": (lambda f: remove(f, "lm_head.weight"), r"lacks lm_head\.weight, which would be drawn at random"),
    "norm missing": (
        lambda f: remove(f, "model.layers.1.input_layernorm.weight"), r"lacks model\.layers\.1\.input_layernorm\.weight, which",
    ),
    "shard lacks a tensor": (
        lack_a_tensor_of_a_shard, r"model-00001-of-\d+\.safetensors lacks \S+, which model\.safetensors\.index\.json says it",
    ),
    "shard missing": (lack_a_shard, r"model-00002-of-\d+\.safetensors: not found, but model\.safetensors\.index\.json names it"),
    "tensor in no shard": (forget_a_shard_s_tensor, r"lacks \S+, which would be drawn at random"),
    "file cut short": (cut_short, r"model\.safetensors: damaged, or not safetensors \(.*\); get the file again"),
    "expert missing": (lack_an_expert, r"lacks model\.layers\.0\.\w+\.experts\.1\.w1\.weight, which"),
    "another shape": (
        lambda f: change_config(f, intermediate_size=63),
        r"layers\.0\.mlp\.down_proj\.weight has the shape \[32, 64\], but config\.json makes it \[32, 63\] \(and 5 more\); take",
    ),
    "NaN": (lambda f: spoil(f, "model.layers.0.mlp.up_proj.weight", float("nan")), r"layers\.0\.mlp\.up_proj\.weight holds"),
    "infinity": (lambda f: spoil(f, "model.norm.weight", float("-inf")), r"model\.norm\.weight holds values that are no numbers"),
    "token beyond": (
        lambda f: add_tokens(f, "<more>", "<yet more>"),
        r"token '<more>' has the id (\d+), but the embeddings end at \d+ \(and 1 more such tokens\); resize them",
    ),
    "encoder-decoder": (lambda f: put(f, make("t5", "Seq2SeqLM", **T5)), rf"an encoder-decoder \(T5\w*\){ANOTHER}"),
    "masked": (
        lambda f: put(f, make("bert", "MaskedLM")), rf"holds a masked language model \(BertForMaskedLM\){ANOTHER}",
    ),
    "masked without saying so": (forget_what_it_is, rf"a model that sees the tokens it is to predict \(bert\){ANOTHER}"),
    "classifier": (
        lambda f: put(f, make("llama", "SequenceClassification")),
        rf"holds a classifier \(LlamaForSequenceClassification\){ANOTHER}",
    ),
    "classifier with tied embeddings": (  # whose head would not be missed
        lambda f: put(f, make("gpt2", "SequenceClassification", n_embd=16, n_head=2, n_layer=1)),
        rf"holds a classifier \(GPT2ForSequenceClassification\){ANOTHER}",
    ),
    "embedding model": (lambda f: put(f, make("llama", "CausalLM").model), r"lacks lm_head\.weight, which would be drawn at"),
    "pictures alone": (
        lambda f: put(f, transformers.ViTModel(transformers.ViTConfig(hidden_size=12, num_hidden_layers=1))),
        rf"holds ViTModel, of which transformers makes no model that writes text{ANOTHER}",
    ),
    "adapter alone": (leave_an_adapter_alone, r"model holds an adapter of \S+ alone; merge it into its base model"),
    "adapter beside a model": (add_adapter_files, r"model holds an adapter of \S+ beside a model; merge it into the model"),
    "unknown kind": (lambda f: change_config(f, model_type="none_such"), r"no config can be read from \S+: .*`none_such`"),
    "config of another type": (lambda f: change_config(f, hidden_size="wide"), r"no config can be read from \S+: .*hidden_size"),
    "layers without gradients": (
        lambda f: put(f, make("reformer", is_decoder=True, attn_layers=["local"], axial_pos_embds=False, feed_forward_size=16)),
        rf"whose layers pass on no gradient \(reformer\){ANOTHER}",
    ),
    "pickle": (put_a_pickle, r"holds no safetensors weights; convert the model first"),
    "config of no object": (lambda f: write(f, "config.json", "[]"), r"model/config\.json: expected a JSON object; get the file"),
    "config cut short": (lambda f: write(f, "config.json", '{"a"'), r"model/config\.json: expected a JSON object \(.*\); get"),
    "index cut short": (lambda f: write_index(f, "{"), r"index\.json: expected a JSON object \(.*\); get the file again"),
    "index without names": (lambda f: write_index(f, "{}"), r"index\.json: weight_map names no tensors and their files; get the"),
    "tokenizer config of no object": (lambda f: write(f, "tokenizer_config.json", "[]"), r"tokenizer_config\.json: expected a"),
    "tokenizer of no object": (lambda f: write(f, "tokenizer.json", "{}"), r"no tokenizer can be loaded: .*; get its files"),
    "tokenizer of a later version": (
        let_a_later_version_save_the_tokenizer, r"no tokenizer can be loaded: .* untagged enum .*; get its files again, or as",
    ),
    "activation unknown": (lambda f: change_config(f, hidden_act="none_such"), r"names 'none_such', which it does not know"),
    "whole numbers": (
        lambda f: store_as(f, torch.int8), r"though config\.json names no way: \S+up_proj\.weight has whole numbers \(I8\); take",
    ),
    "scales": (
        lambda f: store_as(f, torch.float8_e4m3fn, weight_scale_inv=torch.ones(1, 1)),
        r"though config\.json names no way: \S+up_proj\.weight has a scale beside it \(\S+weight_scale_inv\); take",
    ),
    "quantised as a text says": (lambda f: change_config(f, quantization_config="fp8"), r"holds quantised weights \(in a way it"),
    "weights of another name": (rename_the_weights, r"holds neither model\.safetensors nor model\.safetensors\.index\.json"),
} | {
    method: (lambda f, method=method: change_config(f, quantization_config={"quant_method": method}),
             rf"holds quantised weights \({method}\); take the model they were made from")
    for method in ("gptq", "awq", "bitsandbytes", "fp8", "mxfp4", "compressed-tensors")
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_trained_is_refused_in_one_line_that_names_it(folder: Path, kind: str) -> None:
    spoiling, expected = REFUSED[kind]
    spoiling(folder)
    with pytest.raises(ReprotuneError, match=expected) as error:
        stage.main()
    assert "\n" not in str(error.value)
    assert not Path("models/base.json").exists()


@pytest.mark.parametrize("name", ["float16", "float64", "float8_e4m3fn"])
def test_weights_in_any_floating_numbers_are_taken(folder: Path, name: str) -> None:
    store_as(folder, getattr(torch, name))
    stage.main()
    assert load_base_model("float32", "cpu")(input_ids=torch.tensor([[1, 2]])).logits.isfinite().all()


def test_attention_that_a_model_was_saved_with_need_not_be_installed(folder: Path) -> None:
    change_config(folder, _attn_implementation="flash_attention_2")
    stage.main()
    assert load_base_model("float32", "cpu").config._attn_implementation != "flash_attention_2"


def test_weights_saved_again_or_in_shards_are_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_shards(folder)
    stage.main()
    assert "not used" not in capsys.readouterr().out


def test_resized_embeddings_are_the_way_out_for_tokens_beyond_them(folder: Path) -> None:
    tokenizer = add_tokens(folder, "<more>")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    stage.main()
    assert load_tokenizer().convert_tokens_to_ids("<more>") == len(tokenizer) - 1


FOUR_BITS = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def put_in_four_bits(folder: Path) -> dict[str, torch.Tensor]:
    """gpt-oss as its authors publish it: two numbers a byte, 32 of them with one exponent. The experts' weights, dense."""
    sizes = {"hidden_size": 64, "intermediate_size": 32, "num_local_experts": 3, "num_experts_per_tok": 2}
    put(folder, make("gpt_oss", **sizes).to(torch.bfloat16))
    experts: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(0)

    def pack(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
            number, rows, columns = tensors.pop(name).shape
            blocks = torch.randint(0, 256, (number, columns, rows // 32, 16), dtype=torch.uint8, generator=generator)
            scales = torch.randint(118, 124, (number, columns, rows // 32), dtype=torch.uint8, generator=generator)
            halves = torch.stack([FOUR_BITS[(blocks & 15).long()], FOUR_BITS[(blocks >> 4).long()]], -1).flatten(-2)
            experts[name] = (halves * torch.exp2(scales.float() - 127)[..., None]).flatten(-2).transpose(1, 2)
            tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}

    change_tensors(folder, pack)
    change_config(folder, quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": ["model.embed_tokens"]})
    return experts


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_experts_in_gpt_oss_s_four_bits_are_made_dense_exactly(folder: Path, precision: str) -> None:
    experts = put_in_four_bits(folder)
    assert len(experts) == 2
    stage.main()
    found = load_base_model(precision, "cpu").state_dict()
    for name, dense in experts.items():
        assert torch.equal(found[name].float(), dense), name
        assert found[name].dtype == getattr(torch, precision)
    with pytest.raises(ReprotuneError, match=r"qlora can't quantise weights that are in 4 bits already; take lora$"):
        load_base_model(precision, "cpu", four_bit=True)


def test_four_bits_without_their_exponents_are_refused(folder: Path) -> None:
    put_in_four_bits(folder)
    remove(folder, "model.layers.0.mlp.experts.down_proj_scales")
    with pytest.raises(ReprotuneError, match=r"lacks model\.layers\.0\.mlp\.experts\.down_proj, which would be drawn"):
        stage.main()


def test_a_merged_adapter_is_the_way_out_for_one_alone_and_without_it_the_model_beside_one_is_taken(folder: Path) -> None:
    add_adapter_files(folder)
    shutil.copytree(folder, "adapter")
    (folder / "adapter_config.json").unlink()
    stage.main()
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), "adapter").merge_and_unload()
    shutil.rmtree("models")
    (folder / "adapter_model.safetensors").unlink()
    merged.save_pretrained(folder)
    stage.main()


def test_tensors_that_the_model_has_no_place_for_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["score.weight"] = torch.tensor([float("nan")])  # what is not used need be no number

    change_tensors(folder, change)
    stage.main()
    assert capsys.readouterr().out.endswith("; 1 tensors are not used (score.weight)\n")


def test_a_pad_id_beyond_the_embeddings_is_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = len(AutoTokenizer.from_pretrained(folder))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(folder)
    assert tokenizer.pad_token_id == rows
    change_config(folder, pad_token_id=rows)
    stage.main()
    assert capsys.readouterr().out.endswith("; tokens without an embedding are taken out: <pad>\n")
    again = load_tokenizer()
    assert (again.pad_token, len(again)) == ("<|im_end|>", rows)
    assert max(again("a <pad> b")["input_ids"]) < rows
    assert load_base_model("float32", "cpu")(input_ids=torch.tensor([[1, 2]])).logits.isfinite().all()


def test_a_token_for_pictures_without_an_embedding_is_taken_out_unless_the_template_writes_it(folder: Path) -> None:
    tokenizer = add_tokens(folder, extra_special_tokens={"image_token": "<image>"})
    rows = len(tokenizer) - 1
    stage.main()
    assert max(load_tokenizer()("an <image> here")["input_ids"]) < rows
    template = folder / "chat_template.jinja"
    template.write_text("<image>" + template.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ReprotuneError, match=rf"token '<image>' has the id {rows}, but the embeddings end at {rows - 1}; resize"):
        stage.main()


@pytest.mark.parametrize("kind", ["gpt2", "mixtral", "qwen3_moe", "gpt_oss", "mamba", "gpt_neox", "llama4_text"])
def test_decoders_of_other_families_are_taken(folder: Path, kind: str) -> None:
    own = {"gpt2": {"n_embd": 16, "n_head": 2, "n_layer": 1}, "mamba": {"state_size": 4}}
    experts = {"num_local_experts": 2, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
    put(folder, make(kind, **experts | own.get(kind, {})))
    stage.main()


OWN_CODE = """
import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

class OwnConfig(PreTrainedConfig):
    model_type = "own"
    def __init__(self, vocab_size=600, **rest):
        self.vocab_size = vocab_size
        super().__init__(**rest)

class OwnModel(PreTrainedModel):
    config_class = OwnConfig
    def __init__(self, config):
        super().__init__(config)
        self.embed = torch.nn.Embedding(config.vocab_size, 8)
        self.head = torch.nn.Linear(8, config.vocab_size, bias=False)
        self.post_init()
    def get_input_embeddings(self):
        return self.embed
    def forward(self, input_ids):
        return CausalLMOutput(logits=self.head(self.embed(input_ids)))
"""


def write_own_code(folder: Path) -> None:
    for path in folder.glob("model.safetensors"):
        path.unlink()
    (folder / "own.py").write_text(OWN_CODE, encoding="utf-8")
    code = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    config = {"model_type": "own", "architectures": ["OwnModel"], "vocab_size": VOCABULARY, "auto_map": code}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = {"embed.weight": torch.ones(VOCABULARY, 8), "head.weight": torch.ones(VOCABULARY, 8)}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_a_model_with_code_of_its_own_is_checked_alike_and_untrusted_it_does_not_run(folder: Path) -> None:
    write_own_code(folder)
    with pytest.raises(ReprotuneError, match=r"no config can be read from .*base_model\.trust_remote_code lets its code run"):
        stage.main()
    write_params(folder.parent, trust_remote_code=True)
    stage.main()
    remove(folder, "head.weight")
    with pytest.raises(ReprotuneError, match=r"lacks head\.weight, which would be drawn at random"):
        stage.main()


def test_code_beside_a_model_that_transformers_knows_does_not_run_untrusted(folder: Path) -> None:
    (folder / "own.py").write_text("raise SystemExit('it ran')", encoding="utf-8")
    change_config(folder, auto_map={"AutoModelForCausalLM": "own.OwnModel"})
    stage.main()


def tiny_llava() -> Any:
    text = transformers.LlamaConfig(**{**SIZES, "tie_word_embeddings": False})
    vision = transformers.CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                                           image_size=8, patch_size=4)  # fmt: skip
    torch.manual_seed(0)
    return transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_index=5)
    )


def test_a_layer_with_fewer_experts_than_the_config_says_is_told_by_its_shape(folder: Path) -> None:
    put(folder, make("mixtral", num_local_experts=2))
    change_config(folder, num_local_experts=3)
    with pytest.raises(ReprotuneError, match=r"has the shape \[2, .*but config\.json makes it \[3, "):
        stage.main()


def test_a_model_that_also_sees_pictures_is_taken_and_writes_text(folder: Path) -> None:
    put(folder, tiny_llava())
    stage.main()
    model = load_base_model("float32", "cpu")
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert model(input_ids=torch.tensor([[7, 8, 9]])).logits.shape == (1, 3, VOCABULARY)
