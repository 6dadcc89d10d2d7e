"""Runs the decoders in a process of their own, and watches it: what they raise, how long and how
much memory one input takes, whether memory grows, and whether the process is still there.

The input `number` of a target follows from the seed alone, so that one that killed or hung the
process can be made again.
"""

import json
import mmap
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgpack
from fuzzing.mutation import Mutator, Parts
from fuzzing.targets import Target

HANG_S = 60.0  # without the next input; the machine may be busy with other things
SCRIPTS = Path(__file__).resolve().parent.parent
_POLL_S = 0.1
STATE = struct.Struct("<QQQQ")  # place of the target, number of the input, inputs, accepted


class Finding(Exception):
    """The sentence says what was found; `path` is the input, in a file, if it is one input's."""

    def __init__(self, sentence: str, path: Path | None = None) -> None:
        super().__init__(sentence)
        self.path = path


@dataclass(frozen=True, slots=True)
class Counts:
    """So far: inputs tried, and those that were accepted."""

    inputs: int
    accepted: int


def input_of(target: Target, seed: int, number: int) -> Parts:
    """Always the same for the same three; the first ones are the valid seeds themselves."""
    if number < len(target.seeds):
        return target.seeds[number]
    chance = random.Random(f"{seed}/{target.name}/{number}")
    mutator = Mutator(chance)
    if chance.random() < 0.03:
        return mutator.noise()
    return mutator.mutate(chance.choice(target.seeds))


def write_input(folder: Path, target: Target, seed: int, number: int) -> Path:
    """For a replay."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"fuzz-{target.name.replace(' ', '-')}-{seed}-{number}.input"
    path.write_bytes(msgpack.packb((target.name, input_of(target, seed, number))))
    return path


def read_input(path: Path) -> tuple[str, Parts]:
    """(name of the target, input). Raises OSError, ValueError."""
    name, parts = msgpack.unpackb(path.read_bytes(), use_list=False)
    return name, parts


def run(
    targets: dict[str, Target],
    seconds: float,
    seed: int,
    folder: Path,
    told: Callable[[Counts], None] = lambda counts: None,
) -> Counts:
    """Raises Finding at the first one."""
    with tempfile.TemporaryFile() as shared, tempfile.TemporaryFile("w+") as said:
        shared.truncate(STATE.size)
        names = ",".join(targets)
        command = [sys.executable, str(SCRIPTS / "fuzzing" / "worker.py"), names, str(seconds)]
        command += [str(seed), str(shared.fileno())]
        worker = subprocess.Popen(
            command,
            stdout=said,
            pass_fds=(shared.fileno(),),
            env=environment(),
            start_new_session=True,  # Ctrl-C is for us; its end by one would be a finding
        )
        with mmap.mmap(shared.fileno(), STATE.size) as state:
            try:
                return _watch(worker, state, said, list(targets.values()), (seed, folder, told))
            finally:
                worker.kill()
                worker.wait()


def environment() -> dict[str, str]:
    path = os.pathsep.join((str(SCRIPTS), os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}


def _watch(
    worker: "subprocess.Popen[bytes]",
    state: mmap.mmap,
    said: IO[str],
    targets: list[Target],
    run_of: tuple[int, Path, Callable[[Counts], None]],
) -> Counts:
    seed, folder, told = run_of
    for place, number, counts in _states(worker, state, told):
        if place < 0:
            return counts
        target = targets[place]
        if worker.returncode is None:
            sentence = f"{target.name}: no end after {HANG_S:.0f} s"
        elif worker.returncode == 1:
            said.seek(0)
            text = said.read()
            sentence = json.loads(text)["what"] if text else f"{target.name}: the worker failed"
        else:
            sentence = f"{target.name}: the process ended with {worker.returncode}"
        raise Finding(sentence, write_input(folder, target, seed, number))
    raise RuntimeError("the states of a worker end with its own end")


def _states(
    worker: "subprocess.Popen[bytes]", state: mmap.mmap, told: Callable[[Counts], None]
) -> Iterator[tuple[int, int, Counts]]:
    """One, when the worker has ended or hangs: (place of the target, or -1 after a good end; number
    of its input; counts)."""
    last, since = b"", time.monotonic()
    while True:
        returncode = worker.poll()
        now = state[: STATE.size]
        place, number, inputs, accepted = STATE.unpack(now)
        counts = Counts(inputs, accepted)
        told(counts)
        if returncode is not None:
            yield (-1 if returncode == 0 else place), number, counts
            return
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > HANG_S:
            yield place, number, counts
            return
        time.sleep(_POLL_S)
