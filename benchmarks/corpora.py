"""From file to split: the packaged corpora and a dirty bilingual CSV in GB18030. What was dropped, leaks, balance, churn.

    python -m benchmarks.corpora

A leak is a held-out conversation with one in train that has the same normalised text or a Jaccard index of token pairs of at
least `split.leak`, counted by comparing all with all. Churn: of the rows split without a tenth, those that are elsewhere when
this tenth is there too; the mean over five tenths, taken by hash.
"""

import contextlib
import csv
import hashlib
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import yaml

from benchmarks.conversations import make_conversations
from stages.lib.collected import FOLDER
from stages.lib.core.files import read_jsonl
from stages.lib.core.params import PARAMS, Yaml12Loader, read_params
from stages.lib.records.assignment import ASSIGNMENT
from stages.lib.records.cleaned import CLEANED, LEDGER
from stages.lib.records.conversation import SPLITS, Message, conversations_of, normalize
from stages.lib.similarity.join import Joins
from stages.report.accounts import measure_balance, shares_of_strata
from stages.split.__main__ import SplitParams, split_rows
from stages.split.traits import describe_all

REPO = Path(__file__).parent.parent
PACKAGED = {"path": "requirements/corpora.txt"}
SOURCES: dict[str, dict[str, dict]] = {
    "chatterbot, English": {"english": {"format": "chatterbot", "language": "en", **PACKAGED}},
    "chatterbot, Chinese": {"chinese": {"format": "chatterbot", "language": "zh", **PACKAGED}},
    "chitchat": {"chitchat": {"format": "chitchat", **PACKAGED}},
    "dirty CSV, GB18030": {
        "dirty": {
            "format": "csv",
            "path": "data/raw/dirty.csv",
            "encoding": "gb18030",
            "columns": {"conversation": "会话", "role": "角色", "content": "内容", "label": "类别"},
            "roles": {"客户": "user", "客服": "assistant"},
        }
    },
}
TOKEN = re.compile(r"[㐀-鿿]|[^\W_㐀-鿿]+|[^\w\s]", re.UNICODE)


def dirty(choose: random.Random, text: str) -> str:
    """Now and then what exports do to a text."""
    changes: list[Callable[[str], str]] = [
        *[str] * 12,
        lambda text: f"<p>{text}</p><br/>",
        lambda text: f"  {text}\r\n\r\n\r\n",
        lambda text: text.encode().decode("gb18030", "ignore"),
        lambda text: f"{text} 电话13812345678，邮箱 li.lei@firm.cn",
        lambda text: f"{text}\u200b\u3000&nbsp;https://firm.cn/a?b=1",
        lambda text: f'=cmd|"/c calc"!A1 {text}',
        lambda _: "",
        lambda _: "您的会话已结束。",
    ]
    return choose.choice(changes)(text)


def write_dirty_csv(path: Path, number: int = 5000) -> None:
    """A row a message: planted duplicates, markup, mojibake, personal data, empty cells, several in a row from one side."""
    choose = random.Random(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="gb18030", errors="ignore", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["会话", "角色", "内容", "类别"])
        for row in make_conversations(number, seed=1):
            label = choose.choice(["物流", "退款", "发票", "billing", ""])
            for message in row["messages"]:
                for _ in range(choose.choice([1, 1, 1, 1, 2])):
                    name = {"user": "客户", "assistant": "客服"}[message["role"]]
                    writer.writerow([row["id"], name, dirty(choose, message["content"]), label])


def pairs_of(row: dict) -> frozenset:
    """Token pairs, by a tokeniser that shares no line with stages/lib/similarity/shingles.py."""
    tokens = TOKEN.findall("\n".join(normalize(message["content"]) for message in row["messages"]))
    return frozenset(pairwise(tokens)) if len(tokens) > 1 else frozenset(tokens)


def messages_key(messages: list[Message]) -> str:
    """What exact duplicates have in common: roles and normalised texts."""
    return json.dumps([[message["role"], normalize(message["content"])] for message in messages])


