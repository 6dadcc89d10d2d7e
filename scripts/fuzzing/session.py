"""One run of scripts/fuzz: its parts, its progress bar, its last line; the replay of an input."""

import secrets
import shlex
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzzing import decoding, siege
from fuzzing.all_targets import all_targets
from fuzzing.decoding import Counts, Finding
from fuzzing.nodes import own_nodes
from fuzzing.targets import Broken, check
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

NODES = "nodes"
FOUND, NOTHING_FOUND, WRONG_ARGUMENTS = 1, 0, 2


def show_decoders() -> int:
    for name, target in all_targets().items():
        print(f"{name} ({len(target.seeds)} seeds)")
    return NOTHING_FOUND


def replay(path: Path) -> int:
    """Tries one input again and says what comes of it."""
    try:
        name, parts = decoding.read_input(path)
        target = all_targets()[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"error: {path} holds no input of a decoder: {error}")
        return WRONG_ARGUMENTS
    started = time.thread_time()
    try:
        verdict = "accepted" if check(target, parts) else "refused, as it should be"
    except Broken:
        traceback.print_exc()
        return FOUND
    took = time.thread_time() - started
    print(f"{name}: {verdict}, {took:.3f} s for {sum(map(len, parts))} bytes")
    return NOTHING_FOUND


def fuzz(seconds: float, seed: int | None, only: str, folder: Path) -> int:
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    targets = {name: one for name, one in all_targets().items() if only in name}
    if not targets and only != NODES:
        print(f"error: no decoder is called {only!r}; --list names them")
        return WRONG_ARGUMENTS
    run = _Run(seconds, seed)
    if only != NODES:
        run.start(lambda: decoding.run(targets, seconds, seed, folder, run.tell_inputs))
    if only in ("", NODES):
        run.start(lambda: _besiege(seconds, seed, run.tell_acts))
    run.show()
    for error in run.errors:
        if not isinstance(error, Finding):
            raise error
        print(f"FOUND with seed {seed}: {error}")
        again = ["--seed", str(seed), "--seconds", f"{seconds:g}", "--only", only or NODES]
        if error.path is not None:
            again = ["--replay", str(error.path)]
        print("again:", shlex.join(["scripts/fuzz", *again]))
    what = f"{len(run.errors)} findings" if run.errors else "nothing found"
    print(
        f"{what}: {run.counts.inputs:,} inputs to {len(targets)} decoders "
        f"({run.counts.accepted:,} accepted), {run.acts:,} hostile acts, "
        f"{seconds:.0f} s, seed {seed}"
    )
    return FOUND if run.errors else NOTHING_FOUND


class _Stopped(Exception):
    """Another part found something, or the user wants no more."""


class _Run:
    """Its parts on a thread each, and the bar that shows them."""

    def __init__(self, seconds: float, seed: int) -> None:
        self._seconds = seconds
        self._seed = seed
        self._threads: list[threading.Thread] = []
        self.counts = Counts(0, 0)
        self.acts = 0
        self.errors: list[BaseException] = []
        self._is_over = threading.Event()

    def tell_inputs(self, counts: Counts) -> None:
        self.counts = counts
        self._check_not_stopped()

    def tell_acts(self, acts: int) -> None:
        self.acts = acts
        self._check_not_stopped()

    def _check_not_stopped(self) -> None:
        if self._is_over.is_set():
            raise _Stopped

    def start(self, part: Callable[[], Any]) -> None:
        def body() -> None:
            try:
                part()
            except _Stopped:
                pass
            except BaseException as error:
                self.errors.append(error)

        self._threads.append(threading.Thread(target=body))
        self._threads[-1].start()

    def show(self) -> None:
        """Until every part has ended: by itself, or because another one has found something."""
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        started = time.monotonic()
        try:
            with Progress(*columns, console=Console(stderr=True)) as bar:
                task = bar.add_task(f"seed {self._seed}", total=self._seconds)
                while any(thread.is_alive() for thread in self._threads) and not self.errors:
                    text = f"{self.counts.inputs:,} inputs, {self.acts:,} hostile acts"
                    passed = min(time.monotonic() - started, self._seconds)
                    bar.update(task, completed=passed, description=text)
                    time.sleep(0.2)
        finally:
            self._is_over.set()
            for thread in self._threads:  # they end their processes
                thread.join()


def _besiege(seconds: float, seed: int, told: Callable[[int], None]) -> None:
    with own_nodes() as targets:
        siege.besiege(targets, seconds, seed, told)
