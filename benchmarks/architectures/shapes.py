"""Tiny configurations of every causal language model that transformers has, and of some kinds of them that differ in the maths.

Each is as small as its code allows, and does what the large ones do: a window shorter than the documents, one layer of each kind,
experts of which some are chosen, rotations that change within the documents' lengths.
"""

from typing import Any

Sizes = dict[str, Any]

VOCABULARY = 128
WINDOW = 5
# Under the names that most configurations share; one takes what it knows.
USUAL: Sizes = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "sliding_window": WINDOW, "n_embd": 32, "n_head": 4,
    "n_layer": 2, "n_positions": 128, "d_model": 32, "n_heads": 4, "n_layers": 2, "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
    "num_experts_per_tok": 2,
}  # fmt: skip
TOKENS: Sizes = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

LATENT: Sizes = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8,
    "num_key_value_heads": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
}  # fmt: skip
INDEXED: Sizes = LATENT | {"index_topk": 4, "index_n_heads": 2, "index_head_dim": 16}
MAMBA: Sizes = {"mamba_d_state": 8, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_expand": 2, "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
}  # fmt: skip
DELTA: Sizes = {
    "linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
}  # fmt: skip
KIMI: Sizes = LATENT | {
    "linear_head_dim": 8, "linear_num_heads": 2, "num_expert_group": 1, "num_experts_per_token": 2,
    "layer_types": ["linear_attention", "full_attention"], "mlp_layer_types": ["dense", "sparse"],
}  # fmt: skip
WINDOW_IN_ONE_LAYER: Sizes = {"use_sliding_window": True, "max_window_layers": 1}
INKLING: Sizes = {
    "swa_num_attention_heads": 4, "swa_num_key_value_heads": 2, "swa_head_dim": 8, "sliding_window_size": WINDOW, "d_rel": 4,
    "rel_extent": 16, "layer_types": ["hybrid_sliding", "hybrid"],
}  # fmt: skip
PER_LAYER_INPUT: Sizes = {"vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8}

OWN: dict[str, Sizes] = {
    "axk1": LATENT,
    "axk2": INDEXED,
    "bailing_hybrid": KIMI | {"topk_group": 1},
    "bamba": MAMBA | {"attn_layer_indices": [1]},
    "codegen": {"rotary_dim": 4},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 1e4}, "full_attention": None},
    },
    "ctrl": {"dff": 48},
    "dbrx": {
        "max_seq_len": 128, "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"hidden_size": 32, "ffn_hidden_size": 16},
    },
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "deepseek_v32": INDEXED,
    "deepseek_v4": {
        "num_key_value_heads": 1, "q_lora_rank": 16, "o_groups": 2, "o_lora_rank": 16, "index_n_heads": 2, "index_head_dim": 8,
        "index_topk": 4, "head_dim": 16, "qk_rope_head_dim": 8, "mlp_layer_types": ["hash_moe", "moe"],
        "layer_types": ["heavily_compressed_attention", "compressed_sparse_attention"],
    },
    "dots1": {"n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1},
    "dots3_note_text": INDEXED | {
        "head_dim": 16, "layer_types": ["indexed_attention", "sliding_attention"], "mlp_layer_types": ["dense", "sparse"],
        "shared_experts_intermediate_size": 16, "per_layer_config": None,
    },
    "falcon_h1": MAMBA | {"mamba_d_ssm": 64},
    "falcon_mamba": {"state_size": 8},
    "gemma3n_text": PER_LAYER_INPUT | {
        "num_hidden_layers": 4, "num_kv_shared_layers": 0, "laurel_rank": 4, "activation_sparsity_pattern": [0.5] + [0.0] * 3,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "gemma4_text": PER_LAYER_INPUT | {"per_layer_config": None, "global_head_dim": 8},
    "gemma4_unified_text": {"per_layer_config": None},
    "glm4_moe_lite": LATENT,
    "glm_moe_dsa": INDEXED,
    "gpt_neo": {"num_heads": 4, "num_layers": 2, "attention_types": [[["global", "local"], 1]], "window_size": WINDOW},
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": MAMBA | {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 48},
    "hy_v4": INDEXED | {
        "head_dim": 8, "layer_types": ["indexed_attention"] * 2, "mlp_layer_types": ["dense", "sparse"],
        "indexer_types": ["full", "shared"],
    },
    "inkling2_text": INKLING,
    "inkling_text": INKLING | {"n_shared_experts": 1},
    "jamba": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 8,
        "mamba_dt_rank": 4, "use_mamba_kernels": False,
    },
    "jetmoe": {"kv_channels": 8},
    "kimi_linear": KIMI,
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "lfm3": {"layer_types": ["conv", "full_attention"]},
    "longcat_flash": LATENT | {
        "num_layers": 1, "ffn_hidden_size": 48, "expert_ffn_hidden_size": 16, "moe_topk": 2, "zero_expert_num": 1,
    },
    "mamba": {"state_size": 8},
    "mamba2": {"num_heads": 8, "state_size": 8, "n_groups": 1, "chunk_size": 8},
    "minicpm3": LATENT,
    "minimax_m3_vl_text": {"shared_intermediate_size": 16},
    "nemotron_h": {
        "num_hidden_layers": 3, "layers_block_type": ["mamba", "attention", "mlp"], "mamba_num_heads": 8, "mamba_head_dim": 8,
        "ssm_state_size": 8, "n_groups": 1, "chunk_size": 8,
    },
    "olmo_hybrid": DELTA,
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "phimoe": {"router_jitter_noise": 0.0, "input_jitter_noise": 0.0},
    "qwen2": WINDOW_IN_ONE_LAYER,
    "qwen3": WINDOW_IN_ONE_LAYER,
    "qwen3_5_moe_text": DELTA,
    "qwen3_5_text": DELTA,
    "qwen3_next": DELTA,
    "qwen4_exp_text": DELTA | {
        "indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8, "indexer_budget": 4, "indexer_compress_ratio": 2,
        "layer_types": ["linear_attention", "indexed_attention"], "hc_lowrank": 4,
    },
    "recurrent_gemma": {"lru_width": 32, "block_types": ["recurrent", "attention"], "attention_window_size": WINDOW},
    "xglm": {"ffn_dim": 48, "num_layers": 2, "attention_heads": 4},
    "youtu": LATENT,
    "zamba": {
        "num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid"] * 2, "mamba_d_state": 8, "attention_head_dim": 16,
        "attention_hidden_size": 64, "mamba_dt_rank": 4, "use_mamba_kernels": False,
    },
    "zamba2": {
        "num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid"] * 2, "hybrid_layer_ids": [1, 3], "mamba_d_state": 8,
        "mamba_headdim": 8, "n_mamba_heads": 8, "adapter_rank": 4, "use_mamba_kernels": False, "chunk_size": 8,
    },
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 8, "layer_types": ["hybrid"] * 2},
}  # fmt: skip