def count_leaks(train: list[dict], held_out: list[dict], threshold: float) -> int:
    """Held-out rows that stand in train too, all compared with all that share a token pair."""
    texts = {messages_key(row["messages"]) for row in train}
    sets = [pairs_of(row) for row in train]
    rows_with = defaultdict(list)
    for number, found in enumerate(sets):
        for pair in found:
            rows_with[pair].append(number)
    leaks = 0
    for row in held_out:
        own = pairs_of(row)
        common = Counter(number for pair in own for number in rows_with.get(pair, ()))
        near = any(shared >= threshold * (len(own) + len(sets[number]) - shared) for number, shared in common.items())
        leaks += near or messages_key(row["messages"]) in texts
    return leaks


def measure_churn(lines: list[bytes], params: SplitParams, number: int) -> tuple[float, int, int]:
    """(share of the earlier rows that move when a tenth comes on top, moves into or out of test, the same with a locked test)."""
    order = sorted(lines, key=lambda line: hashlib.sha256(b"%d" % number + line).digest())
    earlier = sorted(order[: len(order) * 10 // 11], key=lambda line: json.loads(line)["id"])
    ids = [json.loads(line)["id"] for line in earlier]
    traits = describe_all(earlier, params.stratify_by)
    before = dict(zip(ids, split_rows(traits, Joins(traits.shingles), 0, params).splits, strict=True))
    by_id = {json.loads(line)["id"]: line for line in lines}
    moved = {}
    for locked in ([], [id for id in ids if before[id] == "test"]):
        rows = locked + sorted(by_id.keys() - set(locked))
        traits = describe_all([by_id[id] for id in rows], params.stratify_by)
        after = dict(zip(rows, split_rows(traits, Joins(traits.shingles), len(locked), params).splits, strict=True))
        moved[bool(locked)] = [(before[id], after[id]) for id in ids if after[id] != before[id]]
    into_or_out = [sum("test" in pair for pair in pairs) for pairs in (moved[False], moved[True])]
    return len(moved[False]) / len(ids), into_or_out[0], into_or_out[1]


def random_split_leaks(rows: list[dict], threshold: float) -> float:
    """Of a tenth taken at random, as most scripts do, the share that stands in the other rows too."""
    shuffled = random.Random(0).sample(rows, len(rows))
    tenth = len(rows) // 10
    return count_leaks(shuffled[tenth:], shuffled[:tenth], threshold) / tenth


def measure(name: str, sources: dict[str, dict], folder: Path) -> None:
    for part in ("stages", "requirements"):
        shutil.copytree(REPO / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    params = yaml.load((REPO / PARAMS).read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params["collect"]["sources"] = sources
    (folder / PARAMS).write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    write_dirty_csv(folder / "data/raw/dirty.csv")
    shutil.copy(REPO / "data/no_locked_test.jsonl", folder / "data")
    for command in ("sources", f"collect {next(iter(sources))}", "clean", "split"):
        subprocess.run([sys.executable, "-m", *f"stages.{command}".split()], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with contextlib.chdir(folder):
        splits = {split: read_jsonl(conversations_of(split)) for split in SPLITS}
        ledger, assignment = read_jsonl(LEDGER), read_jsonl(ASSIGNMENT)
        collected = read_jsonl(next(FOLDER.glob("*.jsonl")))
        lines = CLEANED.read_bytes().splitlines(keepends=True)
        split = read_params("split", SplitParams)
    fates = Counter(row["reason"] or row["fate"] for row in ledger)
    leaks = count_leaks(splits["train"], splits["validation"] + splits["test"], split.leak)
    churn, moved, moved_locked = map(statistics.mean, zip(*(measure_churn(lines, split, n) for n in range(5)), strict=True))
    print(f"{name}: {len(ledger):,} conversations; " + ", ".join(f"{count:,} {fate}" for fate, count in sorted(fates.items())))
    print("    " + " / ".join(f"{len(rows):,} {name}" for name, rows in splits.items()), end="; ")
    print(f"leaked: {leaks} (a random tenth before cleaning: {random_split_leaks(collected, split.leak):.0%})", end="; ")
    print(f"imbalance of test: {measure_balance(shares_of_strata(assignment))['imbalance_test']:.3f}")
    print(
        f"    10% more rows: {churn:.1%} move, {moved:.0f} into or out of test, {moved_locked:.0f} with a locked test", flush=True
    )


def main() -> None:
    os.environ["TQDM_DISABLE"] = "1"
    for name, sources in SOURCES.items():
        with tempfile.TemporaryDirectory() as folder:
            measure(name, sources, Path(folder))


if __name__ == "__main__":
    main()
