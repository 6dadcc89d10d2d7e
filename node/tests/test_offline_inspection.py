"""`inspect` shows everything that is on the disk, in words, and changes nothing."""

from pathlib import Path
from typing import Any

import pytest
from data_directories import ENGINES, LAST_INDEX, REVISION, fingerprint, make_directory, quiet

from metastore.engines.contract import LogRecord
from metastore.engines.memory.wal import WriteAheadLog
from metastore.node.members.records import MemberRecord, encode_edits
from metastore.node.offline.inspection import Wanted, inspect_directory
from metastore.node.offline.words import BYTES_SHOWN_MAX, in_words, requests_of, shown
from metastore.node.raft.model import Change, ChangeType, ConfigurationChange, EntryType
from metastore.transport import schema
from metastore.transport.auth_ops import AuthAction, as_user, auth
from metastore.transport.member_ops import Role

engines = pytest.mark.parametrize("engine", ENGINES)


def pieces(path: Path, **wanted: Any) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, fields in inspect_directory(path, Wanted(**wanted), quiet):
        found.setdefault(kind, []).append(fields)
    return found


@engines
def test_everything_is_shown_and_stays_as_it_is(tmp_path: Path, engine: str) -> None:
    path = make_directory(tmp_path / "data", engine, snapshot_after=4)
    before = fingerprint(path)
    found = pieces(path, keys=True)
    assert fingerprint(path) == before
    (identity,) = found["identity"]
    assert (identity["node_id"], identity["engine"], identity["incarnation"]) == (1, engine, 1)
    assert found["hard_state"] == [{"term": 2, "voted_for": 1, "commit_index": LAST_INDEX}]
    (base,) = found["log_base"]
    assert base == {"index": 1, "term": 1, "voters": (1,)}
    (snapshot,) = found["snapshot"]
    assert (snapshot["index"], snapshot["revision"]) == (5, 4)
    assert [entry["index"] for entry in found["entry"]] == [*range(2, LAST_INDEX + 1)]
    assert all(entry["type"] == "normal" and entry["is_committed"] for entry in found["entry"])
    (lease,) = found["lease"]
    assert (lease["lease"], lease["ttl_s"], lease["keys"]) == ("4d", 100, ["'leased'"])
    assert found["session"] == [{"session": "51"}]
    keys = {fields["key"]: fields["value"] for fields in found["key"]}
    expected = {"a": "2", "b": "1", "c": "yes", "d": "yes", "leased": "l"}
    assert keys == {f"'{key}'": f"'{value}'" for key, value in expected.items()}


@engines
@pytest.mark.parametrize("snapshot_after", [0, 4])
def test_the_state_is_that_of_the_last_committed_entry(
    tmp_path: Path, engine: str, snapshot_after: int
) -> None:
    path = make_directory(tmp_path / "data", engine, snapshot_after=snapshot_after)
    (scalars,) = pieces(path)["scalars"]
    assert scalars["as_of_index"] == LAST_INDEX
    assert (scalars["revision"], scalars["keys"], scalars["alarms"]) == (REVISION, 5, [])


