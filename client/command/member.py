"""`metastore member list`, `add`, `promote`, `remove`, `update`, `replace`, and `transfer`.

Reading order 18 of the commands. Each may be repeated; what it says is made by member_words.py.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import click

from metastore.client.command import member_words
from metastore.client.command.addresses import given_timeout, open_client
from metastore.client.command.keys import level_option
from metastore.client.errors import MetastoreError
from metastore.client.member_results import Member
from metastore.transport.member_ops import PRIORITY_MAX, MemberState, Role

SOCKETS = {
    "peer": "Where the other nodes reach it.",
    "client": "Where clients reach it.",
    "status": "Its status socket.",
    "snapshot": "Where it receives snapshots.",
}

node_id_argument = click.argument("node_id", metavar="ID", type=click.IntRange(min=1))
priority_type = click.IntRange(min=0, max=PRIORITY_MAX)
force_option = click.option(
    "--force", is_flag=True, help="Although the voters that answer now would be too few."
)


def address_options(*, required: bool) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for name, text in reversed(SOCKETS.items()):
            option = click.option(f"--{name}", metavar="ADDRESS", required=required, help=text)
            command = option(command)
        return command

    return decorate


@click.group()
def member() -> None:
    """Members: who belongs to the cluster, and how that is changed while it runs.

    \b
    metastore member list
    metastore member remove 4 5

    See docs/guide/members.md.
    """


@member.command("list")
@level_option
@click.option("--json", "as_json", is_flag=True, help="Print the members as JSON.")
@click.pass_context
def list_(ctx: click.Context, level: str, as_json: bool) -> None:
    """Show every member: role, state, priority and addresses, and what is to be done for those
    that are not there yet.

    \b
    metastore member list
    """
    with open_client(ctx) as client:
        found = client.members(level=level)
        cluster_id = client.cluster_id
    if as_json:
        click.echo(json.dumps([asdict(member) for member in found], indent=2))
        return
    member_words.print_table(found)
    for line in member_words.remarks(found, cluster_id):
        click.echo(f"metastore: {line}", err=True)


@member.command()
@node_id_argument
@address_options(required=True)
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.VOTER.value,
    show_default=True,
    help="voter; learner: gets everything and votes never; witness: votes and holds no data.",
)
@click.option(
    "--priority",
    type=priority_type,
    default=0,
    show_default=True,
    help="The highest among the voters shall lead.",
)
@click.pass_context
def add(
    ctx: click.Context,
    node_id: int,
    peer: str,
    client: str,
    status: str,
    snapshot: str,
    role: str,
    priority: int,
) -> None:
    """Expect the new node ID at these addresses, and print how to start it.

    \b
    metastore member add 4 --peer tcp://h4:7001 --client tcp://h4:7002 \\
        --status tcp://h4:7003 --snapshot tcp://h4:7004

    It gets everything that there is before it votes. An ID that was removed is refused.
    """
    with open_client(ctx) as opened:
        members = opened.member_add(
            node_id,
            peer=peer,
            client=client,
            status=status,
            snapshot=snapshot,
            role=role,
            priority=priority,
            timeout_s=given_timeout(ctx),
        )
        cluster_id = opened.cluster_id
    added = _one(members, node_id)
    if added.state != MemberState.AWAITED:
        click.echo(f"node {node_id} is here already, as a {added.role}")
        return
    click.echo(f"node {node_id} is awaited, as a {role}; start it with an empty data_dir:")
    click.echo(member_words.serve_line(added, members, cluster_id))


@member.command()
@node_id_argument
@force_option
@click.pass_context
def promote(ctx: click.Context, node_id: int, force: bool) -> None:
    """Let the learner ID vote. Refused until it has caught up.

    \b
    metastore member promote 4
    """
    with open_client(ctx) as client:
        members = client.member_promote(node_id, force=force, timeout_s=given_timeout(ctx))
    click.echo(f"node {node_id} votes; {member_words.voters(members)}")


@member.command()
@click.argument("node_ids", metavar="ID...", type=click.IntRange(min=1), nargs=-1, required=True)
@force_option
@click.pass_context
def remove(ctx: click.Context, node_ids: tuple[int, ...], force: bool) -> None:
    """Remove the nodes ID for ever, all of them at once or none.

    \b
    metastore member remove 4 5

    Nothing is asked. Refused, with who is missing, if the voters that answer now could not go on.
    """
    chosen = tuple(dict.fromkeys(node_ids))
    with open_client(ctx) as client:
        members = client.member_remove(*chosen, force=force, timeout_s=given_timeout(ctx))
    for line in member_words.removed(chosen, members):
        click.echo(line)


@member.command()
@node_id_argument
@address_options(required=False)
@click.option("--priority", type=priority_type, help="The highest among the voters shall lead.")
@click.pass_context
def update(
    ctx: click.Context,
    node_id: int,
    peer: str | None,
    client: str | None,
    status: str | None,
    snapshot: str | None,
    priority: int | None,
) -> None:
    """Change where the node ID is to be found, or its priority; what is not given stays.

    \b
    metastore member update 3 --priority 10

    A node tells its addresses itself at every start: restarting it at new ones is enough.
    """
    given = {"peer": peer, "client": client, "status": status, "snapshot": snapshot}
    if priority is None and not any(given.values()):
        raise click.UsageError("give an address or --priority; nothing is to be updated", ctx)
    with open_client(ctx) as opened:
        limit_s = given_timeout(ctx)
        members = opened.member_update(node_id, priority=priority, timeout_s=limit_s, **given)
    updated = _one(members, node_id)
    click.echo(member_words.place_of(updated))
    if any(given.values()):
        click.echo(
            f"metastore: start node {node_id} with these addresses from now on; it tells its own "
            "again at every start",
            err=True,
        )


@member.command()
@node_id_argument
@force_option
@click.pass_context
def replace(ctx: click.Context, node_id: int, force: bool) -> None:
    """The disk of the node ID is gone: take the node out, await it with an empty directory, and
    print the steps that follow.

    \b
    metastore member replace 3

    Repeating it leaves alone a node that has come back meanwhile, with the directory it has then.
    """
    with open_client(ctx) as client:
        members = client.member_replace(node_id, force=force, timeout_s=given_timeout(ctx))
        cluster_id = client.cluster_id
    for line in member_words.replaced(_one(members, node_id), members, cluster_id):
        click.echo(line)


@click.command()
@click.argument("node_id", metavar="[ID]", type=click.IntRange(min=1), required=False)
@click.pass_context
def transfer(ctx: click.Context, node_id: int | None) -> None:
    """Let the node ID lead; without one, whichever other node suits best.

    \b
    metastore transfer 2

    The cluster pauses for a moment. Where one should lead always, give it a priority:
    metastore member update 2 --priority 10
    """
    with open_client(ctx) as client:
        leader_id = client.move_leader(node_id or 0, timeout_s=given_timeout(ctx))
    click.echo(f"node {leader_id} leads")


def _one(members: Sequence[Member], node_id: int) -> Member:
    for found in members:
        if found.node_id == node_id:
            return found
    raise MetastoreError(
        f"node {node_id} is no member any more; another change came between, see `member list`"
    )
