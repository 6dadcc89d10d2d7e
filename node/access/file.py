"""The access file: the public keys of the nodes and of the clients, and what each client may do.

    [nodes]
    keys = ["..."]            # all nodes may share one key or have one each; two while one changes

    [clients.web]
    keys = ["..."]
    role = "read"             # or "write" or "admin"
    prefixes = ["app/"]       # left out: every key

Read strictly: what is not understood is refused, because a misspelt limit would be none. Above
permissions.py; opens the file, and decides about nobody. A text here never quotes a key that it
refuses: it might be a secret one, put here by mistake.
"""

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from metastore.node import logs
from metastore.node.access.permissions import AccessRole, Grants
from metastore.transport.errors import KeyInvalid
from metastore.transport.security import check_public_key

ACCESS_FILE_BYTES_MAX = 1 << 20
PREFIX_BYTES_MAX = 1024
NODES = "[nodes]"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")
_LINE = re.compile(r"line \d+")

Fingerprint: TypeAlias = tuple[int, int, int]
"""(mtime in ns, bytes, inode): what changes when a file does."""
_NEVER_SEEN: Fingerprint = (0, 0, 0)


class AccessInvalid(Exception):
    """The file cannot be used: which one, where in it, and what is expected there."""

    def __init__(self, path: object, place: str, expected: str) -> None:
        where = f"{path}: {place}" if place else str(path)
        super().__init__(f"access file {where}: {expected}")
        self.path, self.place, self.expected = str(path), place, expected


@dataclass(frozen=True, slots=True)
class Access:
    """What a file says. `clients`: by public key; several keys may be one client's."""

    node_keys: frozenset[str]
    clients: Mapping[str, Grants]


def read_access_file(path: str | os.PathLike[str]) -> Access:
    """Raises AccessInvalid."""
    return _parse(path, _read(path)[0])


class AccessFile:
    """The file `path`, as it was when it last could be used. `current` may be read by any thread;
    one thread calls reload_if_changed. Raises AccessInvalid from the constructor."""

    def __init__(self, path: str | os.PathLike[str], own_public_key: str) -> None:
        self._path = Path(path)
        self._own_public_key = own_public_key
        self._log = logs.get_logger()
        data, self._seen = _read(self._path)
        self.current = self._checked(data)
        self.problem = ""  # what is wrong with the file as it is now; "": nothing

    def reload_if_changed(self) -> bool:
        """Whether `current` is another one now. Cheap when the file is the same. A file that cannot
        be used changes nothing but `problem`, and is logged once."""
        try:
            status = os.stat(self._path)
            if _fingerprint(status) == self._seen:
                return False
            self._seen = _NEVER_SEEN  # it may come back just as it was
            data, self._seen = _read(self._path)
            access = self._checked(data)
        except OSError as error:
            self._seen = _NEVER_SEEN
            self._keep(AccessInvalid(self._path, "", error.strerror or str(error)))
            return False
        except AccessInvalid as error:
            self._keep(error)
            return False
        self.problem = ""
        is_new = access != self.current
        self.current = access
        self._log.info("access file read again", path=str(self._path), clients=len(access.clients))
        return is_new

    def _checked(self, data: bytes) -> Access:
        access = _parse(self._path, data)
        if self._own_public_key not in access.node_keys:
            raise AccessInvalid(
                self._path,
                f"{NODES}.keys",
                f'this node\'s own public key is missing; add "{self._own_public_key}" to it, on '
                "every node",
            )
        return access

    def _keep(self, error: AccessInvalid) -> None:
        problem = f"{error}; what it said before stays in force"
        if problem != self.problem:
            self.problem = problem
            self._log.error("access file cannot be used", problem=problem)


