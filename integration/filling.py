"""Many keys into a cluster of node processes, quickly, with values that no compression shrinks.

What a key holds can be told from its number again, so that tests may look at any of them.
"""

import random
from collections.abc import Iterator

from metastore.client import Client, ops

BATCH_KEYS = 100
BATCH_BYTES = 64 << 10
TIMEOUT_S = 60.0  # of one batch in a long queue


def key_of(number: int) -> bytes:
    return b"large/%09d" % number


def value_of(number: int, size_bytes: int) -> bytes:
    return random.Random(number).randbytes(size_bytes)


def fill(client: Client, count: int, value_bytes: int, start: int = 0) -> None:
    """Writes keys `start` to `start + count`, several batches under way. Raises what any of them
    failed with."""
    with client.pipeline(window=16, timeout_s=TIMEOUT_S) as pipeline:
        futures = [
            pipeline.batch([ops.put(key_of(n), value_of(n, value_bytes)) for n in numbers])
            for numbers in _batches(start, count, value_bytes)
        ]
    for future in futures:
        future.result()


def _batches(start: int, count: int, value_bytes: int) -> Iterator[range]:
    step = max(1, min(BATCH_KEYS, BATCH_BYTES // value_bytes))
    for first in range(start, start + count, step):
        yield range(first, min(start + count, first + step))


def some_are_right(client: Client, count: int, value_bytes: int, sample: int = 200) -> None:
    """Reads the first, the last and `sample` others."""
    numbers = [0, count - 1, *random.Random(count).sample(range(count), min(sample, count))]
    for number in numbers:
        found = client.get(key_of(number))
        assert found is not None, f"key {number} is missing"
        assert found.value == value_of(number, value_bytes), f"key {number} holds something else"
