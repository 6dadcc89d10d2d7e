"""Storing many keys quickly and repeatably: batches of lines, several under way, repeated until
done.

Reading order 6 of the commands. Storing a pair twice gives the same pair, so a batch whose outcome
is unknown is sent again. Two batches with a key in common are never under way together, or a
repetition of the first could undo the second.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from metastore.client.client import Client
from metastore.client.command.lines import BadLine, decode_line
from metastore.client.errors import InvalidRequest, MetastoreError, OutcomeUnknown, Unavailable
from metastore.client.futures import Future, Pipeline
from metastore.client.results import BatchResult, Refused
from metastore.transport import schema

BATCH_KEYS_MAX = 128
BATCH_BYTES_MAX = 128 << 10  # of keys and values; one pair may be larger
IN_FLIGHT_MAX = 16
PATIENCE_S = 60.0  # without any batch stored, before giving up


@dataclass(slots=True)
class Batch:
    """Pairs of consecutive lines. `end_bytes` is where the last of them ends in the file."""

    first_line: int
    last_line: int = 0
    end_bytes: int = 0
    size_bytes: int = 0
    pairs: list[tuple[bytes, bytes]] = field(default_factory=list)
    line_numbers: list[int] = field(default_factory=list)


class LoadFailed(InvalidRequest):
    """A line that cannot be stored: its number and why."""


def read_batches(lines: Iterable[bytes]) -> Iterator[Batch]:
    """Raises LoadFailed at the first bad line; the batch it would be in is not handed out."""
    batch = Batch(1)
    end_bytes = 0
    for number, line in enumerate(lines, 1):
        end_bytes += len(line)
        if not line.strip():
            continue
        try:
            key, value = decode_line(line)
        except BadLine as error:
            raise LoadFailed(f"line {number}: {error}") from None
        size_bytes = len(key) + len(value)
        is_full = len(batch.pairs) >= BATCH_KEYS_MAX
        if batch.pairs and (is_full or batch.size_bytes + size_bytes > BATCH_BYTES_MAX):
            yield batch
            batch = Batch(number)
        batch.pairs.append((key, value))
        batch.line_numbers.append(number)
        batch.last_line, batch.end_bytes = number, end_bytes
        batch.size_bytes += size_bytes
    if batch.pairs:
        yield batch


class Loader:
    """Stores batches through a client. `on_stored` is called for each batch once it is
    acknowledged."""

    def __init__(
        self,
        client: Client,
        on_stored: Callable[[Batch], None],
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.keys_count = 0
        self.batches_count = 0
        self.repeated_count = 0
        self._on_stored = on_stored
        self._patience_s = patience_s
        self._stored_at = time.monotonic()
        self._under_way: deque[tuple[Batch, Future[list[BatchResult]]]] = deque()
        self._keys_under_way: set[bytes] = set()
        self._pipeline: Pipeline = client.pipeline(window=IN_FLIGHT_MAX)

    def load(self, batches: Iterable[Batch]) -> None:
        """Raises LoadFailed for what can never be stored, Unavailable or OutcomeUnknown when the
        cluster stored nothing for `patience_s` seconds. What is under way is waited for even
        then."""
        try:
            for batch in batches:
                keys = {key for key, _ in batch.pairs}
                while self._under_way and (
                    len(self._under_way) >= IN_FLIGHT_MAX or keys & self._keys_under_way
                ):
                    self._settle_first()
                self._send(batch)
                self._keys_under_way |= keys
        except LoadFailed:
            self._settle_all()
            raise
        self._settle_all()

    def _settle_all(self) -> None:
        while self._under_way:
            self._settle_first()

    def _send(self, batch: Batch) -> None:
        operations = [schema.put(key, value) for key, value in batch.pairs]
        try:
            future = self._pipeline.batch(operations)
        except InvalidRequest as error:
            raise LoadFailed(f"line {batch.first_line}: {error}") from None
        self._pipeline.send()
        self._under_way.append((batch, future))

    def _settle_first(self) -> None:
        """Takes the oldest batch to its end: stored, refused, or given up after repetitions."""
        batch, future = self._under_way.popleft()
        while True:
            try:
                results = future.result()
                break
            except (OutcomeUnknown, Unavailable) as error:
                self._check_patience(batch, error)
                self.repeated_count += 1
                operations = [schema.put(key, value) for key, value in batch.pairs]
                future = self._pipeline.batch(operations)
        for number, result in zip(batch.line_numbers, results, strict=True):
            if isinstance(result, Refused):
                raise LoadFailed(f"line {number}: {result.message}", result.code)
        self._stored_at = time.monotonic()
        self.batches_count += 1
        self.keys_count += len(batch.pairs)
        self._keys_under_way.difference_update(key for key, _ in batch.pairs)
        self._on_stored(batch)

    def _check_patience(self, batch: Batch, error: MetastoreError) -> None:
        if time.monotonic() - self._stored_at > self._patience_s:
            text = f"lines {batch.first_line} to {batch.last_line}: {error}"
            raise type(error)(f"{text}; run the same load again, repeating is safe") from error
