"""Whether a state is one: what does not fit is found by its key, lease or revision."""

from collections.abc import Sequence

import pytest
from data_directories import quiet

from metastore.engines.contract import SnapshotMeta, StorageDamaged
from metastore.engines.memory.records import MemoryRecords
from metastore.engines.records import KeyValue
from metastore.engines.state import State
from metastore.node.offline.contents import Held
from metastore.node.offline.state_check import check_state

A: KeyValue = (b"a", b"1", 2, 2, 1, 0)
B: KeyValue = (b"b", b"1", 3, 3, 1, 0)
LEASED_B: KeyValue = (*B[:5], 7)


class Wrong(MemoryRecords):
    """Records that are not what they were filled with."""

    def __init__(self, versions: Sequence[Sequence[KeyValue]], **wrong: object) -> None:
        super().__init__([[A], [B]])
        self._wrong = versions
        self._length = wrong.get("length", 2)
        self._changes_shown = wrong.get("changes", [A, B])

    def versions(self):  # type: ignore[no-untyped-def]
        return iter(self._wrong)

    def changes(self, first: int, last: int):  # type: ignore[no-untyped-def]
        return iter(self._changes_shown)  # type: ignore[call-overload]

    def __len__(self) -> int:
        return int(str(self._length))


def held(records: MemoryRecords, revision: int = 3, compacted: int = 0) -> Held:
    state = State(records)
    state.keys.revision, state.keys.compacted_revision = revision, compacted
    return Held(SnapshotMeta(3, 1), state)


def test_a_state_that_fits_is_described() -> None:
    sound = check_state(held(MemoryRecords([[A], [B]])), quiet)
    assert sound.startswith("as of index 3: revision 3, compacted 0, 2 keys")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (held(MemoryRecords([[A], [B]]), revision=2), "b'b' has a version of revision 3 after 0"),
        (held(MemoryRecords([[A], [B]]), compacted=4), "compacted at 4, newest is 3"),
        (held(MemoryRecords([[A], [LEASED_B]])), "names lease 7, which knows it not"),
        (held(Wrong([[B], [A]])), "the key b'a' comes after b'b'"),
        (held(Wrong([[A], [A]])), "the key b'a' comes after b'a'"),
        (held(Wrong([[A, A], [B]])), "has a version of revision 2 after 2"),
        (held(Wrong([[A, B]])), "the key b'b' has a version of revision 3"),
        (held(Wrong([[A], [B]], length=3)), "3 keys are promised, 2 are there"),
        (held(Wrong([[A], [B]], changes=[A])), "the history has 1 changes after revision 0"),
    ],
)
def test_what_does_not_fit_is_found(wrong: Held, said: str) -> None:
    with pytest.raises(StorageDamaged, match=said.replace("(", r"\(")):
        check_state(wrong, quiet)


def test_a_lease_that_claims_a_key_that_is_not_there_is_found() -> None:
    wrong = held(MemoryRecords([[A], [B]]))
    wrong.state.leases.add(7, 100)
    wrong.state.leases.attach(7, b"gone")
    with pytest.raises(StorageDamaged, match="the leases claim 1 keys, 0 keys name a lease"):
        check_state(wrong, quiet)
