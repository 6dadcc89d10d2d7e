"""`metastore lease grant`, `revoke`, `keep-alive`, `ttl` and `list`.

Reading order 14 of the commands. Ids are hex numbers.
"""

import time
from typing import TypeVar

import click

from metastore.client import ops
from metastore.client.client import Client
from metastore.client.command.addresses import open_client
from metastore.client.command.exits import ExitCode
from metastore.client.command.interrupts import until_interrupted
from metastore.client.command.printing import lease_id as to_lease_id
from metastore.client.command.printing import write_line, write_line_now
from metastore.client.errors import Unavailable
from metastore.client.futures import decode_only
from metastore.client.lease import KEEP_ALIVES_PER_TTL
from metastore.client.results import Done, KeepAlive
from metastore.transport.schema import Operation

RETRY_S = 0.5  # between keep-alives that found no cluster

Result = TypeVar("Result")


@click.group()
def lease() -> None:
    """Leases: keys that go when nobody keeps them alive any more.

    \b
    id=$(metastore lease grant 60)
    metastore put workers/7 host-a --lease $id
    metastore lease keep-alive $id
    """


@lease.command()
@click.argument("ttl_s", metavar="TTL", type=click.IntRange(min=1))
@click.option(
    "--id",
    "lease_id",
    type=to_lease_id,
    default="0",
    help="[default: the cluster chooses]",
    metavar="ID",
)
@click.pass_context
def grant(ctx: click.Context, ttl_s: int, lease_id: int) -> None:
    """Make a lease that lives TTL seconds, and print its id.

    \b
    metastore lease grant 60
    """
    with open_client(ctx) as client:
        granted = client.lease(ttl_s, lease_id, keep_alive=False)
    write_line(b"%x" % granted.id)
    if granted.ttl_s != ttl_s:
        click.echo(f"metastore: granted with {granted.ttl_s} s", err=True)


@lease.command()
@click.argument("lease_id", metavar="ID", type=to_lease_id)
@click.pass_context
def revoke(ctx: click.Context, lease_id: int) -> None:
    """End a lease, and delete the keys that hang on it.

    \b
    metastore lease revoke 5f3a9c
    """
    with open_client(ctx) as client:
        _perform(client, ops.lease_revoke(lease_id), Done)
    write_line(b"revoked %x" % lease_id)


@lease.command("keep-alive")
@click.argument("lease_id", metavar="ID", type=to_lease_id)
@click.option("--once", is_flag=True, help="Renew it once, and end.")
@click.pass_context
def keep_alive(ctx: click.Context, lease_id: int, once: bool) -> None:
    """Renew a lease until Ctrl-C, and print the seconds it has with every renewal.

    \b
    metastore lease keep-alive 5f3a9c

    Fails with 1 when the lease has ended. Without a cluster it goes on trying.
    """
    with until_interrupted(), open_client(ctx) as client:
        while True:
            try:
                renewed = _perform(client, ops.lease_keep_alive(lease_id), KeepAlive)
            except Unavailable as error:
                if once:
                    raise
                click.echo(f"metastore: {error}; trying again", err=True)
                time.sleep(RETRY_S)
                continue
            if renewed.ttl_s <= 0:
                _fail_ended(ctx, lease_id)
            write_line_now(b"%x %d" % (lease_id, renewed.ttl_s))
            if once:
                return
            time.sleep(renewed.ttl_s / KEEP_ALIVES_PER_TTL)


@lease.command()
@click.argument("lease_id", metavar="ID", type=to_lease_id)
@click.option("--keys", is_flag=True, help="Print, too, the keys that hang on it.")
@click.pass_context
def ttl(ctx: click.Context, lease_id: int, keys: bool) -> None:
    """Print the seconds that a lease has left, and those it was granted with.

    \b
    metastore lease ttl 5f3a9c --keys
    """
    with open_client(ctx) as client:
        found = client.time_to_live(lease_id, keys=keys)
    if found.ttl_s < 0:
        _fail_ended(ctx, lease_id)
    write_line(b"%x %d of %d" % (lease_id, found.ttl_s, found.granted_ttl_s))
    for key in found.keys:
        write_line(key)


@lease.command("list")
@click.pass_context
def list_(ctx: click.Context) -> None:
    """Print the id of every lease.

    \b
    metastore lease list
    """
    with open_client(ctx) as client:
        for lease_id in client.leases():
            write_line(b"%x" % lease_id)


def _perform(client: Client, operation: Operation, expected: type[Result]) -> Result:
    return decode_only(client.batch([operation]), expected)


def _fail_ended(ctx: click.Context, lease_id: int) -> None:
    click.echo(f"metastore: there is no lease {lease_id:x}; it has ended", err=True)
    ctx.exit(ExitCode.FAILED)
