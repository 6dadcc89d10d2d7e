"""Interleaves the contenders row by row and prints medians, and medians of the ratios.

All clusters run at the same time and are measured in turn, each round in another order, so that a
slow minute of the machine hits all of them.
"""

import json
import statistics
import tempfile
from pathlib import Path

from benchmark import load
from benchmark.contenders import Contender, Row, all_contenders, settle

ROWS = (
    Row("puts, 1 client", "put", 1, 1),
    Row("puts, 64 clients", "put", 64, 1),
    Row("puts, 64 clients x 16", "put", 64, 16),
    Row("gets, 1 client", "get", 1, 1),
    Row("gets, 64 clients", "get", 64, 1),
    Row("gets, 64 clients x 16", "get", 64, 16),
    Row(f"batches of {load.BATCH} puts, 16", "batch", 16, 1),
    Row(f"ranges of {load.RANGE:,}, 16", "range", 16, 1),
    Row("watch events, 100 watchers", "watch", 100, 1),
    Row("gRPC puts, 1 client", "put", 1, 1, is_grpc=True),
    Row("gRPC puts, 64 clients", "put", 64, 1, is_grpc=True),
    Row("gRPC puts, 64 clients x 16", "put", 64, 16, is_grpc=True),
    Row("gRPC gets, 64 clients", "get", 64, 1, is_grpc=True),
    Row("gRPC gets, 64 clients x 16", "get", 64, 16, is_grpc=True),
)
MEMORY = "MB per million keys"
RESTART = "restart with many keys, ms"

Samples = dict[str, list[float]]


def run(rounds: int, seconds: float, only: str, as_json: bool, memory_keys: int) -> int:
    """`memory_keys`: how many keys are written to see what they cost; 0 leaves those rows out."""
    rows = [row for row in ROWS if only in row.name]
    results: dict[str, Samples] = {}
    if rows:
        _run_rows(rows, rounds, seconds, results)
    wanted = [name for name in (MEMORY, RESTART) if only in name]
    if memory_keys and wanted:
        measured = _many_keys(memory_keys)
        for name in wanted:
            results[name] = measured[name]
            print(_line(name, results[name]), flush=True)
    print(
        "\nper second (but the last two), median; ratios are medians of each round's memory : other"
    )
    if as_json:
        print(json.dumps(results))
    return 0


def _run_rows(rows: list[Row], rounds: int, seconds: float, results: dict[str, Samples]) -> None:
    contenders = all_contenders()
    with tempfile.TemporaryDirectory(prefix="metastore-bench-") as folder:
        try:
            for contender in contenders:
                contender.start(Path(folder))
            for row in rows:
                if row.needs_keys:
                    for contender in contenders:
                        contender.fill(load.KEYS, load.key_of)
                results[row.name] = _measure(contenders, row, rounds, seconds)
                if not results[row.name]:
                    continue  # nobody here who could be asked so
                print(_line(row.name, results[row.name]), flush=True)
        finally:
            for contender in contenders:
                contender.stop()


def _many_keys(count: int) -> dict[str, Samples]:
    """Each cluster alone and new: what one node grew by, and how long all nodes take to be back
    after a kill."""
    samples: dict[str, Samples] = {MEMORY: {}, RESTART: {}}
    for contender in all_contenders():
        with tempfile.TemporaryDirectory(prefix="metastore-bench-") as folder:
            try:
                contender.start(Path(folder))
                before = contender.resident_bytes()
                if contender.fill(count, b"bench/memory/%09d".__mod__):
                    grown = contender.resident_bytes() - before
                    samples[MEMORY][contender.name] = [grown / 1e6 * 1e6 / count]
                    samples[RESTART][contender.name] = [contender.restart() * 1000]
            finally:
                contender.stop()
    return samples


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
    own = "memory" if "memory" in samples else "gateway"
    ours = samples[own]
    text = f"{name:28} {own:7} {statistics.median(ours):>10,.0f}"
    for other in ("rocksdb", "etcd", "pysyncobj"):
        theirs = samples.get(other)
        if theirs:
            ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
            text += f"   {other} {statistics.median(theirs):>10,.0f} ({ratio:.2f} x)"
    return text
