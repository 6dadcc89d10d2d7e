"""The process that tries inputs: worker.py TARGETS SECONDS SEED DESCRIPTOR; started by decoding.py.

Writes down what it is about to try before it tries it. Leaves with 1 and one line of JSON on its
output for a finding, with 0 when the time is over.
"""

import gc
import json
import logging
import mmap
import sys
import time
from contextlib import suppress
from pathlib import Path

from fuzzing.all_targets import all_targets
from fuzzing.decoding import STATE, input_of
from fuzzing.targets import Broken, Target, check

INPUT_CPU_S_MAX = 1.0
INPUT_MEMORY_MIB_MAX = 64  # and as many times its own size:
INPUT_GROWTH_MAX = 128
GROWTH_MIB_MAX = 48  # of the process after its warm-up
WARM_UP = 0.25  # of the time
_TURN = 40  # inputs of one target, then the next one's


def _memory_mib() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE / (1 << 20)


def _peak_mib() -> float:
    """Of this program only: that of getrusage begins with the peak of who started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) / 1024


def _forget_peak() -> None:
    # Or a first large input would hide all later ones. Not every container allows it.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def try_one(target: Target, seed: int, number: int) -> bool:
    """Whether it was accepted. Raises Broken, also for too much time or memory."""
    parts = input_of(target, seed, number)
    size_mib = sum(map(len, parts)) / (1 << 20)
    peak_before, started = _peak_mib(), time.thread_time()
    accepted = check(target, parts)
    took, grown = time.thread_time() - started, _peak_mib() - peak_before
    if took > INPUT_CPU_S_MAX:
        raise Broken(f"{target.name} took {took:.1f} s for {size_mib:.2f} MiB")
    if grown > INPUT_MEMORY_MIB_MAX + INPUT_GROWTH_MAX * size_mib:
        raise Broken(f"{target.name} took {grown:.0f} MiB of memory for {size_mib:.2f} MiB")
    return accepted


def run(targets: list[Target], seconds: float, seed: int, state: mmap.mmap) -> None:
    started = time.monotonic()
    warm: float | None = None
    inputs = accepted = turn = 0
    while (passed := time.monotonic() - started) < seconds:
        if warm is None and passed > WARM_UP * seconds:
            warm = _memory_mib()
        _forget_peak()
        place = turn % len(targets)
        first = turn // len(targets) * _TURN
        for number in range(first, first + _TURN):
            state[:] = STATE.pack(place, number, inputs, accepted)
            accepted += try_one(targets[place], seed, number)
            inputs += 1
        turn += 1
    state[:] = STATE.pack(0, 0, inputs, accepted)
    grown = _memory_mib() - (warm or 0.0)
    if warm is not None and grown > GROWTH_MIB_MAX:
        raise Broken(f"the decoders' process grew by {grown:.0f} MiB after its warm-up")


def main() -> int:
    names, seconds, seed, descriptor = sys.argv[1:]
    logging.disable(logging.CRITICAL)  # refusals are logged, and are the usual case here
    known = all_targets()
    with mmap.mmap(int(descriptor), STATE.size) as state:
        try:
            run([known[name] for name in names.split(",")], float(seconds), int(seed), state)
        except Broken as broken:
            print(json.dumps({"what": str(broken)}), flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
