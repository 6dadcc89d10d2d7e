"""Which node or level the arguments of an interaction directive mean.

Between datadriven.py and the commands. Reads arguments only; changes nothing.
"""

from conformance.datadriven import Directive
from conformance.environment import Environment, Node

from metastore.node.raft.events import Level


class CommandFailed(Exception):
    """A command that cannot be carried out; the sentence is part of the directive's output."""


def find_node(env: Environment, directive: Directive, node_id: int) -> Node:
    if not 1 <= node_id <= len(env.nodes):
        raise directive.malformed(f"there is no node {node_id}")
    return env.nodes[node_id - 1]


def find_nodes(env: Environment, directive: Directive) -> list[Node]:
    return [find_node(env, directive, node_id) for node_id in directive.positional_numbers()]


def first_node(env: Environment, directive: Directive) -> Node:
    words = directive.positional()
    if not words or not words[0].isdigit():
        raise directive.malformed("needs a node id first")
    return find_node(env, directive, int(words[0]))


def second_word(directive: Directive) -> str:
    words = directive.positional()
    if len(words) < 2:
        raise directive.malformed("needs a second argument")
    return words[1]


def second_number(directive: Directive) -> int:
    word = second_word(directive)
    if not word.isdigit():
        raise directive.malformed(f"{word!r} is not a number")
    return int(word)


def level_named(name: str) -> Level:
    level = Level.__members__.get(name.upper())
    if level is None:
        raise CommandFailed(f"log levels must be either of [{' '.join(Level.__members__)}]")
    return level
