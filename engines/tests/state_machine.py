"""What the tests of the state share: a state driven entry by entry, and random histories for it."""

import random
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from metastore.engines.contract import LogRecord
from metastore.engines.hashing import visible
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.records import KEY, MOD, KeyValue
from metastore.engines.state import State
from metastore.transport import schema
from metastore.transport.auth_ops import SECRET_BYTES, AuthAction, as_user, auth
from metastore.transport.schema import Op, Operation

TERM = 3
ALL = (b"\x00", b"\x00")


class Machine:
    """A state and the log that it is given."""

    def __init__(self, index: int = 0) -> None:
        self.state = State(MemoryRecords())
        self.index = index

    def apply(self, data: bytes, term: int = TERM) -> list[bytes]:
        self.index += 1
        return self.state.apply(LogRecord(term, self.index, 0, data))

    def send(self, *operations: Operation) -> bytes:
        """One request in an entry of its own; the encoded reply."""
        (reply,) = self.apply(schema.encode_batch([schema.encode_request(operations)]))
        return reply

    def run(self, *operations: Operation) -> Sequence[Any]:
        return schema.decode_results(self.send(*operations))

    def one(self, *operation: Any) -> Any:
        (result,) = self.run(operation)
        return result

    def lead(self, *operations: Operation, term: int = TERM, proposed_in: int = TERM) -> None:
        """An entry of the leader's own."""
        assert self.apply(schema.encode_internal(proposed_in, operations), term) == []

    def read(self, *operation: Any) -> Any:
        (result,) = schema.decode_results(self.state.read(schema.encode_request([operation])))
        return result

    def keys(self) -> list[bytes]:
        return [kv[0] for kv in self.read(*schema.range_(*ALL))[2]]

    def reload(self) -> None:
        """As a snapshot does it: nothing goes over but versions, order and facts."""
        self.state = loaded(self.state, list(self.state.all_facts()))


def visible_versions(state: State) -> list[Sequence[KeyValue]]:
    """What can still be asked for, whatever compaction has got round to."""
    compacted, revision = state.keys.compacted_revision, state.keys.revision
    by_key = (visible(of_key, compacted, revision) for of_key in state.keys.records.versions())
    return [list(versions) for versions in by_key if versions]


def loaded(state: State, facts: Sequence[tuple[bytes, bytes]]) -> State:
    keys = state.keys
    changes = list(keys.records.changes(keys.compacted_revision, keys.revision))
    by_revision = groupby(changes, key=lambda record: record[MOD])
    order = [(revision, [record[KEY] for record in group]) for revision, group in by_revision]
    records = MemoryRecords(visible_versions(state), order, keys.compacted_revision)
    return State(records, facts)


def random_entries(seed: int, count: int) -> Iterator[tuple[int, bytes]]:
    """(term, data) of entries with everything that can stand in one, good and bad."""
    chance = random.Random(seed)
    for _ in range(count):
        if chance.random() < 0.15:
            proposed_in = chance.choice((TERM, TERM, TERM - 1))
            yield TERM, schema.encode_internal(proposed_in, [_internal(chance)])
        elif chance.random() < 0.05:
            yield (
                TERM,
                chance.choice((b"", b"\xc1", chance.randbytes(9), schema.encode_batch([b"?"]))),
            )
        else:
            requests = [_request(chance) for _ in range(chance.randint(1, 4))]
            yield TERM, schema.encode_batch(requests)


def _request(chance: random.Random) -> bytes:
    operations = [_operation(chance) for _ in range(chance.randint(1, 3))]
    if chance.random() < 0.2:
        operations.insert(
            0, as_user(chance.choice(("", "root", "u1", "u2")), chance.randint(1, 90))
        )
    if chance.random() < 0.4:
        sequence = chance.randint(1, 30)
        answered_below = sequence - chance.randint(0, 20)
        operations.insert(0, (Op.SESSION, chance.randint(1, 4), sequence, answered_below))
    return schema.encode_request(operations)


def _internal(chance: random.Random) -> Operation:
    lease, renewals = chance.randint(1, 6), chance.randint(0, 2)
    return chance.choice(
        (
            (Op.LEASE_EXPIRE, lease, renewals),
            (Op.LEASE_CHECKPOINT, lease, renewals, chance.randint(-1, 50)),
            (Op.ALARM, chance.randint(1, 3), chance.random() < 0.3),
            (Op.COMPACT, chance.randint(1, 60), False),
        )
    )


def _operation(chance: random.Random) -> Operation:
    lease = chance.randint(0, 6)
    drawn = chance.random()
    if drawn < 0.15:
        return _of_auth(chance)
    if drawn < 0.6:
        return _of_keys(chance, lease if chance.random() < 0.5 else 0)
    return chance.choice(
        (
            (Op.LEASE_GRANT, lease, chance.randint(-5, 99)),
            (Op.LEASE_GRANT, lease, chance.randint(-5, 99)),
            (Op.LEASE_REVOKE, lease),
            (Op.LEASE_KEEP_ALIVE, lease),
            (Op.LEASE_TIME_TO_LIVE, lease, True),
            (Op.LEASES,),
            (Op.HASH, 0),
            (Op.ALARMS,),
            (Op.SESSION_OPEN, chance.randint(1, 5)),
            (Op.SESSION_OPEN, chance.randint(1, 5)),
            (Op.SESSION_CLOSE, chance.randint(1, 5)),
            (Op.COMPACT, chance.randint(1, 60), chance.random() < 0.5),
        )
    )


def _of_auth(chance: random.Random) -> Operation:
    user, role = chance.choice(("root", "u1", "u2")), chance.choice(("root", "r1", "r2"))
    key = b"%02d" % chance.randint(0, 20)
    return auth(
        *chance.choice(
            (
                (AuthAction.USER_ADD, user, chance.randbytes(2)),
                (AuthAction.ROLE_ADD, role),
                (AuthAction.USER_GRANT, user, role),
                (AuthAction.USER_GRANT, "root", "root"),
                (AuthAction.ROLE_GRANT, role, chance.randint(0, 2), key, b"30"),
                (AuthAction.ROLE_REVOKE, role, key, b"30"),
                (AuthAction.USER_REVOKE, user, role),
                (AuthAction.USER_DELETE, user),
                (AuthAction.ROLE_DELETE, role),
                (AuthAction.USER_CHANGE_PASSWORD, user, chance.randbytes(2)),
                (AuthAction.ENABLE, chance.randbytes(SECRET_BYTES)),
                (AuthAction.ENABLE, chance.randbytes(SECRET_BYTES)),
                (AuthAction.DISABLE,),
                (AuthAction.CREDENTIALS, user),
                (AuthAction.ROLE_GET, role),
            )
        )
    )


def _of_keys(chance: random.Random, lease: int) -> Operation:
    key, end = sorted((b"%02d" % chance.randint(0, 20), b"%02d" % chance.randint(0, 20)))
    put = schema.put(key, chance.randbytes(3), lease=lease, prev_kv=chance.random() < 0.5)
    delete = schema.delete_range(key, end, prev_kv=True)
    compare = schema.compare(0, chance.randint(0, 3), key, chance.randint(0, 2))
    nested = schema.txn([compare], [schema.range_(*ALL)], [delete])
    other = schema.put(key + b"x", b"", lease=lease)
    return chance.choice(
        (
            *(put, put, put, put, delete),
            schema.range_(key, end, limit=2),
            schema.range_(*ALL, revision=chance.randint(0, 40)),
            schema.txn([compare], [put, other], [nested]),
        )
    )
