"""`metastore keygen`: a key pair in a file, for a node or a client.

Reading order 21 of the commands. The secret half goes into the file and nowhere else: not into an
argument, not onto the screen.
"""

from pathlib import Path

import click

from metastore.client.command.exits import ExitCode
from metastore.transport.errors import KeyFileInvalid
from metastore.transport.security import new_keys, read_key_file, write_key_file

WHAT_TO_DO = """\
{file} holds the secret half. It is for its owner alone: keep it like the data itself.
Above stands the public half, which may be told to everybody (in a shell, in single quotes).
  Of a node:   add it to [nodes] keys in every node's access file and to the clients' server keys,
               and start the node with --key-file {file} --access-file FILE.
  Of a client: add it to [clients.NAME] keys in every node's access file,
               and use --key-file {file} --server-key='KEY OF A NODE' (or key_file, server_keys).
See docs/guide/keys.md."""


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--public", "is_public", is_flag=True, help="Print the public key of a FILE that is there."
)
@click.pass_context
def keygen(ctx: click.Context, file: Path, is_public: bool) -> None:
    """Make a key pair for a node or a client, in a new FILE, and print its public key.

    FILE can be read by its owner only, and is never overwritten.

    \b
    metastore keygen web.key
    metastore keygen --public web.key
    """
    try:
        keys = read_key_file(file) if is_public else new_keys()
        if not is_public:
            write_key_file(file, keys)
    except KeyFileInvalid as error:
        click.echo(f"metastore: {error}", err=True)
        ctx.exit(ExitCode.FAILED)
    click.echo(keys.public)
    if not is_public:
        click.echo(WHAT_TO_DO.format(file=file), err=True)
