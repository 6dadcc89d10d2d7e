"""`metastore import`: the keys and leases of a running etcd, taken over.

Reading order 20 of the commands. Loads the gateway's side of etcd's protocol, and only when run;
the extra [etcd] brings what it needs.
"""

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from metastore.client.command.addresses import open_client
from metastore.client.command.gateway import INSTALL_HINT
from metastore.client.command.interrupts import interrupted_by_sigterm
from metastore.client.command.progress import progress_bar
from metastore.client.errors import InvalidRequest

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("endpoint")
@click.option("--prefix", default="", metavar="PREFIX", help="Only keys that begin with it.")
@click.option("--force", "is_forced", is_flag=True,
              help="Also into a cluster that has keys there: those of the same name are replaced, "
              "none is deleted.")  # fmt: skip
@click.option("--dry-run", "is_rehearsal", is_flag=True,
              help="Read everything and say what would be stored; store nothing.")  # fmt: skip
@click.option("--cacert", type=_FILE, help="Certificates of who signed the etcd's (PEM).")
@click.option("--cert", type=_FILE, help="A client certificate for the etcd (PEM).")
@click.option("--key", type=_FILE, help="The key of that certificate (PEM).")
@click.option("--user", default="", metavar="NAME[:PASSWORD]",
              help="A user of the etcd; asked for a password that is not given.")  # fmt: skip
@click.option("--password", envvar="METASTORE_IMPORT_PASSWORD", metavar="PASSWORD",
              help="Of that user. [env METASTORE_IMPORT_PASSWORD]")  # fmt: skip
@click.option("--patience", "patience_s", type=click.FloatRange(min=0), default=60.0,
              show_default=True, metavar="SECONDS",
              help="Give up when nothing could be stored for so long.")  # fmt: skip
@click.pass_context
def import_etcd(ctx: click.Context, /, endpoint: str, **options: Any) -> None:
    """Store all keys of the etcd at ENDPOINT (HOST:PORT, http://… or https://…), as of one
    revision.

    They are written in the order in which they were last written there, so that of two keys the
    same one is the newer; the revisions themselves are this cluster's own. Leases keep their ids
    and times to live. The etcd is only read. To keep revisions and history, restore from its
    snapshot instead.
    """
    if find_spec("grpc") is None:
        raise InvalidRequest(f"the package grpc is not installed; {INSTALL_HINT}")
    with interrupted_by_sigterm():
        try:
            report = _import(ctx, endpoint, options)
        except OSError as error:
            raise InvalidRequest(
                f"{error.filename or endpoint}: {error.strerror or error}"
            ) from None
    _tell(report, endpoint, is_rehearsal=options["is_rehearsal"])


def _import(ctx: click.Context, endpoint: str, options: dict[str, Any]) -> Any:
    """The report."""
    from metastore.api.importing.run import Import, Wanted
    from metastore.api.importing.source import Source, SourceOptions
    from metastore.api.importing.target import Target

    user, password = _user(options["user"], options["password"])
    reached = SourceOptions(
        endpoint,
        ca_file=options["cacert"],
        cert_file=options["cert"],
        key_file=options["key"],
        user=user,
        password=password,
        timeout_s=max(ctx.obj["timeout_s"], 10.0),
    )
    wanted = Wanted(options["prefix"].encode(), options["is_forced"], options["is_rehearsal"])
    with open_client(ctx) as client, Source(reached) as source, progress_bar() as show:
        target = Target(client, patience_s=options["patience_s"])
        one = Import(source, target, wanted, show)
        try:
            return one.run(Path(tempfile.gettempdir()))
        except BaseException:
            if one.stored_count:
                click.echo(
                    f"metastore: {one.stored_count} of {one.keys_count} keys are stored; the same "
                    "import with --force does it all again",
                    err=True,
                )
            raise


def _user(text: str, password: str | None) -> tuple[str, str]:
    name, separator, given = text.partition(":")
    if not name:
        return "", ""
    if separator:
        return name, given
    if password is None:
        password = click.prompt(f"Password of {name}", hide_input=True, err=True)
    return name, password


def _tell(report: Any, endpoint: str, *, is_rehearsal: bool) -> None:
    done = "would be stored" if is_rehearsal else "stored"
    click.echo(
        f"{report.keys_count} keys ({report.size_bytes} bytes) and {report.leases_count} leases of "
        f"{endpoint} {done}, as of its revision {report.revision}"
    )
    for old, new in report.renumbered:
        click.echo(f"lease {old:x} is {new:x} here: another one has its id")
    if report.left_out_count:
        click.echo(f"{report.left_out_count} keys were left out: their lease ended meanwhile")
    if report.lost_leases_count:
        click.echo(f"{report.lost_leases_count} leases ended here before all was stored")
    if report.newest_revision != report.revision:
        click.echo(
            f"the etcd was written to meanwhile: it is at revision {report.newest_revision} now, "
            "and what came after is not here"
        )
