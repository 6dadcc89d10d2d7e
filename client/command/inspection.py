"""`metastore inspect`: what a data directory holds, for people or as JSON lines. Never writes.

Reading order 11 of the commands. Loads the node's offline tools, and only when run. (The module
cannot have the command's name, which is one of the standard library's.)
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from metastore.client.command.exits import ExitCode
from metastore.client.command.progress import progress_bar


@click.command(
    epilog="Exit codes: 0 shown, 1 something in it cannot be read (see `verify`), 3 in use by a "
    "running node, no data directory, or its engine is not installed."
)
@click.argument("data_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--from", "first", type=click.IntRange(min=0), default=0, metavar="INDEX",
              help="Only log entries from INDEX on.")  # fmt: skip
@click.option("--to", "last", type=click.IntRange(min=0), default=0, metavar="INDEX",
              help="Only log entries up to and with INDEX.")  # fmt: skip
@click.option("--keys", is_flag=True, help="All live keys as well.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
def inspect(
    ctx: click.Context, data_dir: Path, first: int, last: int, keys: bool, as_json: bool
) -> None:
    """Show what a stopped node has on its disk: identity, votes, snapshots, log entries in words,
    leases and sessions."""
    from metastore.node.offline.failures import BAD, NOT_READ
    from metastore.node.offline.inspection import Wanted, inspect_directory

    try:
        with progress_bar() as show:
            for kind, fields in inspect_directory(data_dir, Wanted(first, last, keys), show):
                if as_json:
                    click.echo(json.dumps({"kind": kind, **fields}, ensure_ascii=False))
                else:
                    for line in lines_of(kind, fields):
                        click.echo(line)
    except NOT_READ as error:
        click.echo(f"metastore: {error}", err=True)
        ctx.exit(ExitCode.UNAVAILABLE)
    except BAD as error:
        click.echo(f"metastore: {error}", err=True)
        ctx.exit(ExitCode.FAILED)


def lines_of(kind: str, fields: dict[str, Any]) -> Iterator[str]:
    """One piece for people."""
    yield from _LINES.get(kind, _plain)(kind, fields)


def _plain(kind: str, fields: dict[str, Any]) -> Iterator[str]:
    words = (f"{name} {_value(value)}" for name, value in fields.items())
    yield f"{kind.replace('_', ' ')}: " + ", ".join(words)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)


def _entry(kind: str, fields: dict[str, Any]) -> Iterator[str]:
    state = "" if fields["is_committed"] else ", not known to be committed"
    what = f"{fields['type']}, {fields['bytes']} bytes{state}"
    yield f"entry {fields['index']} of term {fields['term']}: {what}"
    for request in fields["requests"]:
        yield "    " + "; ".join(request)


def _key(kind: str, fields: dict[str, Any]) -> Iterator[str]:
    revisions = f"created {fields['create_revision']}, changed {fields['mod_revision']}"
    lease = f", lease {fields['lease']}" if "lease" in fields else ""
    version = f"version {fields['version']}"
    yield f"key {fields['key']} = {fields['value']} ({revisions}, {version}{lease})"


_LINES: dict[str, Callable[[str, dict[str, Any]], Iterator[str]]] = {"entry": _entry, "key": _key}
