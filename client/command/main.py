"""The `metastore` command: its subcommands by name, and what its exit codes mean.

Reading order 1 of the commands. Imports a subcommand only when it is used, so that --help is quick
and only `serve` and the offline tools ever load the node.
"""

import contextlib
import os
import sys
from importlib import import_module
from typing import Any, NamedTuple

import click

from metastore.client.command.exits import ExitCode, exit_code_of
from metastore.client.errors import MetastoreError


class Entry(NamedTuple):
    """Where a subcommand lives, and the line about it in --help."""

    module: str
    attribute: str
    summary: str


SUBCOMMANDS = {
    "serve": Entry("serve", "serve", "Run one node of a cluster."),
    "gateway": Entry("gateway", "gateway", "Serve the etcd API for a node that runs elsewhere."),
    "etcd": Entry("etcd", "etcd", "Run a node in etcd's place, with etcd's flags."),
    "put": Entry("keys", "put", "Store a value under a key."),
    "get": Entry("keys", "get", "Print the value of a key, or of many keys."),
    "del": Entry("keys", "delete", "Delete a key, or all keys with a prefix."),
    "txn": Entry("txn", "txn", "Change several keys at one revision, if conditions hold."),
    "watch": Entry("watch", "watch", "Print changes as they happen."),
    "lease": Entry("leases", "lease", "Grant, renew, show and revoke leases."),
    "lock": Entry("lock", "lock", "Run a command while a lock is held."),
    "elect": Entry("elect", "elect", "Stand for an election, or watch one."),
    "compact": Entry("history", "compact", "Forget what was superseded before a revision."),
    "hash": Entry("history", "hash_", "Compare the checksums of all nodes."),
    "status": Entry("status", "status", "Show every node of the cluster."),
    "member": Entry("member", "member", "Show the members of the cluster, and change them."),
    "transfer": Entry("member", "transfer", "Let another node lead."),
    "load": Entry("load", "load", "Store keys and values from a file of JSON lines."),
    "dump": Entry("dump", "dump", "Print keys and values as JSON lines."),
    "backup": Entry("backup", "backup", "Write everything a running cluster holds to a file."),
    "restore": Entry("restore", "restore", "Make a member of a new cluster from a backup."),
    "convert": Entry("convert", "convert", "Make an etcd snapshot from a backup."),
    "import": Entry("import_etcd", "import_etcd", "Take over the keys of a running etcd."),
    "recover": Entry("recover", "recover", "Go on with one node when a majority is lost."),
    "keygen": Entry("keygen", "keygen", "Make a key pair for a node or a client."),
    "verify": Entry("verify", "verify", "Check a stopped node's data directory, or a backup."),
    "inspect": Entry("inspection", "inspect", "Show what a stopped node has on its disk."),
}


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = SUBCOMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = import_module(f"metastore.client.command.{entry.module}")
        command: click.Command = getattr(module, entry.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in SUBCOMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Every error a user can meet leaves as one line and its exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that went away shows here, not in the interpreter's exit
            return result
        except BrokenPipeError:
            _abandon_stdout()
            ctx.exit(ExitCode.BROKEN_PIPE)
        except KeyboardInterrupt:
            click.echo("metastore: interrupted", err=True)
            ctx.exit(ExitCode.INTERRUPTED)
        except MetastoreError as error:
            # What a node says of its own accord begins so already.
            click.echo(f"metastore: {str(error).removeprefix('metastore: ')}", err=True)
            ctx.exit(exit_code_of(error))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 not found or refused, 2 wrong usage, 3 the cluster is "
    "unavailable (nothing happened), 4 outcome unknown (a write may or may not have happened).",
)
@click.option(
    "--endpoints",
    multiple=True,
    envvar="METASTORE_ENDPOINTS",
    metavar="ADDRESS[,ADDRESS…]",
    help="Client addresses of some nodes, as tcp://HOST:PORT. Repeatable. "
    "[env METASTORE_ENDPOINTS; default: those of ./cluster.json, or tcp://127.0.0.1:7002]",
)
@click.option(
    "--cluster",
    metavar="DIR",
    type=click.Path(exists=True),
    help="Take the addresses from DIR/cluster.json, written by a local cluster's launcher.",
)
@click.option(
    "--key-file",
    envvar="METASTORE_CLIENT_KEY_FILE",
    metavar="PATH",
    help="This client's key (`metastore keygen`), for nodes that use keys. "
    "[env METASTORE_CLIENT_KEY_FILE; default: that of cluster.json]",
)
@click.option(
    "--server-key",
    "server_keys",
    multiple=True,
    envvar="METASTORE_CLIENT_SERVER_KEYS",
    metavar="KEY[,KEY…]",
    help="Public key that the nodes may have. Repeatable. [env METASTORE_CLIENT_SERVER_KEYS]",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a request may take before it is given up.",
)
@click.pass_context
def cli(
    ctx: click.Context,
    endpoints: tuple[str, ...],
    cluster: str | None,
    key_file: str | None,
    server_keys: tuple[str, ...],
    timeout_s: float,
) -> None:
    """A replicated metadata store: run nodes, and read and write keys."""
    ctx.obj = {
        "endpoints": endpoints,
        "cluster": cluster,
        "key_file": key_file,
        "server_keys": server_keys,
        "timeout_s": timeout_s,
    }


def main() -> None:
    """The console script."""
    cli(prog_name="metastore")


def _abandon_stdout() -> None:
    """Nobody reads any more: let the interpreter's last flush go nowhere, quietly."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
