"""`metastore backup`: a consistent copy of everything, from a running node, in one file.

Reading order 10 of the commands. Loads the node's offline tools for one thing: to read the file
once, whole, before it gets its name.
"""

from pathlib import Path

import click
import zmq

from metastore.client.backups import BackupFacts, fetch_backup
from metastore.client.command.addresses import find_endpoints, find_security, open_client
from metastore.client.command.exits import ExitCode
from metastore.client.command.progress import progress_bar
from metastore.client.errors import Unavailable


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--local",
    "is_local",
    is_flag=True,
    help="Take what the node has, though newer writes may be known elsewhere: for a cluster "
    "without a majority.",
)
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a node may take to make the backup.",
)
@click.pass_context
def backup(ctx: click.Context, file: Path, is_local: bool, patience_s: float) -> None:
    """Write everything the cluster holds, as of one revision, to FILE.

    Every write that was acknowledged before is in it. FILE gets its name once all of it has arrived
    and was read back; a FILE of before is replaced then, and stays as it is if anything fails.
    `restore` makes a new cluster of it.
    """
    revision_min = 0
    if not is_local:
        with open_client(ctx) as client:
            revision_min = client.range(b"\0", limit=1, keys_only=True).revision
    try:
        facts = _from_the_first_that_can(ctx, file, revision_min, patience_s)
    except OSError as error:
        click.echo(f"metastore: {file}: {error.strerror or error}", err=True)
        ctx.exit(ExitCode.FAILED)
    click.echo(
        f"{file}: revision {facts.revision} (index {facts.snapshot_index}) of {facts.endpoint}, "
        f"{facts.size_bytes} bytes, SHA-256 {facts.sha256.hex()}"
    )


def _from_the_first_that_can(
    ctx: click.Context, file: Path, revision_min: int, patience_s: float
) -> BackupFacts:
    reasons = []
    security = find_security(ctx)
    for endpoint in find_endpoints(ctx):
        try:
            with progress_bar() as show:
                return fetch_backup(
                    zmq.Context.instance(),
                    endpoint,
                    file,
                    check=_check,
                    revision_min=revision_min,
                    silence_s=ctx.obj["timeout_s"],
                    patience_s=patience_s,
                    security=security,
                    progress=lambda done, total: show("fetching", done, total),
                )
        except Unavailable as error:
            reasons.append(str(error))
    raise Unavailable("; ".join(reasons))


def _check(path: Path) -> None:
    """Raises Unavailable."""
    from metastore.node.offline.failures import BAD
    from metastore.node.offline.restore import check_backup

    try:
        check_backup(path, lambda what, done, total: None)
    except BAD as error:
        raise Unavailable(f"what arrived is no whole backup: {error}") from error
