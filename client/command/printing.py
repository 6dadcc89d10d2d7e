"""How keys, events and leases are printed, and how they are written on the command line.

Reading order 4 of the commands. Bytes go out as they are; in JSON, as lines.py has them. What is
printed while a command goes on is flushed line by line, for whoever reads it through a pipe.
"""

import json
import os
import sys
from typing import Any

import click

from metastore.client.command.lines import encode_field, encode_line
from metastore.client.keys import prefix_range
from metastore.client.results import KeyValue
from metastore.client.watch import Event

prefix_option = click.option(
    "--prefix", "is_prefix", is_flag=True, help="All keys that start with KEY."
)
range_end_option = click.option(
    "--range-end", metavar="END", help="All keys from KEY up to, not including, END."
)
revision_option = click.option(
    "--rev",
    "revision",
    type=click.IntRange(min=0),
    default=0,
    metavar="REVISION",
    help="As of this revision of the store.  [default: the newest]",
)


def lease_id(text: str) -> int:
    """The type of arguments that are a lease's id."""
    try:
        return parse_lease_id(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def parse_lease_id(text: str) -> int:
    """Raises ValueError, with the reason."""
    try:
        number = int(text, 16)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 63:
        raise ValueError(f"{text!r} is no lease; ids are hex numbers, as `lease grant` prints them")
    return number


def range_of(
    ctx: click.Context, key: str, is_prefix: bool, range_end: str | None = None
) -> tuple[bytes, bytes]:
    """(key, range_end) of the options; b"" as the end for a single key."""
    if is_prefix and range_end is not None:
        raise click.UsageError("--prefix and --range-end exclude each other; give one", ctx)
    start = os.fsencode(key)
    return prefix_range(start) if is_prefix else (start, os.fsencode(range_end or ""))


def pair_line(item: KeyValue) -> bytes:
    return item.key + b"\t" + item.value


def item_line(item: KeyValue, *, is_single: bool, keys_only: bool, as_json: bool) -> bytes:
    if as_json:
        return encode_line(item.key, None if keys_only else item.value)
    if keys_only:
        return item.key
    return item.value if is_single else pair_line(item)


def event_line(event: Event) -> bytes:
    """The kind, the key, the value, and the previous value if there is one; tabs in between."""
    parts = [event.kind.encode(), event.item.key]
    if event.kind == "put":
        parts.append(event.item.value)
    if event.previous is not None:
        parts.append(event.previous.value)
    return b"\t".join(parts)


def event_json_line(event: Event) -> bytes:
    fields: dict[str, Any] = {"kind": event.kind, "revision": event.item.mod_revision}
    fields |= encode_field("key", event.item.key)
    if event.kind == "put":
        fields |= encode_field("value", event.item.value)
        fields |= {"version": event.item.version, "lease": f"{event.item.lease:x}"}
    if event.previous is not None:
        fields |= encode_field("previous_value", event.previous.value)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def write_line(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")


def write_line_now(line: bytes) -> None:
    write_line(line)
    sys.stdout.buffer.flush()