def test_the_members_are_those_as_of_the_last_committed_entry(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory")
    place = ("tcp://a:1", "tcp://a:2", "tcp://a:3", "tcp://a:4")
    witness = MemberRecord(4, Role.WITNESS.value, *place, directory_id=0xABC, priority=7)
    first = ConfigurationChange(
        (Change(ChangeType.ADD_LEARNER, 4),), context=encode_edits([witness], [9])
    )
    impossible = ConfigurationChange((Change(ChangeType.REMOVE, 1),))  # the last voter
    late = ConfigurationChange((Change(ChangeType.ADD_VOTER, 4),))
    log = WriteAheadLog(path / "wal")
    log.recover()
    changes = [
        LogRecord(2, index, EntryType.CONFIGURATION, change.encode())
        for index, change in enumerate((first, impossible, late), LAST_INDEX + 1)
    ]
    log.append(changes, (2, 1, LAST_INDEX + 2), None)
    log.close()
    found = pieces(path)
    assert [(one["node_id"], one["role"], one["state"]) for one in found["member"]] == [
        (1, "voter", "member"),
        (4, "witness", "joining"),
    ]
    assert found["member"][1]["directory_id"] == "abc"
    assert (found["member"][1]["snapshot"], found["member"][1]["priority"]) == ("tcp://a:4", 7)
    assert found["removed"] == [{"node_ids": [9]}]
    [[said]] = found["entry"][-3]["requests"]
    assert said == (
        "members: add learner 4; 4 is a witness at tcp://a:1, tcp://a:2, tcp://a:3, tcp://a:4 "
        "(directory abc, priority 7); 9 is gone for ever"
    )


def test_entries_are_chosen_by_index(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory")

    def indexes(**wanted: int) -> list[int]:
        return [entry["index"] for entry in pieces(path, **wanted).get("entry", [])]

    assert indexes(first_index=4, last_index=6) == [4, 5, 6]
    assert indexes(first_index=9) == [9, 10]
    assert indexes(last_index=2) == [2]
    assert indexes(first_index=99) == []


def test_keys_are_shown_only_when_asked_for(tmp_path: Path) -> None:
    path = make_directory(tmp_path / "data", "memory")
    assert "key" not in pieces(path)


# --- words


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (schema.put(b"a", b"1"), "put 'a' = '1'"),
        (schema.put(b"a", b"", lease=255), "put 'a' = '' under lease ff"),
        (schema.put(b"a", b"", ignore_value=True), "put 'a' = the value it has"),
        (schema.put(b"a", b"1", ignore_lease=True), "put 'a' = '1' under the lease it has"),
        (schema.delete_range(b"a"), "delete 'a'"),
        (schema.delete_range(b"a", b"b"), "delete 'a' to 'b'"),
        (schema.delete_range(b"\0", b"\0"), "delete all keys"),
        (schema.delete_range(b"k", b"\0"), "delete all keys from 'k'"),
        (schema.range_(b"a", limit=3, revision=9), "read 'a', at most 3, at revision 9"),
        (
            schema.txn([schema.compare(3, 0, b"a", b"1")], [schema.put(b"b", b"2")]),
            "if value of 'a' = '1' then [put 'b' = '2'] else [nothing]",
        ),
        (schema.txn([], [schema.put(b"b", b"2")]), "if always then [put 'b' = '2'] else [nothing]"),
        ((int(schema.Op.COMPACT), 7, False), "compact at revision 7"),
        ((int(schema.Op.LEASE_GRANT), 0, 10), "grant lease of any id for 10 s"),
        ((int(schema.Op.LEASE_REVOKE), 16), "revoke lease 10"),
        ((int(schema.Op.SESSION), 17, 3, 1), "as command 3 of session 11"),
        ((int(schema.Op.ALARM), 1, True), "raise the alarm NOSPACE"),
        ((int(schema.Op.ALARM), 9, False), "clear the alarm 9"),
        ((int(schema.Op.ALARM_CHANGE), 1, False), "clear the alarm NOSPACE"),
        (as_user("u", 3), "as user 'u' of auth revision 3"),
        (auth(AuthAction.USER_ADD, "u", b"hash"), "auth: user add 'u'"),
        (auth(AuthAction.ENABLE, b"s" * 32), "auth: enable"),
        (auth(AuthAction.USER_GRANT, "u", "r"), "auth: user grant 'u' 'r'"),
        (
            auth(AuthAction.ROLE_GRANT, "r", 2, b"a", b"b"),
            "auth: role grant 'r' 'a' to 'b' readwrite",
        ),
        (auth(AuthAction.ROLE_REVOKE, "r", b"a", b""), "auth: role revoke 'r' 'a'"),
        (auth(AuthAction.CHECK, 2, b"a", b"\0"), "auth: check write all keys from 'a'"),
        ((99,), "operation 99"),
    ],
)
def test_an_operation_has_words(operation: schema.Operation, words: str) -> None:
    assert in_words(operation) == words


def test_every_operation_has_words_of_its_own() -> None:
    from metastore.node.offline import words

    assert set(words._WORDS) == set(schema.Op) - {schema.Op.TXN} | {schema.Op.TXN}


def test_a_long_value_is_cut_and_its_length_is_told() -> None:
    assert shown(b"x" * (BYTES_SHOWN_MAX + 1)) == f"'{'x' * BYTES_SHOWN_MAX}'… (65 bytes)"
    assert shown(b"x" * BYTES_SHOWN_MAX) == f"'{'x' * BYTES_SHOWN_MAX}'"
    assert shown(b"\xff\n") == "b'\\xff\\n'"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (LogRecord(1, 2, 0, b""), []),
        (LogRecord(1, 2, 0, b"\xc1"), ["bytes that are no batch"]),
        (LogRecord(1, 2, 0, schema.encode_batch([b"\xc1"])), ["a request that is refused"]),
        (
            LogRecord(3, 2, 0, schema.encode_internal(3, [(int(schema.Op.LEASE_EXPIRE), 4, 1)])),
            ["the leader of term 3: let lease 4 expire (renewed 1 times)"],
        ),
        (
            LogRecord(1, 2, 2, ConfigurationChange((Change(ChangeType.ADD_LEARNER, 4),)).encode()),
            ["members: add learner 4"],
        ),
        (LogRecord(1, 2, 2, b""), ["leave the joint configuration"]),
        (LogRecord(1, 2, 2, b"\0\5"), ["a change of members that cannot be read"]),
    ],
)
def test_an_entry_has_words_whatever_its_bytes(entry: LogRecord, words: list[str]) -> None:
    found = ["; ".join(request) for request in requests_of(entry)]
    assert len(found) == len(words)
    assert all(expected in said for expected, said in zip(words, found, strict=True))
