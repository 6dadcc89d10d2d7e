"""Which seeds the tests of changing members run, and the command that replays one that failed.

METASTORE_MEMBERSHIP_SEEDS: a count ("2000") or one range ("417-420"). No test is in here.
"""

import os
from collections.abc import Callable
from pathlib import Path

VARIABLE = "METASTORE_MEMBERSHIP_SEEDS"
TIMEOUT_SECONDS = 0 if VARIABLE in os.environ else 120  # 0: as long as it takes


def seeds(count: int) -> range:
    """`count`, unless the environment says otherwise."""
    text = os.environ.get(VARIABLE, str(count))
    first, dash, last = text.partition("-")
    return range(int(first), int(last) + 1) if dash else range(int(first))


def run_seeds(count: int, run: Callable[[int], None], test: str, file: str) -> None:
    """Runs each seed; one that fails says how to run it alone."""
    for seed in seeds(count):
        try:
            run(seed)
        except Exception as error:
            place = "node/raft/tests/" + Path(file).name
            command = f"{VARIABLE}={seed}-{seed} pytest {place} -k {test}"
            raise AssertionError(f"seed {seed}: {error!r}\nreplay: {command}") from error
