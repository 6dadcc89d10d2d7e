"""`metastore dump`: keys and values as JSON lines, in key order.

Reading order 7 of the commands. Reads in pages as of one revision; the same state gives the same
bytes.
"""

import os
import sys

import click

from metastore.client.command.addresses import open_client
from metastore.client.command.keys import level_option
from metastore.client.command.lines import encode_line
from metastore.client.keys import prefix_range


@click.command()
@click.option("--prefix", default="", metavar="PREFIX", help="Only keys that start with PREFIX.")
@level_option
@click.option("--endpoint-only", is_flag=True, help="Ask no node but those of --endpoints.")
@click.option(
    "--node",
    metavar="ADDRESS",
    help="Print what exactly this node holds (implies --level local and --endpoint-only).",
)
@click.pass_context
def dump(
    ctx: click.Context, prefix: str, level: str, endpoint_only: bool, node: str | None
) -> None:
    """Print keys and values as JSON lines, in key order; `load` reads them back."""
    if node is not None:
        level, endpoint_only = "local", True
    key, range_end = prefix_range(os.fsencode(prefix))
    output = sys.stdout.buffer
    with open_client(ctx, is_pinned=endpoint_only, endpoint=node) as client:
        for item in client.scan(key, range_end, level=level):
            output.write(encode_line(item.key, item.value) + b"\n")
