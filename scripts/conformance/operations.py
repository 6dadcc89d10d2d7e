"""Configuration changes as the files write them: `v1 l2 r3 u4`.

Used by interaction and confchange files.
"""

from conformance.datadriven import Directive
from conformance.text import CHANGE_LETTERS

from metastore.node.raft.model import Change, ConfigurationChange, Transition

_TYPES = {letter: kind for kind, letter in CHANGE_LETTERS.items()}
_TRANSITIONS = {
    None: Transition.AUTO,
    "auto": Transition.AUTO,
    "implicit": Transition.JOINT_IMPLICIT,
    "explicit": Transition.JOINT_EXPLICIT,
}


def parse_operations(directive: Directive) -> tuple[Change, ...]:
    """Raises MalformedFile for a word that is not an operation."""
    return tuple(_operation(directive, word) for word in directive.input.split())


def _operation(directive: Directive, word: str) -> Change:
    kind = _TYPES.get(word[0])
    if kind is None:
        raise directive.malformed(f"{word!r} is not a change: v, l, r or u and a node id")
    return Change(kind, directive.number_of(word[1:]))


def parse_change(directive: Directive) -> ConfigurationChange:
    """Raises MalformedFile."""
    changes = parse_operations(directive)
    name = directive.value_or_none("transition")
    if name not in _TRANSITIONS:
        raise directive.malformed(f"there is no transition {name!r}")
    transition = _TRANSITIONS[name]
    if directive.flag("v1") and (len(changes) != 1 or transition is not Transition.AUTO):
        raise directive.malformed("v1=true takes one change and the automatic transition")
    return ConfigurationChange(changes, transition)
