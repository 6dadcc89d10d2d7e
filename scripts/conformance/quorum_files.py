"""Quorum files: `committed` and `vote` against the pure functions of quorum.py.

Every answer is computed again by other means (counting instead of sorting, swapped halves); a
disagreement is shown below the answer and so never equals the expected text.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from conformance.datadriven import Directive

from metastore.node.raft.model import NO_LIMIT
from metastore.node.raft.quorum import (
    VoteResult,
    joint_commit,
    joint_vote,
    majority_commit,
    majority_vote,
)

_T = TypeVar("_T")
_VOTES = {"y": True, "n": False}
_RESULTS = {
    VoteResult.WON: "VoteWon",
    VoteResult.PENDING: "VotePending",
    VoteResult.LOST: "VoteLost",
}


class QuorumRunner:
    """Runs the directives of one file; nothing is carried from one to the next."""

    def run(self, directive: Directive) -> str:
        """The actual output. Raises MalformedFile for arguments that make no sense."""
        voters = directive.numbers("cfg")
        outgoing = _outgoing_or_none(directive)
        ids = list(dict.fromkeys((*voters, *(outgoing or ()))))
        key = "idx" if directive.command == "committed" else "votes"
        words = directive.values_or_none(key) or ()
        if len(words) != len(ids):
            return f"error: mismatched input (explicit or _) for voters {ids}: {list(words)}"
        if directive.command == "vote":
            return _vote(voters, outgoing, _known(ids, [_vote_word(directive, w) for w in words]))
        return _committed(voters, outgoing, _known(ids, [_index(directive, w) for w in words]))


def _outgoing_or_none(directive: Directive) -> tuple[int, ...] | None:
    if directive.values_or_none("cfgj") == ("zero",):
        return ()
    return None if directive.values_or_none("cfgj") is None else directive.numbers("cfgj")


def _known(ids: Sequence[int], values: Sequence[_T | None]) -> dict[int, _T]:
    pairs = zip(ids, values, strict=True)
    return {node_id: value for node_id, value in pairs if value is not None}


def _vote_word(directive: Directive, word: str) -> bool | None:
    if word != "_" and word not in _VOTES:
        raise directive.malformed(f"a vote is y, n or _, not {word!r}")
    return _VOTES.get(word)


def _index(directive: Directive, word: str) -> int | None:
    if word == "_":
        return None
    index = directive.number_of(word)
    if index == 0:
        raise directive.malformed("index 0 is not allowed; _ means unknown")
    return index


def _vote(voters: Sequence[int], outgoing: Sequence[int] | None, votes: Mapping[int, bool]) -> str:
    if outgoing is None:
        result = majority_vote(voters, votes)
        again = {"self-joint": joint_vote(voters, voters, votes)}
        again["zero-joint"] = joint_vote(voters, (), votes)
    else:
        result = joint_vote(voters, outgoing, votes)
        again = {"swapped halves": joint_vote(outgoing, voters, votes)}
    return (
        _RESULTS[result]
        + "\n"
        + _disagreements(_RESULTS[result], {name: _RESULTS[other] for name, other in again.items()})
    )


def _committed(
    voters: Sequence[int], outgoing: Sequence[int] | None, known: Mapping[int, int]
) -> str:
    counted = min(_commit_by_counting(voters, known), _commit_by_counting(outgoing or (), known))
    if outgoing is None:
        result = majority_commit(voters, known.get)
        again = {"self-joint": joint_commit(voters, voters, known.get)}
        again["zero-joint"] = joint_commit(voters, (), known.get)
    else:
        result = joint_commit(voters, outgoing, known.get)
        again = {"swapped halves": joint_commit(outgoing, voters, known.get)}
    again["counting"] = counted
    text = _index_text(result)
    others = {name: _index_text(other) for name, other in again.items()}
    drawing = draw_commit(sorted({*voters, *(outgoing or ())}), known)
    return f"{drawing}{text}\n{_disagreements(text, others)}"


def _commit_by_counting(voters: Sequence[int], known: Mapping[int, int]) -> int:
    """The highest known index that a majority has reached: the definition, not the computation."""
    if not voters:
        return NO_LIMIT
    ids = set(voters)
    reached = [
        index
        for index in known.values()
        if 2 * sum(known.get(node_id, 0) >= index for node_id in ids) > len(ids)
    ]
    return max(reached, default=0)


def _index_text(index: int) -> str:
    return "∞" if index == NO_LIMIT else str(index)


def _disagreements(text: str, others: Mapping[str, str]) -> str:
    return "".join(f"{other} <-- via {name}\n" for name, other in others.items() if other != text)


def draw_commit(ids: Sequence[int], known: Mapping[int, int]) -> str:
    """One bar per id, longer for higher indexes; `?` where nothing is known. Ids ascending."""
    if not ids:
        return "<empty majority quorum>"
    ranked = sorted(known.get(node_id, 0) for node_id in ids)
    lines = [" " * len(ids) + "    idx\n"]
    for node_id in ids:
        index = known.get(node_id, 0)
        # The first of equals gives the rank, so equal indexes have equal bars.
        rank = ranked.index(index)
        bar = "x" * rank + ">" + " " * (len(ids) - rank)
        if node_id not in known:
            bar = "?" + " " * len(ids)
        lines.append(f"{bar} {index:5d}    (id={node_id:x})\n")
    return "".join(lines)
