"""Every causal language model of transformers, tiny and random, in both precisions: packed or one by one, right or not.

python -m benchmarks.architectures [KIND ...]    on a GPU where there is one
"""

import collections
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor

from tqdm import tqdm

from benchmarks.architectures.shapes import kinds
from benchmarks.architectures.trial import PRECISIONS, Result, Row, try_both


def describe(row: Row) -> str:
    """The outcome, under which a kind is listed."""
    wrong = []
    for precision, result in row.items():
        if isinstance(result, str):
            return f"fails in {precision}: {result}"
        if result.refused:
            return f"refused: {result.refused}"
        wrong += [f"{name} in {precision}" for name in result.wrong(precision)]
    packed = [isinstance(result, Result) and result.packed for result in row.values()]
    way = "packed" if all(packed) else "packed in one precision" if any(packed) else "one by one"
    return f"{way}, but for {', '.join(wrong)}" if wrong else way


def main() -> None:
    names = sys.argv[1:] or kinds()
    workers = min(8, os.cpu_count() or 1)  # each has a GPU's context of its own, half a GiB, where there is one
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        rows = dict(zip(names, tqdm(pool.map(try_both, names), total=len(names), disable=None), strict=True))
    outcomes = collections.defaultdict(list)
    for name, row in rows.items():
        outcomes[describe(row)].append(name)
    print("| outcome | architectures |\n|---|---|")
    for outcome, members in sorted(outcomes.items(), key=lambda item: -len(item[1])):
        print(f"| {outcome} ({len(members)}) | {', '.join(members)} |")
    results = {precision: [row[precision] for row in rows.values()] for precision in PRECISIONS}
    for precision, of_all in results.items():
        known = [result for result in of_all if isinstance(result, Result) and not result.refused]
        if known:
            worst = {name: max(getattr(each, name) for each in known) for name in ("loss", "gradients", "merged")}
            print(f"\n{precision}, at worst: " + ", ".join(f"{name} {value:.1e}" for name, value in worst.items()))


if __name__ == "__main__":
    main()
