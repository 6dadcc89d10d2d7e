"""What tests do with a client that watches a scripted node."""

import time
from collections.abc import Callable
from typing import Any

from metastore.client import Client, Watch

WAIT_S = 10.0  # for something that must happen; never waited out in a passing test


def client_of(node: Any, **options: Any) -> Client:
    return Client(node.client_address, **options)


def keys(watch: Watch, count: int) -> list[bytes]:
    found = [watch.get(WAIT_S) for _ in range(count)]
    return [event.item.key for event in found if event is not None]


def wait_until(client: Client, condition: Callable[[], bool]) -> None:
    """Lets the client work meanwhile."""
    assert client._driver.wait(condition, time.monotonic() + WAIT_S)
