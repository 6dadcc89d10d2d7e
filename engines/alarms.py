"""Alarms of the cluster, and what they forbid: no more space, or replicas that differ.

Reading order 7 of the engines. Set and cleared by entries of the leader only, so that every replica
refuses the same operations: whether there is space is never decided here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from metastore.transport.schema import NO_SPACE, Alarm, Code, Op, Operation, Result

Execute: TypeAlias = Callable[[Operation], Result]

_PUT = int(Op.PUT)
_TXN = int(Op.TXN)
_REFUSED: Result = (int(Code.RESOURCE_EXHAUSTED), NO_SPACE)
_KNOWN = frozenset(map(int, Alarm))


class Alarms:
    """Which alarms are set."""

    __slots__ = ("_set",)

    def __init__(self, alarms: Iterable[int] = ()) -> None:
        self._set = set(alarms)

    def __contains__(self, alarm: int) -> bool:
        return alarm in self._set

    def change(self, alarm: int, is_on: bool) -> None:
        """A number that is no alarm is passed over."""
        if alarm not in _KNOWN:
            return
        if is_on:
            self._set.add(alarm)
        else:
            self._set.discard(alarm)

    def as_tuple(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted(self._set))


def without_space(table: Mapping[int, Execute]) -> dict[int, Execute]:
    """The same operations, but whatever could make the store larger is refused; deletes, reads,
    keep-alives and compaction go on, since they are the way out."""
    execute_txn = table[_TXN]

    def txn(operation: Operation) -> Result:
        return _REFUSED if has_put(operation) else execute_txn(operation)

    refusals = {_PUT: refuse, int(Op.LEASE_GRANT): refuse, _TXN: txn}
    return {**table, **refusals}


def refuse(_: Operation) -> Result:
    return _REFUSED


def has_put(operation: Operation) -> bool:
    """Whether a transaction has a put in any branch, nested ones too; whichever will be taken."""
    branches: list[Sequence[Operation]] = [operation[2], operation[3]]
    while branches:
        for nested in branches.pop():
            if nested[0] == _PUT:
                return True
            if nested[0] == _TXN:
                branches += nested[2:]
    return False
