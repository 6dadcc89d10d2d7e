"""Work on one received file, on a thread of its own, so that its sender goes on being answered.

Reading order 15, below chunks.py. The work may take minutes and cannot be interrupted.
"""

import threading
from collections.abc import Callable


class Preparation:
    """Runs `work` at once. `is_done` never waits; after it, `failure` is "" or the reason."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self.failure = ""
        self._thread = threading.Thread(target=self._run, name="snapshot-preparation", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # a bad file is its sender's affair, not the node's end
            self.failure = f"{type(error).__name__}: {error}"
