"""Commands that go on until they are told to end: Ctrl-C, or the signal of a service manager.

Reading order 12 of the commands.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from metastore.client.command.printing import write_line_now
from metastore.client.lease import Belief

LOOK_S_MAX = 1.0  # between two looks at a lease


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM is KeyboardInterrupt, too, so that leases are given back."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block, and that is a success."""
    with suppress(KeyboardInterrupt), interrupted_by_sigterm():
        yield


def hold(lease: Belief, line: bytes) -> None:
    """Prints the line, by which others know that it is held; then until interrupted. Raises
    LeaseLost when it is lost."""
    never = threading.Event()
    with until_interrupted():  # the line, too: whoever has read it may interrupt at once
        write_line_now(line)
        while True:
            lease.check()
            never.wait(min(lease.remaining(), LOOK_S_MAX))
