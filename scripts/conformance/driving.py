"""The commands that move things along: Ready, storage threads, delivery, until all is quiet.

One of three files of commands; interaction.py has their table. Nothing reaches a core but by these
steps and by what a file asks for.
"""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from conformance.addressing import CommandFailed, find_node, find_nodes, level_named
from conformance.datadriven import Directive
from conformance.environment import Environment, Node
from conformance.text import describe_message, describe_ready

from metastore.node.raft.errors import RaftError
from metastore.node.raft.messages import Message, StorageAppend, StorageApply

# A healthy cluster is quiet after a few passes; a core that never becomes quiet is a failed file.
STABILIZE_PASSES_MAX = 1000


def on_process_ready(env: Environment, directive: Directive) -> None:
    _each_node(env, directive, "handling Ready", _process_ready)


def on_process_append_thread(env: Environment, directive: Directive) -> None:
    _each_node(env, directive, "processing append thread", _process_append)


def on_process_apply_thread(env: Environment, directive: Directive) -> None:
    _each_node(env, directive, "processing apply thread", _process_apply)


def _each_node(
    env: Environment,
    directive: Directive,
    doing: str,
    process: Callable[[Environment, Node], None],
) -> None:
    nodes = find_nodes(env, directive)
    for node in nodes:
        if len(nodes) > 1:
            _header(env, node, doing)
        with env.output.indented() if len(nodes) > 1 else nullcontext():
            process(env, node)


def _process_ready(env: Environment, node: Node) -> None:
    ready = node.core.ready()
    env.output.write(describe_ready(ready))
    if not node.asynchronous:
        node.persist(ready.hard_state, ready.entries, ready.snapshot)
        node.apply(ready.committed)
    for message in ready.messages:
        if isinstance(message, StorageAppend):
            node.append_work.append(message)
        elif isinstance(message, StorageApply):
            node.apply_work.append(message)
        else:
            env.messages.append(message)
    if not node.asynchronous:
        node.core.advance()


def _process_append(env: Environment, node: Node) -> None:
    if not node.append_work:
        env.output.write("no append work to perform")
        return
    work = node.append_work.popleft()
    _write_processing(env, work)
    node.persist(work.hard_state, work.entries, work.snapshot)
    _write_responses(env, work.responses)


def _process_apply(env: Environment, node: Node) -> None:
    if not node.apply_work:
        env.output.write("no apply work to perform")
        return
    work = node.apply_work.popleft()
    _write_processing(env, work)
    node.apply(work.entries)
    _write_responses(env, work.responses)


def _write_processing(env: Environment, work: StorageAppend | StorageApply) -> None:
    silent = dataclasses.replace(work, responses=())
    env.output.write(f"Processing:\n{describe_message(silent)}\n")


def _write_responses(env: Environment, responses: Sequence[Message]) -> None:
    env.output.write("Responses:\n")
    for response in responses:
        env.output.write(describe_message(response) + "\n")
    env.messages.extend(responses)


def on_deliver_msgs(env: Environment, directive: Directive) -> None:
    name = directive.value_or_none("type")
    count = 0
    for argument in directive.arguments:
        if argument.is_positional:
            node = find_node(env, directive, directive.number_of(argument.word))
            count += _deliver(env, node, name)
        elif argument.key == "drop":
            for value in argument.values:
                count += _drop(env, directive.number_of(value), name)
    if not count:
        env.output.write("no messages")


def _deliver(env: Environment, node: Node, name: str | None) -> int:
    messages = env.take_messages(node.id, name, keep_local=False)
    for message in messages:
        env.output.write(describe_message(message) + "\n")
        try:
            node.core.step(message)
        except RaftError as error:
            env.output.write(f"{error}\n")
    return len(messages)


def _drop(env: Environment, to: int, name: str | None) -> int:
    messages = env.take_messages(to, name, keep_local=True)
    for message in messages:
        env.output.write(f"dropped: {describe_message(message)}\n")
    return len(messages)


def on_stabilize(env: Environment, directive: Directive) -> None:
    before = env.output.level
    if (name := directive.value_or_none("log-level")) is not None:
        env.output.level = level_named(name)
    try:
        nodes = find_nodes(env, directive) or list(env.nodes)
        for _ in range(STABILIZE_PASSES_MAX):
            if not _stabilize_once(env, nodes):
                return
        raise CommandFailed(f"the nodes are not quiet after {STABILIZE_PASSES_MAX} passes")
    finally:
        env.output.level = before


def _stabilize_once(env: Environment, nodes: Sequence[Node]) -> bool:
    """Whether anything was done. Each loop ends for all nodes before the next one begins."""
    busy = False
    for node in nodes:
        if node.core.has_ready():
            busy = True
            _header(env, node, "handling Ready")
            with env.output.indented():
                _process_ready(env, node)
    for node in nodes:
        if any(message.to == node.id for message in env.messages):
            busy = True
            _header(env, node, "receiving messages")
            with env.output.indented():
                _deliver(env, node, None)
    for node in nodes:
        if node.append_work:
            busy = True
            _header(env, node, "processing append thread")
            while node.append_work:
                with env.output.indented():
                    _process_append(env, node)
    for node in nodes:
        if node.apply_work:
            busy = True
            _header(env, node, "processing apply thread")
            while node.apply_work:
                with env.output.indented():
                    _process_apply(env, node)
    return busy


def _header(env: Environment, node: Node, doing: str) -> None:
    env.output.write(f"> {node.id} {doing}\n")
