"""How long evaluate takes on made-up replies: python -m benchmarks.scoring [REPLIES]

Replies and references of chat length (log-normal, median 12 words, up to 200), one in two Chinese; base's are four times as long
and some of them are loops; in groups of 1 to 5. Everything that the stage does: figures of both models, three floors and another
model, claims, strata, tables.
"""

import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.data_stages import REPO
from stages.evaluate import __main__ as evaluate
from stages.lib.core.files import write_json, write_jsonl
from stages.lib.core.params import PARAMS, Yaml12Loader
from stages.lib.records.assignment import ASSIGNMENT
from stages.lib.records.conversation import conversations_of
from stages.lib.records.predictions import CONTENDERS, Conditions, blank, predictions_of, write_predictions
from stages.lib.records.scores import SCORES

OTHER, NO_VOTES = Path("data/hosted.jsonl"), Path("data/votes.jsonl")


def make_text(choose: random.Random, chinese: bool, times: float = 1) -> str:
    length = max(1, min(200, round(times * choose.lognormvariate(2.5, 0.8))))
    if chinese:
        return "".join(chr(0x4E00 + int(choose.expovariate(1 / 300)) % 3000) for _ in range(2 * length))
    return " ".join(f"word{int(choose.expovariate(1 / 400))}" for _ in range(length))


def make_run(folder: Path, number: int) -> None:
    """What evaluate reads, of so many test conversations with one reply each."""
    choose = random.Random(0)
    test, assignment, other = [], [], []
    rows: dict[str, list] = {name: [] for name in CONTENDERS}
    group = ""
    for at in range(number):
        id, chinese = f"made_up/{at:06}", at % 2 == 1
        group = id if not group or choose.random() < 0.4 else group
        texts = [make_text(choose, chinese) for _ in range(2)]
        messages = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), texts, strict=True)]
        conversation = {"id": id, "label": f"label {at % 12}", "language": "zh" if chinese else "en", "group": None}
        test.append(conversation | {"messages": messages})
        assignment.append({"id": id, "split": "test", "stratum": "", "group": group})
        loop = make_text(choose, chinese, 0.3) * 20 if choose.random() < 0.1 else make_text(choose, chinese, 4)
        for name, reply, nll in (("base", loop, 3.0), ("tuned", make_text(choose, chinese), 2.0)):
            labels = 1 + len(texts[1]) // 4
            scored = {"nll": labels * nll * choose.uniform(0.5, 1.5), "labels": labels, "verbatim": 0}
            replied = {"reply": reply, "reply_tokens": len(reply) // 4, "stopped": reply is not loop, "room": 200}
            rows[name].append(blank("test", id, 1) | scored | replied)
        other.append({"id": id, "reply": make_text(choose, chinese)})
    write_jsonl(folder / conversations_of("test"), test)
    write_jsonl(folder / conversations_of("train"), test[: max(1, number // 2)])
    write_jsonl(folder / ASSIGNMENT, assignment)
    write_jsonl(folder / OTHER, other)
    write_json(folder / "models/base.json", {"files": {}, "tokenizer": {}})
    conditions = Conditions(
        environment={}, decoding="greedy", batch_size=1, max_new_tokens=200, task="dialogue", task_reason="made up", labels=[]
    )
    for name, some in rows.items():
        write_predictions(folder / predictions_of(name), some, conditions)
    params = yaml.load((REPO / PARAMS).read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params["evaluate"] |= {"contenders": str(OTHER), "votes": str(NO_VOTES)}
    (folder / NO_VOTES).write_text("\n", encoding="utf-8")
    (folder / PARAMS).write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    (folder / "requirements").symlink_to(REPO / "requirements")
    (folder / SCORES).parent.mkdir(parents=True)


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        make_run(Path(name), number)
        wall, processor = time.perf_counter(), time.process_time()
        with contextlib.chdir(name):
            evaluate.main()
        seconds = time.perf_counter() - wall, time.process_time() - processor
        print(f"{number:,} replies of each model: {seconds[0]:.1f} s, of which {seconds[1]:.1f} s are of the processor")


if __name__ == "__main__":
    main()