def _fingerprint(status: os.stat_result) -> Fingerprint:
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _read(path: str | os.PathLike[str]) -> tuple[bytes, Fingerprint]:
    try:
        # Not blocking: a named pipe would otherwise hold the loop for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            # Of what was opened, before it is read: a change meanwhile is seen the next time.
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise AccessInvalid(path, "", "it is not a file")
            if status.st_mode & stat.S_IWOTH:
                raise AccessInvalid(path, "", f"everybody may write it; run `chmod o-w {path}`")
            data = file.read(ACCESS_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise AccessInvalid(path, "", error.strerror or str(error)) from None
    if len(data) > ACCESS_FILE_BYTES_MAX:
        raise AccessInvalid(path, "", f"it has more than {ACCESS_FILE_BYTES_MAX} bytes")
    return data, _fingerprint(status)


def _parse(path: str | os.PathLike[str], data: bytes) -> Access:
    reader = _Reader(path)
    document = reader.document(data)
    reader.check_fields("", document, required=("nodes",), optional=("clients",))
    nodes = reader.table(NODES, document["nodes"])
    reader.check_fields(NODES, nodes, required=("keys",))
    node_keys = frozenset(reader.keys(NODES, nodes["keys"]))
    clients: dict[str, Grants] = {}
    for name, value in reader.table("[clients]", document.get("clients", {})).items():
        if not _NAME.fullmatch(name):
            raise reader.invalid("[clients]", "a name has 1 to 32 letters, digits, - and _")
        place = f"[clients.{name}]"
        client = reader.table(place, value)
        reader.check_fields(place, client, required=("keys", "role"), optional=("prefixes",))
        grants = Grants(name, reader.role(place, client["role"]), reader.prefixes(place, client))
        clients.update(dict.fromkeys(reader.keys(place, client["keys"]), grants))
    return Access(node_keys, MappingProxyType(clients))


class _Reader:
    """Takes a document apart; every method raises AccessInvalid."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._owners: dict[str, str] = {}  # where each key stands

    def invalid(self, place: str, expected: str) -> AccessInvalid:
        return AccessInvalid(self._path, place, expected)

    def document(self, data: bytes) -> dict[str, Any]:
        try:
            return tomllib.loads(data.decode())
        except UnicodeDecodeError:
            found = None
        except (ValueError, RecursionError) as error:
            found = _LINE.search(str(error))  # the rest of it may quote the text
        raise self.invalid(found[0] if found else "", "it is not TOML")

    def table(self, place: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.invalid(place, "expected a table")
        return value

    def check_fields(
        self,
        place: str,
        table: dict[str, Any],
        *,
        required: tuple[str, ...],
        optional: tuple[str, ...] = (),
    ) -> None:
        known = (*required, *optional)
        for name in table:
            if name == "secret":
                raise self.invalid(place, "secret keys do not belong here; public ones only")
            if name not in known:
                shown = repr(name) if _NAME.fullmatch(name) else "a field"
                raise self.invalid(place, f"{shown} is unknown; expected {', '.join(known)}")
        for name in required:
            if name not in table:
                raise self.invalid(place, f"{name!r} is missing")

    def keys(self, place: str, value: object) -> Iterator[str]:
        if not isinstance(value, list) or not value:
            raise self.invalid(f"{place}.keys", "expected a list of at least one public key")
        for position, key in enumerate(value, 1):
            spot = f"{place}.keys, number {position}"
            try:
                check_public_key(key)
            except KeyInvalid as error:
                raise self.invalid(spot, str(error)) from None
            if key in self._owners:
                raise self.invalid(spot, f"the same key stands in {self._owners[key]} already")
            self._owners[key] = place
            yield key

    def role(self, place: str, value: object) -> AccessRole:
        if not isinstance(value, str) or value not in tuple(AccessRole):
            raise self.invalid(f"{place}.role", f"expected one of {', '.join(AccessRole)}")
        return AccessRole(value)

    def prefixes(self, place: str, client: dict[str, Any]) -> tuple[bytes, ...]:
        """An empty list would read as "nothing" and mean "everything", so there is none."""
        if "prefixes" not in client:
            return ()
        place, value = f"{place}.prefixes", client["prefixes"]
        if client["role"] == AccessRole.ADMIN:
            raise self.invalid(place, "an admin is not limited to prefixes; leave it out")
        if not isinstance(value, list) or not value:
            raise self.invalid(
                place, "expected a list of at least one text; leave it out to allow every key"
            )
        for prefix in value:
            if not isinstance(prefix, str) or not 0 < len(prefix.encode()) <= PREFIX_BYTES_MAX:
                raise self.invalid(place, f"a prefix is a text of 1 to {PREFIX_BYTES_MAX} bytes")
        return tuple(prefix.encode() for prefix in dict.fromkeys(value))
