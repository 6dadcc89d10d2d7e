"""What a Raft log of any engine refuses to be given, and the little it remembers to know that.

Reading order 3 of the engines. Pure: no bytes, no files. What recovery would refuse must never be
written in the first place.
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from metastore.engines.contract import LogEntry, SnapshotMeta


class TermRuns:
    """Terms of the entries in the log as (first index, term) runs: a handful, however long the
    log."""

    def __init__(self, base_index: int, base_term: int) -> None:
        self._first = array("Q", [base_index])
        self._term = array("Q", [base_term])
        self.last_index = base_index

    def append(self, index: int, term: int) -> None:
        """`index` at or before the end overwrites: it takes everything after it along."""
        while len(self._first) > 1 and self._first[-1] >= index:
            self._first.pop()
            self._term.pop()
        if term != self._term[-1]:
            self._first.append(index)
            self._term.append(term)
        self.last_index = index

    def term_or_none(self, index: int) -> int | None:
        if not self._first[0] <= index <= self.last_index:
            return None
        return self._term[bisect_right(self._first, index) - 1]

    def start_at(self, index: int, term: int) -> None:
        """Forgets what lies before `index`, which the log holds with this term."""
        run = bisect_right(self._first, index) - 1
        self._first = array("Q", [index]) + self._first[run + 1 :]
        self._term = array("Q", [term]) + self._term[run + 1 :]


def check_order(
    entries: Sequence[LogEntry],
    snapshot: SnapshotMeta | None,
    base: int,
    terms: TermRuns,
    data_bytes_max: int,
) -> None:
    """Whether this may be appended to a log of `terms` over a snapshot at index `base`. Raises
    ValueError."""
    last, term = terms.last_index, 0
    if snapshot is not None and snapshot.index > base:
        kept = terms.term_or_none(snapshot.index) == snapshot.term
        base, last = snapshot.index, last if kept else snapshot.index
        term = snapshot.term
    for entry in entries:
        if not base < entry.index <= last + 1:
            raise ValueError(f"entry {entry.index} does not fit a log of {base + 1} to {last}")
        term = term or terms.term_or_none(entry.index - 1) or 0
        if entry.term < term:
            raise ValueError(f"entry {entry.index} has term {entry.term} after {term}")
        if len(entry.data) > data_bytes_max:
            raise ValueError(f"entry {entry.index} has {len(entry.data)} bytes")
        last, term = entry.index, entry.term
