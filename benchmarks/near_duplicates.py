"""The near-duplicate step alone, against datasketch and datatrove, on the same texts in the same run.

    pip install -r benchmarks/requirements.txt
    python -m benchmarks.near_duplicates [CONVERSATIONS [RUNS]]

All three get the same normalised texts, the same tokens (stages/lib/similarity) and 2-grams. Ours looks for all pairs with a
Jaccard index of 0.8; datasketch verifies at 0.8 those that share one of 16 buckets of 5 hashes; both keep a row that is like none
that is kept. datatrove joins what shares a bucket, as it is made to. Ours and
datasketch use one process, datatrove as many as there are cores.
"""

import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from benchmarks.conversations import make_conversations
from stages.clean.near_duplicates import find_originals
from stages.lib.records.conversation import normalize
from stages.lib.similarity.shingles import concatenate, shingle

TOKEN = re.compile(r"[a-z0-9]+|[㐀-鿿]")
THRESHOLD = 0.8
BANDS, ROWS = 16, 5  # of datasketch and datatrove: a pair at 0.8 shares a bucket with probability 0.998


def ours(texts: list[str]) -> set[int]:
    shingles = concatenate([shingle(texts[first : first + 1000]) for first in range(0, len(texts), 1000)])
    return set(find_originals(shingles, THRESHOLD))


def grams_of(text: str) -> set[bytes]:
    tokens = TOKEN.findall(text)
    return {f"{a} {b}".encode() for a, b in pairwise(tokens)}


def datasketch(texts: list[str]) -> set[int]:
    import datasketch
    import xxhash

    index = datasketch.MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    sets: dict[int, set[bytes]] = {}
    dropped = set()
    grams = [grams_of(text) for text in texts]
    hashes = datasketch.MinHash.generator(grams, num_perm=BANDS * ROWS, hashfunc=xxhash.xxh32_intdigest)
    for row, (found, signature) in enumerate(zip(grams, hashes, strict=True)):
        if any(len(found & sets[other]) >= THRESHOLD * len(found | sets[other]) for other in index.query(signature)):
            dropped.add(row)
        else:
            index.insert(row, signature, check_duplication=False)
            sets[row] = found
    return dropped


def datatrove(texts: list[str]) -> set[int]:
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Tokens(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return TOKEN.findall(text)

        def sent_tokenize(self, text: str) -> list[str]:
            return [text]

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            return [match.span() for match in TOKEN.finditer(text)]

    cores = len(os.sched_getaffinity(0))
    config = MinhashConfig(n_grams=2, num_buckets=BANDS, hashes_per_bucket=ROWS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "texts").mkdir()
        for part in range(cores):
            with (folder / "texts" / f"{part}.jsonl").open("w", encoding="utf-8") as file:
                for row in range(len(texts) * part // cores, len(texts) * (part + 1) // cores):
                    file.write(json.dumps({"id": str(row), "text": texts[row]}) + "\n")
        reader = JsonlReader(str(folder / "texts"))
        steps = [
            ([reader, MinhashDedupSignature(str(folder / "signatures"), config, language=Tokens())], cores),
            ([MinhashDedupBuckets(str(folder / "signatures"), str(folder / "buckets"), config=config)], BANDS),
            ([MinhashDedupCluster(str(folder / "buckets"), str(folder / "remove"), config=config)], 1),
            ([reader, MinhashDedupFilter(str(folder / "remove")), JsonlWriter(str(folder / "kept"), compression=None)], cores),
        ]
        for number, (pipeline, tasks) in enumerate(steps):
            logs = str(folder / f"logs{number}")
            LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=min(tasks, cores), logging_dir=logs).run()
        kept = {int(json.loads(line)["id"]) for path in (folder / "kept").glob("*.jsonl") for line in path.open(encoding="utf-8")}
    return set(range(len(texts))) - kept


def quality(dropped: set[int], ids: list[str]) -> str:
    """Of the planted duplicates, as ids name them: precision of what is dropped, recall, and recall by edited share."""
    planted = [row for row, id in enumerate(ids) if id.startswith(("exact", "edited"))]
    slightly = [row for row in planted if id_edits(ids[row]) <= 2]
    templates = [row for row, id in enumerate(ids) if id.startswith("template")]
    right = sum(row in dropped for row in planted)
    return (
        f"precision {right / max(1, len(dropped)):.3f}, recall {right / len(planted):.3f}, up to 2% edits "
        f"{sum(row in dropped for row in slightly) / len(slightly):.3f}, "
        f"templated kept {1 - sum(row in dropped for row in templates) / len(templates):.3f}"
    )


def id_edits(id: str) -> int:
    return 0 if id.startswith("exact") else int(re.findall(r"\d+", id)[0])


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    rows = list(make_conversations(number))
    ids = [row["id"] for row in rows]
    texts = [normalize("\n".join(message["content"] for message in row["messages"])) for row in rows]
    contenders: dict[str, Callable[[list[str]], set[int]]] = {"ours": ours, "datasketch": datasketch, "datatrove": datatrove}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(runs):
        for name, find in contenders.items():
            started = time.perf_counter()
            dropped = find(texts)
            times[name].append(time.perf_counter() - started)
            if len(times[name]) == runs:
                print(f"{name}: {len(dropped):,} dropped; {quality(dropped, ids)}", flush=True)
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name}: {median:.1f} s (median of {runs}), {median / statistics.median(times['ours']):.1f} times ours")


if __name__ == "__main__":
    main()