# Of a kind, what some of its models do otherwise: name -> (kind, changes).
VARIANTS: dict[str, tuple[str, Sizes]] = {
    "cohere, norms of queries": ("cohere", {"use_qk_norm": True}),
    "llama, dynamic RoPE": (
        "llama", {"max_position_embeddings": 16, "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}},
    ),
    "llama, YaRN": (
        "llama",
        {"rope_parameters": {
            "rope_type": "yarn", "rope_theta": 1e4, "factor": 8.0, "original_max_position_embeddings": 16,
        }},
    ),
    "phi3, long RoPE": (
        "phi3",
        {
            "max_position_embeddings": 128, "original_max_position_embeddings": 16,
            "rope_parameters": {
                "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [4.0, 6.0, 8.0, 10.0],
                "original_max_position_embeddings": 16,
            },
        },
    ),
}  # fmt: skip
# Not decoders of text alone: encoders, decoders of an encoder's states, of pictures or sounds, helpers of another model.
ENCODERS = [
    "bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "rembert",
    "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm", "xlm-roberta", "xlm-roberta-xl", "xlnet", "xmod",
]  # fmt: skip
HALVES = [
    "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "marian", "mbart", "mvp", "pegasus", "plbart",
    "prophetnet", "trocr", "whisper", "musicgen", "musicgen_melody", "moshi", "gemma4_assistant",
    "gemma4_unified_assistant", "blt",
]  # fmt: skip
MULTIMODAL = [
    "dots3_note", "emu3", "fuyu", "gemma3", "gemma3n", "gemma4", "gemma4_unified", "git", "got_ocr2", "llama4", "mllama",
    "moss_transcribe_diarize", "phi4_multimodal", "qwen3_5", "qwen3_5_moe", "qwen4_exp",
]  # fmt: skip
OF_ANOTHER_CLASS = ["gpt-sw3", "internlm3", "iquestcoder"]  # GPT-2 and Llama by another name
NOT_TRAINED = ["cpmant", "reformer", "xlstm"]  # see the tests


def kinds() -> list[str]:
    """All that are tried: model types, then variants."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    left_out = {*ENCODERS, *HALVES, *MULTIMODAL, *OF_ANOTHER_CLASS, *NOT_TRAINED}
    return [name for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if name not in left_out] + list(VARIANTS)


def make_config(kind: str, **changes: Any) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    name, own = VARIANTS.get(kind, (kind, {}))
    known = CONFIG_MAPPING[name]().to_dict()
    usual = {key: value for key, value in USUAL.items() if key in known}
    usual |= {key: 0.0 for key, value in known.items() if "drop" in key and isinstance(value, float)}
    return CONFIG_MAPPING[name](**usual | TOKENS | OWN.get(name, {}) | own | changes)
