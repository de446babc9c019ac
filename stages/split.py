"""data/cleaned.jsonl -> data/split/{train,validation,test}.jsonl: exact to the row, stratified, groups kept whole.

data/split/assignment.jsonl says for each id which split, stratum and group it is in.
"""

import hashlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from stages.lib.conversations import (
    Conversation,
    messages_key,
    normalize,
    read_conversations,
    write_conversations,
    write_jsonl,
)
from stages.lib.errors import ReprotuneError, raise_first, run_stage
from stages.lib.params import Section, read_params
from stages.lib.requirements import check_installed

CLEANED = Path("data/cleaned.jsonl")
FOLDER = Path("data/split")
ASSIGNMENT = FOLDER / "assignment.jsonl"
SPLITS = ("train", "validation", "test")


class SplitParams(Section):
    seed: int
    train: float = Field(gt=0, lt=1)
    validation: float = Field(gt=0, lt=1)
    test: float = Field(gt=0, lt=1)
    stratify_by: list[Literal["label", "language", "turns", "length"]]
    keep_together: list[Literal["group", "prompt"]]

    @model_validator(mode="after")
    def shares_add_up(self) -> "SplitParams":
        if abs(self.train + self.validation + self.test - 1) > 1e-9:
            raise ValueError(f"train + validation + test is {self.train + self.validation + self.test:g}; expected 1")
        return self


class Group(NamedTuple):
    """Conversations that stay together. `rank`: the lowest seeded hash among its members, which orders groups."""

    rank: str
    stratum: str
    ids: tuple[str, ...]


def stratum_of(conversation: Conversation, stratify_by: list[str]) -> str:
    """Turns in the classes 1, 2-3, 4 and more; length in powers of four characters. No tokenizer: the same for each model."""
    turns = sum(message["role"] == "assistant" for message in conversation["messages"])
    characters = sum(len(message["content"]) for message in conversation["messages"])
    parts = {
        "label": conversation["label"] or "",
        "language": conversation["language"],
        "turns": "1 turn" if turns == 1 else "2-3 turns" if turns < 4 else "4+ turns",
        "length": f"{4 ** ((characters.bit_length() + 1) // 2)} characters",
    }
    return " / ".join(parts[name] for name in stratify_by)


def pool_small_strata(strata: dict[str, str], smallest: int) -> dict[str, str]:
    """Put the rows of strata with fewer than `smallest` rows into one."""
    sizes = Counter(strata.values())
    return {id: stratum if sizes[stratum] >= smallest else "(small strata)" for id, stratum in strata.items()}


def group_conversations(
    conversations: list[Conversation], strata: dict[str, str], keep_together: list[str], seed: int
) -> list[Group]:
    """Connected components of conversations that share a group or the normalised first user message, by rank."""
    parent = {row["id"]: row["id"] for row in conversations}

    def root(id: str) -> str:
        while parent[id] != id:
            parent[id] = parent[parent[id]]
            id = parent[id]
        return id

    first_with: dict[tuple[str, str], str] = {}
    for row in conversations:
        prompt = next((message["content"] for message in row["messages"] if message["role"] == "user"), None)
        shared = {"group": row["group"], "prompt": prompt and normalize(prompt)}
        for name in keep_together:
            if value := shared[name]:
                parent[root(row["id"])] = root(first_with.setdefault((name, value), row["id"]))
    members: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for id in parent:
        members[root(id)].append((hashlib.sha256(f"{seed}\n{id}".encode()).hexdigest(), id))
    groups = []
    for ranked in members.values():
        rank, first = min(ranked)
        groups.append(Group(rank, strata[first], tuple(sorted(id for _, id in ranked))))
    return sorted(groups)


def share_out(quota: int, sizes: dict[str, int]) -> dict[str, int]:
    """Integer quotas that add up to `quota`, in proportion to the sizes (largest remainder)."""
    total = sum(sizes.values())
    shares = {name: quota * size // total for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(quota * sizes[name] % total), name))
    for name in by_remainder[: quota - sum(shares.values())]:
        shares[name] += 1
    return shares


def assign_splits(groups: list[Group], quotas: dict[str, int]) -> dict[str, str]:
    """id -> split. In each stratum test takes the groups of lowest rank and validation those of highest.

    So a boundary moves little when data grows. A group that does not fit in what is left of a quota goes to train; a
    second pass over all strata then fills what is still short.
    """
    by_stratum: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        by_stratum[group.stratum].append(group)
    sizes = {stratum: sum(len(group.ids) for group in members) for stratum, members in by_stratum.items()}
    split_of: dict[str, str] = {}
    left = dict(quotas)

    def take(split: str, candidates: list[Group], room: int) -> None:
        for group in candidates:
            if group.rank not in split_of and len(group.ids) <= min(room, left[split]):
                split_of[group.rank] = split
                room -= len(group.ids)
                left[split] -= len(group.ids)

    for split, backwards in (("test", False), ("validation", True)):
        for stratum, room in sorted(share_out(quotas[split], sizes).items()):
            take(split, by_stratum[stratum][::-1] if backwards else by_stratum[stratum], room)
    for split, backwards in (("test", False), ("validation", True)):
        take(split, groups[::-1] if backwards else groups, left[split])
    return {id: split_of.get(group.rank, "train") for group in groups for id in group.ids}


def leaks(conversations: list[Conversation], split_of: dict[str, str]) -> list[str]:
    """Conversations of validation and test whose normalised text stands in train too."""
    train = {messages_key(row["messages"]): row["id"] for row in conversations if split_of[row["id"]] == "train"}
    return [
        f"{row['id']} ({split_of[row['id']]}): the same text as {twin} (train); set clean.duplicates, or add prompt to "
        "split.keep_together"
        for row in conversations
        if split_of[row["id"]] != "train" and (twin := train.get(messages_key(row["messages"])))
    ]


def main() -> None:
    check_installed("requirements/core.txt")
    params = read_params("split", SplitParams)
    conversations = read_conversations(CLEANED)
    total = len(conversations)
    quotas = {"validation": round(total * params.validation), "test": round(total * params.test)}
    strata = {row["id"]: stratum_of(row, params.stratify_by) for row in conversations}
    strata = pool_small_strata(strata, smallest=round(1 / min(params.validation, params.test)))
    groups = group_conversations(conversations, strata, params.keep_together, params.seed)
    split_of = assign_splits(groups, quotas)
    sizes = Counter(split_of.values())
    if empty := [split for split in SPLITS if not sizes[split]]:
        raise ReprotuneError(
            f"{CLEANED}: {total:,} conversations in {len(groups):,} groups are too few to split: {', '.join(empty)} would be "
            "empty; add data, or keep fewer conversations together (split.keep_together)"
        )
    raise_first(leaks(conversations, split_of))
    for split in SPLITS:
        write_conversations(FOLDER / f"{split}.jsonl", [row for row in conversations if split_of[row["id"]] == split])
    group_of = {id: group for group in groups for id in group.ids}
    write_jsonl(
        ASSIGNMENT,
        ({"id": id, "split": split_of[id], "stratum": strata[id], "group": group_of[id].ids[0]} for id in sorted(split_of)),
    )
    print("split: " + ", ".join(f"{sizes[split]:,} {split}" for split in SPLITS) + f"; {len(groups):,} groups")


if __name__ == "__main__":
    run_stage(main, outs=[ASSIGNMENT, *(FOLDER / f"{split}.jsonl" for split in SPLITS)], restore="dvc checkout split")
