"""`metastore gateway`: the etcd API of a node that runs elsewhere, in this process.

Reading order 9 of the commands. Loads the gateway, and only when run.
"""

from importlib.util import find_spec

import click

from metastore.client.errors import InvalidRequest

INSTALL_HINT = "pip install metastore-raft[etcd]"


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_extra_args": True,
        "help_option_names": [],
    }
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def gateway(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Serve the etcd API for one node; `metastore gateway --help` lists the options."""
    missing = [name for name in ("grpc", "aiohttp") if find_spec(name) is None]
    if missing:
        raise InvalidRequest(f"the package {missing[0]} is not installed; {INSTALL_HINT}")
    from metastore.api.process import main

    ctx.exit(main(list(arguments)))
