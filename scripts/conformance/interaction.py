"""Interaction files: the table of commands, what a directive asks of a node, what it looks at.

Built on building.py and driving.py. Knows the core only through its public face; the texts of
refusals are the core's.
"""

from collections.abc import Callable

from conformance.addressing import (
    CommandFailed,
    find_node,
    first_node,
    level_named,
    second_number,
)
from conformance.building import ELECTION_TIMEOUT_TICKS, HEARTBEAT_TICKS, on_add_nodes
from conformance.datadriven import Directive
from conformance.driving import (
    on_deliver_msgs,
    on_process_append_thread,
    on_process_apply_thread,
    on_process_ready,
    on_stabilize,
)
from conformance.environment import Environment, Node
from conformance.operations import parse_change
from conformance.text import ROLE_NAMES, describe_entry, describe_message

from metastore.node.raft.errors import RaftError
from metastore.node.raft.messages import InstallSnapshot
from metastore.node.raft.model import NO_LIMIT
from metastore.node.raft.storage import Compacted


class InteractionRunner:
    """Runs the directives of one file in order against one environment."""

    def __init__(self) -> None:
        self.env = Environment()

    def run(self, directive: Directive) -> str:
        """The actual output. Raises MalformedFile for arguments that make no sense."""
        output = self.env.output
        output.take()
        try:
            handler = COMMANDS.get(directive.command)
            if handler is None:
                raise CommandFailed("unknown command")
            handler(self.env, directive)
        except (CommandFailed, RaftError) as error:
            return output.take() + str(error)
        return output.take() or "ok"


# Asking a node for something


def on_campaign(env: Environment, directive: Directive) -> None:
    first_node(env, directive).core.campaign()


def on_propose(env: Environment, directive: Directive) -> None:
    # The word as written: the quotes of `propose 1 "x"` are data.
    if len(directive.arguments) != 2:
        raise directive.malformed("needs a node id and the data")
    first_node(env, directive).core.propose(directive.arguments[1].word.encode())


def on_propose_conf_change(env: Environment, directive: Directive) -> None:
    change = parse_change(directive)
    first_node(env, directive).core.propose_change(change, directive.flag("v1"))


def on_tick_election(env: Environment, directive: Directive) -> None:
    _tick(first_node(env, directive), ELECTION_TIMEOUT_TICKS)


def on_tick_heartbeat(env: Environment, directive: Directive) -> None:
    _tick(first_node(env, directive), HEARTBEAT_TICKS)


def _tick(node: Node, count: int) -> None:
    for _ in range(count):
        node.core.tick()


def on_set_randomized_election_timeout(env: Environment, directive: Directive) -> None:
    ticks = directive.number("timeout", 0)
    if ticks <= 0:
        raise directive.malformed("needs a timeout")
    first_node(env, directive).core.set_randomized_election_timeout(ticks)


def _ignoring_refusals(action: Callable[[], None]) -> None:
    try:
        action()
    except RaftError:
        return


def on_transfer_leadership(env: Environment, directive: Directive) -> None:
    source, target = directive.number("from", 0), directive.number("to", 0)
    core = find_node(env, directive, source).core
    _ignoring_refusals(lambda: core.transfer_leadership(target))


def on_forget_leader(env: Environment, directive: Directive) -> None:
    _ignoring_refusals(first_node(env, directive).core.forget_leader)


def on_report_unreachable(env: Environment, directive: Directive) -> None:
    core, peer = first_node(env, directive).core, second_number(directive)
    _ignoring_refusals(lambda: core.report_unreachable(peer))


def on_send_snapshot(env: Environment, directive: Directive) -> None:
    source, target = first_node(env, directive), second_number(directive)
    message = InstallSnapshot(
        sender=source.id,
        to=target,
        term=source.core.term,
        snapshot=source.storage.snapshot(),
    )
    env.messages.append(message)
    env.output.write(describe_message(message))


# Looking


def on_log_level(env: Environment, directive: Directive) -> None:
    words = directive.positional()
    if len(words) != 1:
        raise directive.malformed("needs a level")
    env.output.level = level_named(words[0])


def on_raft_log(env: Environment, directive: Directive) -> None:
    storage = first_node(env, directive).storage
    first, last = storage.first_index(), storage.last_index()
    if last < first:
        env.output.write(f"log is empty: first index={first}, last index={last}")
        return
    for entry in storage.entries(first, last + 1, NO_LIMIT):
        env.output.write(describe_entry(entry) + "\n")


def on_raft_state(env: Environment, directive: Directive) -> None:
    for node in env.nodes:
        status = node.core.status()
        votes = node.id in status.configuration.all_voters
        env.output.write(
            f"{node.id}: {ROLE_NAMES[status.role]} ({'Voter' if votes else 'Non-Voter'}) "
            f"Term:{status.term} Lead:{status.leader_id}\n"
        )


def on_status(env: Environment, directive: Directive) -> None:
    status = first_node(env, directive).core.status()
    for node_id, progress in sorted((status.progress or {}).items()):
        env.output.write(f"{node_id}: {progress}\n")


def on_compact(env: Environment, directive: Directive) -> None:
    try:
        first_node(env, directive).storage.compact(second_number(directive))
    except Compacted:
        raise CommandFailed("requested index is unavailable due to compaction") from None
    on_raft_log(env, directive)


def on_breakpoint(env: Environment, directive: Directive) -> None:
    """Does nothing: a place to stop a debugger at."""


COMMANDS: dict[str, Callable[[Environment, Directive], None]] = {
    "add-nodes": on_add_nodes,
    "campaign": on_campaign,
    "propose": on_propose,
    "propose-conf-change": on_propose_conf_change,
    "process-ready": on_process_ready,
    "deliver-msgs": on_deliver_msgs,
    "stabilize": on_stabilize,
    "process-append-thread": on_process_append_thread,
    "process-apply-thread": on_process_apply_thread,
    "tick-election": on_tick_election,
    "tick-heartbeat": on_tick_heartbeat,
    "set-randomized-election-timeout": on_set_randomized_election_timeout,
    "log-level": on_log_level,
    "raft-log": on_raft_log,
    "raft-state": on_raft_state,
    "status": on_status,
    "compact": on_compact,
    "transfer-leadership": on_transfer_leadership,
    "forget-leader": on_forget_leader,
    "send-snapshot": on_send_snapshot,
    "report-unreachable": on_report_unreachable,
    "_breakpoint": on_breakpoint,
}
