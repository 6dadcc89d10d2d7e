"""The replicated state machine: what one entry of the log does to everything the cluster knows.

Reading order 8 of the engines, right below the stores. Deterministic: the same entries give the
same state and the same replies on every replica and in every process; no clock, no chance, no hash
order. Knows nothing of disks: a store keeps `records` and the *facts*, which are everything else,
as names and values of bytes.

    auth/...                      auth/tables.py
    scalars                       revision, compacted revision, size, alarms
    lease/ID  leased/ID KEY       leases.py
    session/ID  reply/ID SEQUENCE sessions.py
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from metastore.engines.alarms import Alarms, without_space
from metastore.engines.auth.guard import Guard
from metastore.engines.auth.operations import AuthOperations
from metastore.engines.auth.tables import AUTH_FACT, AuthTables
from metastore.engines.contract import LeaseChange, LogEntry, StorageDamaged
from metastore.engines.leases import LEASE_FACT, LEASED_FACT, LeaseOperations, Leases
from metastore.engines.mvcc import KeySpace
from metastore.engines.records import Records
from metastore.engines.scalars import SCALARS_FACT, Scalars, decode_scalars
from metastore.engines.sessions import REPLY_FACT, SESSION_FACT, Sessions
from metastore.transport.schema import (
    Alarm,
    Code,
    MalformedRequest,
    Op,
    Operation,
    Result,
    decode_batch,
    decode_internal_or_none,
    decode_request,
    encode_results,
    is_read_only,
)

Fact: TypeAlias = tuple[bytes, bytes]
_Table: TypeAlias = dict[int, Callable[[Operation], Result]]

HASH_ELSEWHERE = "metastore: a hash is worked out by the node that is asked, alone in its request"
NOT_A_READ = "only reads are answered without the log"

_OK = int(Code.OK)
_SESSION, _AS = int(Op.SESSION), int(Op.AS)
_TIME_TO_LIVE = int(Op.LEASE_TIME_TO_LIVE)


class State:
    """Loads `facts` (in any order) over `records`; raises StorageDamaged if they make no state.
    One owner thread.

    `keys`, `leases`, `sessions`, `alarms` and `auth` may be read by whoever holds the state; only
    `apply` changes them. `remaining_s` knows how long a lease has to live (seconds), for `read`."""

    def __init__(self, records: Records, facts: Iterable[Fact] = ()) -> None:
        self.leases = Leases()
        self.sessions = Sessions()
        self.auth = AuthTables()
        self.remaining_s: Callable[[int], int] | None = None
        scalars = self._load(facts)
        self.alarms = Alarms(scalars.alarms)
        self.keys = KeySpace(
            records,
            self.leases,
            revision=scalars.revision,
            compacted_revision=scalars.compacted_revision,
            size_bytes=scalars.size_bytes,
        )
        self._lease_operations = LeaseOperations(self.leases, self.keys)
        self._auth_operations = AuthOperations(self.auth, self.keys)
        self._guard = Guard(self.auth, self.leases.keys_of)
        self._changed: dict[bytes, bytes | None] | None = None
        self._scalars_told = self._scalars()
        # Where in the log we are: (index of the entry, place in it); two uses are never the same.
        self._index = 0
        self._place = 0
        self._table_with_space = self._operations()
        self._table_without_space = without_space(self._table_with_space)
        self._read_table = {**self._table_with_space, _TIME_TO_LIVE: self._time_to_live}
        self._internal_table = self._internal_operations()
        self._choose_table()

    def let_go(self) -> None:
        """The end of a state that another one replaces; nothing may be applied or read after it.
        Its tables refer back to it, and only the collector of cycles would ever free it."""
        for table in (self._table_with_space, self._table_without_space):
            table.clear()
        self._read_table.clear()
        self._internal_table.clear()

    # Applying

    def apply(self, entry: LogEntry) -> list[bytes]:
        """One encoded reply per request of the entry, in order; none for an entry of the leader's
        own. Never raises because of the entry's bytes: every replica has to go on alike."""
        self._index = entry.index
        self._place = 0
        try:
            batch = decode_batch(entry.data)
            internal = decode_internal_or_none(batch)
        except Exception:  # no batch at all: it holds no requests
            return []
        if internal is not None:
            # A leader that was deposed in between must not let leases expire.
            if internal[0] == entry.term:
                for operation in internal[1]:
                    self._internal_table[operation[0]](operation)
            return []
        if type(batch) is not tuple:
            return []
        return list(map(self._answer, batch))

    def read(self, request: bytes) -> bytes:
        """Answers a request that only reads, from the state as it is; any other, and HASH, with an
        error."""
        try:
            operations = decode_request(request)
        except MalformedRequest as error:
            return _invalid(str(error))
        if not is_read_only(operations):
            return _invalid(NOT_A_READ)
        return encode_results(self._run(self._read_table, operations))

    def _answer(self, request: bytes) -> bytes:
        try:
            operations = decode_request(request)
        except MalformedRequest as error:
            return _invalid(str(error))
        first = operations[0][0]
        if first == _SESSION:
            return self._answer_once(operations)
        if first == _AS:
            return encode_results(self._run(self._table, operations))
        table = self._table
        return encode_results([table[operation[0]](operation) for operation in operations])

    def _answer_once(self, operations: Sequence[Operation]) -> bytes:
        _, session, sequence, answered_below = operations[0]
        kept = self.sessions.begin(session, sequence, answered_below, self._next_place())
        if kept is not None:
            return kept
        reply = encode_results(self._run(self._table, operations[1:]))
        self.sessions.keep(session, sequence, reply)
        return reply

    def _run(self, table: _Table, operations: Sequence[Operation]) -> list[Result]:
        """In the name that a header says, if there is one: all of them, or none."""
        if operations[0][0] == _AS:
            header, *operations = operations
            refusal = self._guard.refusal_or_none(header, operations)
            if refusal is not None:
                return [refusal] * len(operations)
        return [table[operation[0]](operation) for operation in operations]

    # The operations that are not of the keys alone

    def _operations(self) -> _Table:
        keys, leases = self.keys, self._lease_operations
        return {
            int(Op.PUT): keys.put,
            int(Op.DELETE_RANGE): keys.delete_range,
            int(Op.RANGE): keys.range,
            int(Op.FILTERED_RANGE): keys.range,
            int(Op.TXN): keys.txn,
            int(Op.COMPACT): keys.compact,
            int(Op.LEASE_GRANT): self._grant,
            int(Op.LEASE_REVOKE): leases.revoke,
            int(Op.LEASE_KEEP_ALIVE): leases.keep_alive,
            # Not by the clock, which differs by replica.
            int(Op.LEASE_TIME_TO_LIVE): leases.time_to_live,
            int(Op.LEASES): leases.list_all,
            int(Op.HASH): _refuse_hash,
            int(Op.ALARMS): self._list_alarms,
            int(Op.ALARM_CHANGE): self._answer_alarm_change,
            int(Op.SESSION_OPEN): self._open_session,
            int(Op.SESSION_CLOSE): self._close_session,
            int(Op.AUTH): self._auth_operations.execute,
        }

    def _internal_operations(self) -> dict[int, Callable[[Operation], object]]:
        return {
            int(Op.LEASE_EXPIRE): self._lease_operations.expire,
            int(Op.LEASE_CHECKPOINT): self._lease_operations.set_remaining,
            int(Op.ALARM): self._change_alarm,
            int(Op.COMPACT): self.keys.compact,
        }

    def _grant(self, operation: Operation) -> Result:
        return self._lease_operations.grant(operation, *self._next_place())

    def _time_to_live(self, operation: Operation) -> Result:
        if self.remaining_s is None or not self.leases.exists(operation[1]):
            return self._lease_operations.time_to_live(operation)
        return self._lease_operations.time_to_live(operation, self.remaining_s(operation[1]))

    def _list_alarms(self, _: Operation) -> Result:
        return (_OK, self.keys.revision, self.alarms.as_tuple())

    def _answer_alarm_change(self, operation: Operation) -> Result:
        self._change_alarm(operation)
        return (_OK, self.keys.revision)

    def _change_alarm(self, operation: Operation) -> None:
        _, alarm, is_on = operation
        self.alarms.change(alarm, is_on)
        self._choose_table()

    def _open_session(self, operation: Operation) -> Result:
        self.sessions.open(operation[1], self._next_place())
        return (_OK, self.keys.revision)

    def _close_session(self, operation: Operation) -> Result:
        self.sessions.close(operation[1])
        return (_OK, self.keys.revision)

    def _next_place(self) -> tuple[int, int]:
        self._place += 1
        return self._index, self._place

    def _choose_table(self) -> None:
        # Swapped when an alarm changes, so that a put does not have to ask for it.
        full = Alarm.NOSPACE in self.alarms
        self._table = self._table_without_space if full else self._table_with_space

    # Facts, and what a clock of leases must know

    def take_lease_changes(self) -> list[LeaseChange]:
        """Since the last call; after loading, every lease."""
        return self.leases.take_changes()

    def all_facts(self) -> Iterator[Fact]:
        """Everything but the records, by ascending name. Nothing may be applied while it is
        used."""
        yield from self.auth.facts()
        yield from self.leases.facts()
        yield from self.sessions.reply_facts()
        yield SCALARS_FACT, self._scalars()
        yield from self.sessions.facts()

    @property
    def collects_facts(self) -> bool:
        """Whether changes are kept for take_changed_facts; they are not unless this is set."""
        return self._changed is not None

    @collects_facts.setter
    def collects_facts(self, wanted: bool) -> None:
        self._changed = {} if wanted else None
        for table in (self.leases, self.sessions, self.auth):
            table.changed_facts = self._changed
        self._scalars_told = self._scalars()

    def take_changed_facts(self) -> dict[bytes, bytes | None]:
        """Since the last call, with their values now; None: the fact is gone."""
        changed = dict(self._changed or ())
        if self._changed is not None:
            self._changed.clear()
        scalars = self._scalars()
        if scalars != self._scalars_told:
            changed[SCALARS_FACT] = self._scalars_told = scalars
        return changed

    def _scalars(self) -> bytes:
        keys, alarms = self.keys, self.alarms.as_tuple()
        scalars = Scalars(keys.revision, keys.compacted_revision, keys.size_bytes, alarms)
        return scalars.encode()

    def _load(self, facts: Iterable[Fact]) -> Scalars:
        scalars = Scalars()
        of_leases: list[Fact] = []
        of_sessions: list[Fact] = []
        of_auth: list[Fact] = []
        for fact in facts:
            name, value = fact
            if name.startswith((LEASE_FACT, LEASED_FACT)):
                of_leases.append(fact)
            elif name.startswith((SESSION_FACT, REPLY_FACT)):
                of_sessions.append(fact)
            elif name.startswith(AUTH_FACT):
                of_auth.append(fact)
            elif name == SCALARS_FACT:
                scalars = decode_scalars(value)
            else:
                raise StorageDamaged(f"unknown fact {name!r}: written by a later release?")
        self.leases.load(of_leases)
        self.sessions.load(of_sessions)
        self.auth.load(of_auth)
        return scalars


def _refuse_hash(_: Operation) -> Result:
    return (int(Code.UNIMPLEMENTED), HASH_ELSEWHERE)


def _invalid(sentence: str) -> bytes:
    return encode_results(((int(Code.INVALID_ARGUMENT), sentence),))
