"""`metastore compact` and `metastore hash`: the store's history, and whether all nodes have it.

Reading order 15 of the commands.
"""

import sys
import time
from dataclasses import dataclass

import click

from metastore.client.command.addresses import open_client
from metastore.client.command.exits import ExitCode
from metastore.client.command.printing import write_line
from metastore.client.errors import InvalidRequest, Unavailable
from metastore.client.results import HashResult
from metastore.transport.envelope import MemberAddresses
from metastore.transport.schema import FUTURE_REVISION

RETRY_S = 0.05  # for a node that has not come to the revision yet


@dataclass(frozen=True, slots=True)
class Answer:
    """What one node said, or why it said nothing."""

    node: MemberAddresses
    result: HashResult | None
    trouble: str = ""


@click.command()
@click.argument("revision", type=click.IntRange(min=1))
@click.option("--physical", is_flag=True, help="Return when the space is free, not before.")
@click.pass_context
def compact(ctx: click.Context, revision: int, physical: bool) -> None:
    """Forget what was superseded before REVISION. What is there now stays.

    \b
    metastore compact 100000
    """
    with open_client(ctx) as client:
        client.compact(revision, physical=physical)
    write_line(b"compacted %d" % revision)


@click.command("hash")
@click.option(
    "--rev",
    "revision",
    type=click.IntRange(min=0),
    default=0,
    metavar="REVISION",
    help="Compare what is visible at this revision.  [default: the newest]",
)
@click.pass_context
def hash_(ctx: click.Context, revision: int) -> None:
    """Compare the checksums of what every node holds, as of one revision.

    \b
    metastore hash --rev 1200

    Fails with 1 if two nodes differ, with 3 if a node does not answer.
    """
    with open_client(ctx) as client:
        nodes = [node for node in client.known_nodes() if node.client]  # a witness has no data
        revision = revision or client.hash().hash_revision
    answers = [_ask(ctx, node, revision) for node in nodes]
    _print_table(answers)
    states = {(a.result.hash, a.result.compact_revision) for a in answers if a.result}
    if len(states) > 1:
        click.echo(f"metastore: the nodes differ at revision {revision}", err=True)
        ctx.exit(ExitCode.FAILED)
    silent = [answer for answer in answers if answer.result is None]
    for answer in silent:
        text = f"metastore: node {answer.node.node_id} was not compared: {answer.trouble}"
        click.echo(text, err=True)
    if silent:
        ctx.exit(ExitCode.UNAVAILABLE)
    click.echo(f"all {len(answers)} nodes agree at revision {revision}")


def _ask(ctx: click.Context, node: MemberAddresses, revision: int) -> Answer:
    """One node alone, waited for until it has come to the revision."""
    deadline = time.monotonic() + ctx.obj["timeout_s"]
    with open_client(ctx, is_pinned=True, endpoint=node.client) as client:
        while True:
            try:
                return Answer(node, client.hash(revision, level="local"))
            except Unavailable as error:
                return Answer(node, None, str(error))
            except InvalidRequest as error:
                if str(error) != FUTURE_REVISION:
                    raise
            if time.monotonic() >= deadline:
                return Answer(node, None, f"it has not come to revision {revision}")
            time.sleep(RETRY_S)


def _print_table(answers: list[Answer]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("node", "hash", "compacted"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("client address", no_wrap=True)
    for answer in answers:
        found = answer.result
        shown = (f"{found.hash:08x}", str(found.compact_revision)) if found else ("-", "-")
        table.add_row(str(answer.node.node_id), *shown, answer.node.client)
    # A fixed width away from terminals: an address cut in two is no address.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
