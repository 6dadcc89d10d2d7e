"""`metastore elect`: stand for election, or look on.

Reading order 17 of the commands.
"""

import os

import click

from metastore.client.command.addresses import open_client
from metastore.client.command.interrupts import hold, interrupted_by_sigterm, until_interrupted
from metastore.client.command.lock import ttl_option
from metastore.client.command.printing import pair_line, write_line_now


@click.command()
@click.argument("name")
@click.argument("value", required=False)
@click.option("--listen", is_flag=True, help="Print every leader's key and value; stand not.")
@ttl_option
@click.pass_context
def elect(ctx: click.Context, name: str, value: str | None, listen: bool, ttl_s: int) -> None:
    """Stand for the election NAME with VALUE; once elected, print the key and the fencing token,
    and lead until Ctrl-C.

    \b
    metastore elect scheduler host-a
    metastore elect --listen scheduler

    Fails with 1 if the leadership is lost.
    """
    if (value is None) != listen:
        raise click.UsageError("give a VALUE to stand with, or --listen", ctx)
    with interrupted_by_sigterm(), open_client(ctx) as client:
        if value is None:
            with until_interrupted():
                for leader in client.election(os.fsencode(name)).observe():
                    write_line_now(pair_line(leader))
            return
        with client.lease(ttl_s) as lease:
            election = client.election(os.fsencode(name), lease=lease)
            election.campaign(os.fsencode(value))
            hold(lease, election.key + b"\t%d" % election.fencing_token)
            election.resign()
