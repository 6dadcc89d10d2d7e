"""`metastore lock`: a command that runs while a lock is held.

Reading order 16 of the commands. What a lock cannot promise is written in metastore/client/lock.py:
the command gets the fencing token, and what it changes should look at that.
"""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import click

from metastore.client.command.addresses import open_client
from metastore.client.command.exits import ExitCode
from metastore.client.command.interrupts import LOOK_S_MAX, hold, interrupted_by_sigterm
from metastore.client.errors import LeaseLost
from metastore.client.lease import Lease
from metastore.client.lock import LOCK_TTL_S, Lock

STOP_S_MAX = 5.0  # for a command that was told to end, before it is killed
COMMAND_NOT_FOUND = 127  # as shells say it
SIGNAL_EXIT = 128  # plus the signal's number, likewise

ttl_option = click.option(
    "--ttl",
    "ttl_s",
    type=click.IntRange(min=1),
    default=LOCK_TTL_S,
    show_default=True,
    metavar="SECONDS",
    help="How long the next one has to wait when this process is gone without a word.",
)


@click.command()
@click.argument("name")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@ttl_option
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Fail with 1 if it cannot be had within so long.  [default: wait]",
)
@click.pass_context
def lock(
    ctx: click.Context, name: str, command: tuple[str, ...], ttl_s: int, wait_s: float | None
) -> None:
    """Run COMMAND, which stands after --, while the lock NAME is held, and exit with its code.

    \b
    metastore lock --wait 60 nightly -- ./backup.sh

    COMMAND finds METASTORE_LOCK_KEY and METASTORE_FENCING_TOKEN in its environment. If the lock is
    lost it is stopped, and this fails with 1. Without a COMMAND, the lock is held until Ctrl-C;
    its key and token are printed.
    """
    with ExitStack() as stack:
        stack.enter_context(interrupted_by_sigterm())
        client = stack.enter_context(open_client(ctx))
        lease = stack.enter_context(client.lease(ttl_s))
        held = client.lock(os.fsencode(name), lease=lease)
        if not held.acquire(wait_s):
            click.echo(f"metastore: the lock {name!r} was not to be had in time", err=True)
            ctx.exit(ExitCode.FAILED)
        stack.push(held)
        if not command:
            hold(lease, held.key + b"\t%d" % held.fencing_token)
            return
        ctx.exit(_run(command, held, lease))


def _run(command: Sequence[str], held: Lock, lease: Lease) -> int:
    """The exit code of the command. Raises LeaseLost when the lock is lost; the command has ended
    then, too."""
    environment = os.environ | {
        "METASTORE_LOCK_KEY": os.fsdecode(held.key),
        "METASTORE_FENCING_TOKEN": str(held.fencing_token),
    }
    with _passing_on_signals() as relay:
        try:
            process = subprocess.Popen(command, env=environment)
        except OSError as error:
            click.echo(f"metastore: cannot run {command[0]}: {error.strerror}", err=True)
            return COMMAND_NOT_FOUND
        relay.begin(process)
        while True:
            try:
                code = process.wait(min(lease.remaining(), LOOK_S_MAX))
                return code if code >= 0 else SIGNAL_EXIT - code
            except subprocess.TimeoutExpired:
                try:
                    held.check()
                except LeaseLost:
                    _stop(process)
                    raise


class _Relay:
    """Passes signals on to the command; those that come before it is known wait for it. (It may be
    at work before Popen has returned.)"""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def take(self, number: int, _: object) -> None:
        if number == signal.SIGINT:
            return  # Ctrl-C reaches the command from the terminal by itself
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)

    def begin(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        for number in self._early:
            process.send_signal(number)


@contextmanager
def _passing_on_signals() -> "Iterator[_Relay]":
    """The command decides when to end."""
    relay = _Relay()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, relay.take) for number in numbers]
    try:
        yield relay
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    click.echo("metastore: the lock is lost; stopping the command", err=True)
    process.terminate()
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
