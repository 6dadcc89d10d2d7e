"""What a client program has seen: a list of steps, printed as JSON, that the test compares.

Run in a process of its own, beside one client library; imports nothing of the project.
"""

import json
import sys
from typing import Any


class Told:
    """Each is started as: program endpoint,... [user password]."""

    def __init__(self) -> None:
        self.endpoints = sys.argv[1].split(",")
        self.user, self.password = sys.argv[2:4] or (None, None)
        self.steps: list[tuple[str, Any]] = []

    @property
    def host_ports(self) -> list[tuple[str, int]]:
        pairs = [url.removeprefix("http://").rsplit(":", 1) for url in self.endpoints]
        return [(host, int(port)) for host, port in pairs]

    def tell(self, step: str, seen: Any = None) -> None:
        self.steps.append((step, seen))

    def end(self) -> None:
        json.dump(self.steps, sys.stdout, default=bytes.decode)
