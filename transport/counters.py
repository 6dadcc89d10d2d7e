"""Counters by peer and reason. Plain dictionaries of one owner thread; readers get copies.

Reading order 5. Peers here are only ids we know, and 0 for everybody else, so that hostile input
cannot grow the tables.
"""

ANYBODY = 0  # strangers, and clients, are counted together


class Counters:
    """How often something happened, per (peer, reason)."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[tuple[int, str], int] = {}

    def count(self, peer: int, reason: str) -> None:
        key = (peer, reason)
        self._counts[key] = self._counts.get(key, 0) + 1

    def get(self, peer: int, reason: str) -> int:
        return self._counts.get((peer, reason), 0)

    def as_dict(self) -> dict[int, dict[str, int]]:
        """{peer: {reason: count}}, a copy."""
        result: dict[int, dict[str, int]] = {}
        for (peer, reason), count in self._counts.copy().items():
            result.setdefault(peer, {})[reason] = count
        return result
