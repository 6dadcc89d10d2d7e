"""`metastore put`, `get` and `del`.

Reading order 5 of the commands. Keys and values of the command line are bytes as the shell gave
them.
"""

import os
import sys
from collections.abc import Iterable
from itertools import islice

import click

from metastore.client.calls import LEVELS
from metastore.client.client import Client
from metastore.client.command.addresses import open_client
from metastore.client.command.exits import ExitCode
from metastore.client.command.printing import (
    item_line,
    lease_id,
    pair_line,
    prefix_option,
    range_end_option,
    range_of,
    revision_option,
    write_line,
)
from metastore.client.results import KeyValue

level_option = click.option(
    "--level",
    type=click.Choice(list(LEVELS)),
    default="linearizable",
    show_default=True,
    help="How fresh a read must be; local is whatever the node asked has.",
)
previous_option = click.option("--prev", is_flag=True, help="Print, too, what was there before.")


@click.command()
@click.argument("key")
@click.argument("value", required=False)
@click.option(
    "--lease", type=lease_id, default="0", metavar="ID", help="The key goes when this lease ends."
)
@previous_option
@click.option("--ignore-value", is_flag=True, help="Keep the value; give none.")
@click.option("--ignore-lease", is_flag=True, help="Keep the lease that the key hangs on.")
@click.pass_context
def put(
    ctx: click.Context,
    key: str,
    value: str | None,
    lease: int,
    prev: bool,
    ignore_value: bool,
    ignore_lease: bool,
) -> None:
    """Store VALUE under KEY; VALUE - reads it from the standard input.

    \b
    metastore put jobs/17 running --lease 5f3a9c
    """
    if (value is None) != ignore_value:
        raise click.UsageError("give a VALUE, or --ignore-value to keep the one there is", ctx)
    if lease and ignore_lease:
        raise click.UsageError("--lease and --ignore-lease exclude each other; give one", ctx)
    data = sys.stdin.buffer.read() if value == "-" else os.fsencode(value or "")
    with open_client(ctx) as client:
        result = client.put(
            os.fsencode(key),
            data,
            lease=lease,
            prev_kv=prev,
            ignore_value=ignore_value,
            ignore_lease=ignore_lease,
        )
    write_line(b"revision %d" % result.revision)
    if result.previous is not None:
        write_line(pair_line(result.previous))


@click.command()
@click.argument("key")
@prefix_option
@range_end_option
@revision_option
@click.option("--limit", type=click.IntRange(min=0), default=0, help="At most so many keys.")
@click.option(
    "--order", type=click.Choice(["ascend", "descend"]), help="Sort.  [default: by key, ascending]"
)
@click.option(
    "--sort-by",
    type=click.Choice(["key", "version", "create", "mod", "value"]),
    help="What to sort by.",
)
@click.option("--keys-only", is_flag=True, help="Print keys without values.")
@click.option("--count-only", is_flag=True, help="Print how many keys there are, nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, as `dump` does.")
@level_option
@click.pass_context
def get(
    ctx: click.Context,
    key: str,
    is_prefix: bool,
    range_end: str | None,
    revision: int,
    limit: int,
    order: str | None,
    sort_by: str | None,
    keys_only: bool,
    count_only: bool,
    as_json: bool,
    level: str,
) -> None:
    """Print the value of KEY. With several keys, each line is the key, a tab and the value.

    \b
    metastore get jobs/ --prefix --sort-by mod --order descend --limit 10
    """
    start, end = range_of(ctx, key, is_prefix, range_end)
    found_count = 0
    with open_client(ctx) as client:
        if count_only:
            counted = client.range(start, end, revision=revision, count_only=True, level=level)
            write_line(b"%d" % counted.count)
            return
        items = _read(
            client, start, end, revision, limit, keys_only, level, order=order, sort_by=sort_by
        )
        for item in items:
            found_count += 1
            write_line(item_line(item, is_single=not end, keys_only=keys_only, as_json=as_json))
    if not found_count:
        click.echo(f"metastore: nothing is stored under {key!r}", err=True)
        ctx.exit(ExitCode.FAILED)


@click.command("del")
@click.argument("key")
@prefix_option
@range_end_option
@previous_option
@click.pass_context
def delete(
    ctx: click.Context, key: str, is_prefix: bool, range_end: str | None, prev: bool
) -> None:
    """Delete KEY and print how many keys were deleted.

    \b
    metastore del jobs/ --prefix --prev
    """
    start, end = range_of(ctx, key, is_prefix, range_end)
    with open_client(ctx) as client:
        result = client.delete_range(start, end, prev_kv=prev)
    write_line(b"deleted %d" % result.deleted)
    for item in result.previous:
        write_line(pair_line(item))
    if not result.deleted:
        ctx.exit(ExitCode.FAILED)


def _read(
    client: Client,
    start: bytes,
    end: bytes,
    revision: int,
    limit: int,
    keys_only: bool,
    level: str,
    *,
    order: str | None,
    sort_by: str | None,
) -> Iterable[KeyValue]:
    """Sorted by the node if an order is asked for; else in key order and, however many they are, in
    pages."""
    if order or sort_by:
        return client.range(
            start,
            end,
            limit=limit,
            revision=revision,
            keys_only=keys_only,
            sort_order=order or "ascend",
            sort_target=sort_by or "key",
            level=level,
        ).items
    if not end:
        found = client.get(start, revision=revision, level=level)
        return [] if found is None else [found]
    items = client.scan(start, end, revision=revision, keys_only=keys_only, level=level)
    return islice(items, limit or None)
