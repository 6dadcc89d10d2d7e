"""`metastore status`: every node of the cluster, one row each.

Reading order 8 of the commands. Asks the status sockets, which answer even without a leader.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any

import click
import zmq

from metastore.client.command.addresses import (
    find_security,
    open_client,
    read_cluster_or_none,
)
from metastore.client.command.exits import ExitCode
from metastore.client.errors import Unavailable
from metastore.client.statuses import NOT_LET_IN, ask_statuses

COLUMNS = (
    ("node", "node_id"),
    ("state", "state"),
    ("term", "term"),
    ("leader", "leader_id"),
    ("applied", "applied"),
    ("commit", "commit"),
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print everything the nodes say, as JSON.")
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show every node of the cluster. Fails with 3 if none answers or none knows a leader."""
    addresses = _status_addresses(ctx)
    by_address = ask_statuses(
        zmq.Context.instance(), addresses.values(), ctx.obj["timeout_s"], find_security(ctx)
    )
    answers = {node_id: by_address[address] for node_id, address in addresses.items()}
    if as_json:
        click.echo(json.dumps(answers, indent=2, sort_keys=True, default=_printable))
    else:
        _print_table(addresses, answers)
    if not any("error" not in answer for answer in answers.values()):
        errors = [answer["error"] for answer in answers.values()]
        why = next((e["message"] for e in errors if e["code"] == NOT_LET_IN), "are they running?")
        click.echo(f"metastore: no node answers; {why}", err=True)
        ctx.exit(ExitCode.UNAVAILABLE)
    if not any(answer.get("leader_id") for answer in answers.values()):
        click.echo("metastore: no node knows a leader; is a majority of them running?", err=True)
        ctx.exit(ExitCode.UNAVAILABLE)


def _status_addresses(ctx: click.Context) -> dict[int, str]:
    """By node id. The nodes know each other best; cluster.json serves if none answers."""
    try:
        with open_client(ctx) as client:
            return {node.node_id: node.status for node in client.known_nodes()}
    except Unavailable:
        cluster = read_cluster_or_none(ctx)
        if cluster is None:
            raise
        return cluster.status


def _print_table(addresses: dict[int, str], answers: dict[int, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title, _ in COLUMNS:
        table.add_column(title, justify="left" if title == "state" else "right", no_wrap=True)
    table.add_column("role", no_wrap=True)
    table.add_column("status address", no_wrap=True)
    roles = _roles(answers.values())
    for node_id, address in sorted(addresses.items()):
        answer = answers[node_id]
        if "error" in answer:
            answer = {"node_id": node_id, "state": str(answer["error"].get("code", "error"))}
        shown = (str(answer.get(field, "-")) for _, field in COLUMNS)
        table.add_row(*shown, roles.get(node_id, "-"), address)
    # A fixed width away from terminals: an address cut in two is no address.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _roles(answers: Iterable[dict[str, Any]]) -> dict[int, str]:
    """By node id, as any of the nodes knows them: one that does not answer has a role, too."""
    lists = (answer.get("members") or () for answer in answers)
    return {int(m["node_id"]): str(m["role"]) for members in lists for m in members}


def _printable(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
