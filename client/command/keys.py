"""`metastore put`, `get` and `del`.

Reading order 4 of the commands. Keys and values of the command line are bytes as the shell gave
them.
"""

import os
import sys

import click

from metastore.client.calls import LEVELS
from metastore.client.command.addresses import open_client
from metastore.client.command.exits import ExitCode
from metastore.client.command.lines import encode_line
from metastore.client.keys import prefix_range
from metastore.client.results import KeyValue

level_option = click.option(
    "--level",
    type=click.Choice(list(LEVELS)),
    default="linearizable",
    show_default=True,
    help="How fresh a read must be; local is whatever the node asked has.",
)


@click.command()
@click.argument("key")
@click.argument("value")
@click.pass_context
def put(ctx: click.Context, key: str, value: str) -> None:
    """Store VALUE under KEY; VALUE - reads it from the standard input."""
    data = sys.stdin.buffer.read() if value == "-" else os.fsencode(value)
    with open_client(ctx) as client:
        result = client.put(os.fsencode(key), data)
    click.echo(f"revision {result.revision}")


@click.command()
@click.argument("key")
@click.option("--prefix", "is_prefix", is_flag=True, help="All keys that start with KEY.")
@click.option("--range-end", metavar="END", help="All keys from KEY up to, not including, END.")
@click.option("--keys-only", is_flag=True, help="Print keys without values.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, as `dump` does.")
@level_option
@click.pass_context
def get(
    ctx: click.Context,
    key: str,
    is_prefix: bool,
    range_end: str | None,
    keys_only: bool,
    as_json: bool,
    level: str,
) -> None:
    """Print the value of KEY. With several keys, each line is the key, a tab and the value."""
    if is_prefix and range_end is not None:
        raise click.UsageError("--prefix and --range-end exclude each other; give one", ctx)
    start, end = os.fsencode(key), os.fsencode(range_end or "")
    is_single = not is_prefix and range_end is None
    if is_prefix:
        start, end = prefix_range(start)
    found_count = 0
    with open_client(ctx) as client:
        if is_single:
            found = client.get(start, level=level)
            items = iter([] if found is None else [found])
        else:
            items = client.scan(start, end, keys_only=keys_only, level=level)
        for item in items:
            found_count += 1
            _write(item, is_single, keys_only, as_json)
    if not found_count:
        click.echo(f"metastore: nothing is stored under {key!r}", err=True)
        ctx.exit(ExitCode.FAILED)


@click.command("del")
@click.argument("key")
@click.option("--prefix", "is_prefix", is_flag=True, help="All keys that start with KEY.")
@click.pass_context
def delete(ctx: click.Context, key: str, is_prefix: bool) -> None:
    """Delete KEY and print how many keys were deleted."""
    start, end = os.fsencode(key), b""
    if is_prefix:
        start, end = prefix_range(start)
    with open_client(ctx) as client:
        result = client.delete_range(start, end)
    click.echo(f"deleted {result.deleted}")
    if not result.deleted:
        ctx.exit(ExitCode.FAILED)


def _write(item: KeyValue, is_single: bool, keys_only: bool, as_json: bool) -> None:
    if as_json:
        line = encode_line(item.key, None if keys_only else item.value)
    elif keys_only:
        line = item.key
    elif is_single:
        line = item.value
    else:
        line = item.key + b"\t" + item.value
    sys.stdout.buffer.write(line + b"\n")
