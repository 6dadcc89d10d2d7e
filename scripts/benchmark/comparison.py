"""Interleaves the contenders row by row and prints medians, and medians of the ratios.

All clusters run at the same time and are measured in turn, each round in another order, so that a
slow minute of the machine hits all of them.
"""

import json
import statistics
import tempfile
from pathlib import Path

from benchmark.contenders import Contender, Row, all_contenders, settle

ROWS = (
    Row("puts, 1 client", "put", 1, 1),
    Row("puts, 64 clients", "put", 64, 1),
    Row("puts, 64 clients x 16", "put", 64, 16),
    Row("gets, 1 client", "get", 1, 1),
    Row("gets, 64 clients", "get", 64, 1),
    Row("gets, 64 clients x 16", "get", 64, 16),
)

Samples = dict[str, list[float]]


def run(rounds: int, seconds: float, only: str, as_json: bool) -> int:
    rows = [row for row in ROWS if only in row.name]
    contenders = all_contenders()
    results: dict[str, Samples] = {}
    with tempfile.TemporaryDirectory(prefix="metastore-bench-") as folder:
        try:
            for contender in contenders:
                contender.start(Path(folder))
            for row in rows:
                results[row.name] = _measure(contenders, row, rounds, seconds)
                print(_line(row.name, results[row.name]), flush=True)
        finally:
            for contender in contenders:
                contender.stop()
    print("\noperations per second, median; ratios are medians of each round's ratio")
    if as_json:
        print(json.dumps(results))
    return 0


def _measure(contenders: list[Contender], row: Row, rounds: int, seconds: float) -> Samples:
    samples: Samples = {}
    for number in range(rounds):
        turn = number % len(contenders)
        for contender in contenders[turn:] + contenders[:turn]:
            rate = contender.measure(row, seconds)
            if rate is not None:
                samples.setdefault(contender.name, []).append(rate)
            settle()
    return samples


def _line(name: str, samples: Samples) -> str:
    ours = samples["metastore"]
    text = f"{name:24} metastore {statistics.median(ours):>10,.0f}"
    for other in ("etcd", "pysyncobj"):
        theirs = samples.get(other)
        if theirs:
            ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
            text += f"   {other} {statistics.median(theirs):>10,.0f} ({ratio:.2f} x)"
    return text
