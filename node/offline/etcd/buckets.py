"""What etcd keeps in which bucket of its database, and how it writes a revision.

Reading order 5 of etcd's files. Pure; the names and layouts are those of etcd 3.4 and 3.5.

    key    revision 8 | '_' | place in the revision 8 | 't' for a deletion: KeyValue
    lease  id 8: Lease
    meta   consistent_index 8, term 8; finishedCompactRev, scheduledCompactRev as in `key`

Numbers are big-endian, so that keys stand in the order of the revisions.
"""

from struct import Struct

KEY = b"key"
LEASE = b"lease"
META = b"meta"
# Everything that an etcd expects to be there, filled or not.
EMPTY = (b"alarm", b"cluster", b"members", b"members_removed")
AUTH, AUTH_USERS, AUTH_ROLES = b"auth", b"authUsers", b"authRoles"

CONSISTENT_INDEX = b"consistent_index"
TERM = b"term"
FINISHED_COMPACT = b"finishedCompactRev"
SCHEDULED_COMPACT = b"scheduledCompactRev"

U64 = Struct(">Q")
LEASE_ID = Struct(">q")
_REVISION = Struct(">QcQ")
_DELETED = b"t"


def encode_revision(revision: int, place: int, *, is_deletion: bool = False) -> bytes:
    """`place`: of a change among those of the revision, from 0."""
    return _REVISION.pack(revision, b"_", place) + (_DELETED if is_deletion else b"")


def decode_revision(data: bytes) -> tuple[int, int, bool]:
    """(revision, place, is_deletion). Raises ValueError for what is none."""
    if len(data) not in (_REVISION.size, _REVISION.size + 1):
        raise ValueError(f"a revision has {_REVISION.size} bytes, or one more for a deletion")
    revision, separator, place = _REVISION.unpack_from(data)
    mark = data[_REVISION.size :]
    if separator != b"_" or mark not in (b"", _DELETED) or revision >> 63 or place >> 63:
        raise ValueError(f"{data!r} is no revision")
    return revision, place, mark == _DELETED
