"""A finished run made up in seconds, for controls: a model of two layers that knows answers to general prompts learns facts."""

import random
import shutil
from pathlib import Path
from typing import Any

import yaml

from benchmarks.conversations import SYLLABLES
from benchmarks.data_stages import REPO
from benchmarks.example_memory import make_model, run_stage
from stages.lib.core.files import read_jsonl, write_jsonl
from stages.lib.core.params import PARAMS, Yaml12Loader
from stages.lib.records.assignment import ASSIGNMENT
from stages.lib.records.conversation import conversations_of

THINGS = 12
SIZES = {"train": 96, "validation": 12, "test": 48}
PROMPTS = 24  # general ones, English
STEPS = 100  # of teaching the base model to answer these, with a learning rate of
GENERAL = 5e-3
# Such a model has forgotten the general prompts once it has learned the facts: this learns little of them.
GENTLE = {"learning_rate": 5e-5, "num_train_epochs": 2}


def make_word(choose: random.Random) -> str:
    return "".join(choose.choices(SYLLABLES, k=3))


def make_facts(seed: int = 0) -> dict[str, str]:
    """Thing -> what there is to say of it."""
    choose = random.Random(seed)
    return {make_word(choose): " ".join(make_word(choose) for _ in range(5)) for _ in range(THINGS)}


def make_splits() -> dict[str, list[dict[str, Any]]]:
    """Questions about the facts, none of them twice; the facts of test are those of train."""
    choose, facts = random.Random(1), make_facts()
    number, splits = 0, {}
    for split, size in SIZES.items():
        rows = []
        for _ in range(size):
            thing = choose.choice(list(facts))
            asked = {"role": "user", "content": f"Question {number}: what is {thing}?"}
            messages = [asked, {"role": "assistant", "content": facts[thing]}]
            rows.append({"id": f"facts/{number:04}", "label": None, "language": "en", "group": None, "messages": messages})
            number += 1
        splits[split] = rows
    return splits


def teach(folder: Path, prompts: list[dict[str, str]]) -> None:
    """The base model learns an answer of its own to each general prompt."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    choose = random.Random(2)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(0)
    texts = []
    for row in prompts:
        answer = " ".join(make_word(choose) for _ in range(6))
        messages = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": answer}]
        texts.append(tokenizer.apply_chat_template(messages, tokenize=False))
    batch = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=GENERAL)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)


def make_tiny_run(project: Path) -> None:
    """A project after its stages from `base_model` to `evaluate`; the splits are made up."""
    import torch

    project.mkdir()
    for name in ("stages", "requirements"):
        shutil.copytree(REPO / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    prompts = [row for row in read_jsonl(REPO / "data/retention.jsonl") if row["language"] == "en"][:PROMPTS]
    torch.manual_seed(0)
    make_model(project / "model", vocabulary=1000, hidden_size=128)
    teach(project / "model", prompts)
    write_params(project)
    write_jsonl(project / "data/retention.jsonl", prompts)
    for name in ("no_contenders.jsonl", "votes.jsonl"):
        shutil.copyfile(REPO / "data" / name, project / "data" / name)
    splits = make_splits()
    for split, rows in splits.items():
        write_jsonl(project / conversations_of(split), rows)  # type: ignore[arg-type]
    assigned = [
        {"id": row["id"], "split": split, "stratum": "", "group": row["id"]} for split, rows in splits.items() for row in rows
    ]
    write_jsonl(project / ASSIGNMENT, assigned)
    for stage, *arguments in (["base_model"], ["tokenize"], ["train"], ["predict", "base"], ["predict", "tuned"], ["evaluate"]):
        run_stage(project, stage, *arguments)


def write_params(project: Path) -> None:
    params = yaml.load((REPO / PARAMS).read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params["base_model"] |= {"source": "path", "name": "tiny", "path": str(project / "model"), "revision": None}
    params["train"] |= {
        "precision": "float32",
        "pack_length": 128,
        "num_train_epochs": 4,
        "learning_rate": 4e-3,
        "validations": 1,
    }
    params["predict"] |= {"precision": "float32", "task": "dialogue", "max_new_tokens": 24}
    (project / PARAMS).write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
