"""Who was refused before it could say anything: counted always, logged once.

Reading order 5. Used by one thread (zap.py and handshake_watch.py have one each, and an instance
each); readers get copies. Nothing that a stranger sends can grow memory or the log without end.
"""

import logging
import time
from collections.abc import Callable

from metastore.transport.limits import (
    REFUSAL_REASONS_MAX,
    STRANGERS_FORGOTTEN_SECONDS,
    STRANGERS_MAX,
)

OTHER_REASON = "other"
Counts = dict[str, dict[str, int]]

_log = logging.getLogger("metastore.transport.refusals")


class Refusals:
    """`clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[tuple[str, str], int] = {}
        self._logged: set[tuple[str, str, str]] = set()
        self._full_since: float | None = None

    def count(self, domain: str, reason: str) -> None:
        """`domain` is the socket: "peer", "client", "status" or "snapshot"."""
        key = (domain, reason)
        if key not in self._counts and len(self._counts) >= REFUSAL_REASONS_MAX:
            key = (domain, OTHER_REASON)
        self._counts[key] = self._counts.get(key, 0) + 1

    def note(self, domain: str, who: str, reason: str, address: str = "") -> None:
        """Counts it, and logs it unless that was done before. `who` is a key, or the address."""
        self.count(domain, reason)
        entry = (domain, who, reason)
        if entry in self._logged or not self._has_room():
            return
        self._logged.add(entry)
        where = f" at {address}" if address and address != who else ""
        _log.warning(
            "refused a connection to the %s socket from %s%s: %s", domain, who, where, reason
        )

    def _has_room(self) -> bool:
        """A stranger with a new key for each attempt fills the memory; it then stays silent for a
        while, and after that begins anew, so that an honest mistake is seen again some day."""
        if len(self._logged) < STRANGERS_MAX:
            return True
        if self._full_since is None:
            self._full_since = self._clock()
            _log.warning("refused many others: for a while they are only counted")
        elif self._clock() - self._full_since >= STRANGERS_FORGOTTEN_SECONDS:
            self._logged.clear()
            self._full_since = None
            return True
        return False

    def as_dict(self) -> Counts:
        """{domain: {reason: connections}}, a copy; any thread may ask."""
        result: Counts = {}
        for (domain, reason), count in self._counts.copy().items():
            result.setdefault(domain, {})[reason] = count
        return result
