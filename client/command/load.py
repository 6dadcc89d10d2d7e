"""`metastore load`: keys and values from a file of JSON lines.

Reading order 6 of the commands: the face of loader.py.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO

import click

from metastore.client.command.addresses import open_client
from metastore.client.command.lines import encode_line
from metastore.client.command.loader import PATIENCE_S, Batch, Loader, read_batches


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--acknowledged",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Append the keys to FILE as JSON lines as they are acknowledged.",
)
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0),
    default=PATIENCE_S,
    show_default=True,
    metavar="SECONDS",
    help="Give up when nothing could be stored for so long.",
)
@click.pass_context
def load(ctx: click.Context, file: IO[bytes], acknowledged: str | None, patience_s: float) -> None:
    """Store the keys and values of FILE (- for the standard input), one JSON object a line:

    \b
    {"key": "a", "value": "1"}
    {"key_base64": "/w==", "value_base64": "AAE="}

    Interrupted loads may be repeated whole. A bad line stops the load; lines before its batch stay.
    """
    started_at = time.monotonic()
    with ExitStack() as stack:
        # The loader itself repeats what may be repeated; sessions would cost the cluster memory.
        client = stack.enter_context(open_client(ctx, use_sessions=False))
        show = stack.enter_context(_progress(file))
        listing = stack.enter_context(open(acknowledged, "ab")) if acknowledged else None

        def on_stored(batch: Batch) -> None:
            if listing is not None:
                listing.writelines(encode_line(key, None) + b"\n" for key, _ in batch.pairs)
                listing.flush()
            show(batch)

        loader = Loader(client, on_stored, patience_s=patience_s)
        try:
            loader.load(read_batches(file))
        finally:
            seconds = time.monotonic() - started_at
            stack.close()
            click.echo(_report(loader, seconds), err=True)


def _report(loader: Loader, seconds: float) -> str:
    rate = loader.keys_count / max(seconds, 0.001)
    repeated = f", {loader.repeated_count} requests repeated" if loader.repeated_count else ""
    return (
        f"loaded {loader.keys_count} keys in {loader.batches_count} requests, "
        f"{seconds:.2f} s, {rate:.0f} keys/s{repeated}"
    )


@contextmanager
def _progress(file: IO[bytes]) -> Iterator[Callable[[Batch], None]]:
    """A bar on the standard error while it is a terminal; by bytes of the file, if it has a
    size."""
    if not sys.stderr.isatty():
        yield lambda batch: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("loading", total=_size_bytes_or_none(file))

        def show(batch: Batch) -> None:
            progress.update(task, completed=batch.end_bytes, description=f"line {batch.last_line}")

        yield show


def _size_bytes_or_none(file: IO[bytes]) -> int | None:
    try:
        return os.fstat(file.fileno()).st_size or None
    except OSError:
        return None
