"""`metastore watch`: changes as they happen, a line each.

Reading order 13 of the commands.
"""

import click

from metastore.client.command.addresses import open_client
from metastore.client.command.interrupts import until_interrupted
from metastore.client.command.printing import (
    event_json_line,
    event_line,
    prefix_option,
    range_end_option,
    range_of,
    write_line_now,
)


@click.command()
@click.argument("key")
@prefix_option
@range_end_option
@click.option(
    "--rev",
    "revision",
    type=click.IntRange(min=0),
    default=0,
    metavar="REVISION",
    help="Begin with the changes of this revision.  [default: those to come]",
)
@click.option("--prev", is_flag=True, help="Print, too, what was there before.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, with revisions.")
@click.pass_context
def watch(
    ctx: click.Context,
    key: str,
    is_prefix: bool,
    range_end: str | None,
    revision: int,
    prev: bool,
    as_json: bool,
) -> None:
    """Print every change of KEY: "put" or "delete", the key and the value, with tabs in between.

    \b
    metastore watch jobs/ --prefix --json

    Goes on until Ctrl-C, on another node when the one that serves it fails; nothing is passed over
    or printed twice. Fails with 1 if changes to be printed were compacted before.
    """
    start, end = range_of(ctx, key, is_prefix, range_end)
    to_line = event_json_line if as_json else event_line
    with until_interrupted(), open_client(ctx) as client:
        events = client.watch(start, end, start_revision=revision, prev_kv=prev)
        for event in events:
            write_line_now(to_line(event))
