"""Users and roles in etcd's database, from ours and to ours.

Reading order 6 of etcd's files, beside snapshot_file. Passwords go along as the hashes they are:
both sides keep bcrypt's. What tokens are signed with does not: etcd has no such thing, and a secret
made from a file would be known to whoever has the file. A gateway gives the cluster a new one.

    auth       authEnabled 1, authRevision 8
    authUsers  name: User {1 name, 2 password, 3 roles, 4 options {1 no_password}}
    authRoles  name: Role {1 name, 2 keyPermission {1 permType, 2 key, 3 range_end}}
"""

from collections.abc import Iterable, Iterator

from metastore.engines.auth.tables import FIRST_AUTH_REVISION, AuthTables, Grant, User
from metastore.node.offline.etcd import buckets
from metastore.node.offline.etcd.bolt_reader import BoltReader
from metastore.node.offline.etcd.bolt_writer import BoltWriter
from metastore.node.offline.etcd.messages import BadMessage, decode, encode, fields
from metastore.transport.auth_ops import Permission

ENABLED = b"authEnabled"
REVISION = b"authRevision"
_NO_PASSWORD = encode((1, 1))  # as User's options

Items = Iterator[tuple[bytes, bytes]]


def write_auth(writer: BoltWriter, auth: AuthTables) -> None:
    writer.bucket(buckets.AUTH, _scalars(auth))
    writer.bucket(buckets.AUTH_ROLES, _roles(auth))
    writer.bucket(buckets.AUTH_USERS, _users(auth))


def read_auth(reader: BoltReader, auth: AuthTables) -> None:
    """Into empty tables. Raises BadMessage for what is no user or role, StorageDamaged."""
    for name, value in reader.items(buckets.AUTH_ROLES):
        if not auth.put_role(_text(name), tuple(_grants(name, value))):
            raise BadMessage(f"the role {name!r} is larger than there is room for")
    for name, value in reader.items(buckets.AUTH_USERS):
        if not auth.put_user(_text(name), _user(name, value)):
            raise BadMessage(f"the user {name!r} is larger than there is room for")
    for name, value in reader.items(buckets.AUTH):
        if name == ENABLED:
            auth.is_enabled = value == b"\x01"
        elif name == REVISION:
            if len(value) != buckets.U64.size or value[0] & 0x80:
                raise BadMessage("the revision of users and roles is no number")
            auth.revision = max(FIRST_AUTH_REVISION, buckets.U64.unpack(value)[0])
    # A password is as old as the newest change: no etcd says when it was set.
    for user, record in list(auth.users.items()):
        auth.put_user(user, record._replace(password_revision=auth.revision))


def _scalars(auth: AuthTables) -> Items:
    yield ENABLED, b"\x01" if auth.is_enabled else b"\x00"
    yield REVISION, buckets.U64.pack(auth.revision)


def _roles(auth: AuthTables) -> Items:
    for name, role in sorted((name.encode(), role) for name, role in auth.roles.items()):
        grants = [(2, encode((1, kind), (2, key), (3, end))) for kind, key, end in role]
        # A grant of READ on nothing would be an empty message; etcd has none either.
        yield name, encode((1, name), *grants)


def _users(auth: AuthTables) -> Items:
    for name, user in sorted((name.encode(), user) for name, user in auth.users.items()):
        roles = [(3, role.encode()) for role in user.roles]
        options = b"" if user.password_hash else _NO_PASSWORD
        yield name, encode((1, name), (2, user.password_hash), *roles, (4, options))


def _user(name: bytes, data: bytes) -> User:
    found = decode(data, {1: bytes, 2: bytes})
    if found[1] != name:
        raise BadMessage(f"the user {found[1]!r} has the name of another one, {name!r}")
    roles = sorted({_text(role) for role in _repeated(data, 3)})
    return User(found[2], FIRST_AUTH_REVISION, tuple(roles))


def _grants(name: bytes, data: bytes) -> Iterable[Grant]:
    """By ascending key and range end, each once."""
    if decode(data, {1: bytes})[1] != name:
        raise BadMessage(f"the role {name!r} has another name inside")
    by_range: dict[tuple[bytes, bytes], int] = {}
    for permission in _repeated(data, 2):
        found = decode(permission, {1: int, 2: bytes, 3: bytes})
        if found[1] not in tuple(Permission):
            raise BadMessage(f"the role {name!r} grants {found[1]}, which is no permission")
        by_range[found[2], found[3]] = found[1]
    return [(kind, *range_) for range_, kind in sorted(by_range.items())]


def _repeated(data: bytes, number: int) -> Iterator[bytes]:
    for found, value in fields(data):
        if found == number:
            if not isinstance(value, bytes):
                raise BadMessage(f"field {number} is of another kind")
            yield value


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise BadMessage(f"the name {name!r} is no text") from None
