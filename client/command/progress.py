"""A progress bar on the standard error while that is a terminal; nothing otherwise.

Reading order 5 of the commands.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Show: TypeAlias = Callable[[str, int, int], None]
"""(what is being worked on, how much of it is done, of how much; 0: not known)"""


@contextmanager
def progress_bar() -> Iterator[Show]:
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total or None)

        yield show
