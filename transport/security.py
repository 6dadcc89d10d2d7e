"""Keys: what a key file holds, and what a socket needs of it to encrypt (CURVE, curve25519).

Reading order 3. Reads and writes key files; makes no socket (sockets.py does) and decides about
nobody (zap.py asks who may). A secret key appears in no repr, no error and no log: texts here never
quote what they refuse, because a secret in the wrong field looks just like a public key.
"""

import os
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import zmq

from metastore.transport.errors import KeyFileInvalid, KeyInvalid

KEY_CHARACTERS = 40  # 32 bytes in Z85
KEY_FILE_BYTES_MAX = 64 << 10  # a key file is small; anything else was named by mistake
OTHERS_MASK = 0o077

PEER_DOMAIN = "peer"
CLIENT_DOMAIN = "client"
STATUS_DOMAIN = "status"
SNAPSHOT_DOMAIN = "snapshot"

_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_VALUES = {character: value for value, character in enumerate(_Z85)}
_FIELDS = frozenset(("public", "secret"))


class Keys(NamedTuple):
    """A key pair, both halves in Z85."""

    public: str
    secret: str

    def __repr__(self) -> str:
        return f"Keys(public={self.public!r}, secret=<hidden>)"


Watch: TypeAlias = Callable[[Any, str], None]


class CurveServer(NamedTuple):
    """How a listening socket encrypts. `domain` is what the ZAP handler hears of it; `watch` gets
    the socket and the domain before it listens (HandshakeWatch.watch)."""

    keys: Keys
    domain: str
    watch: Watch | None = None


class CurveClient(NamedTuple):
    """How a connecting socket encrypts; it talks only to who has the secret of `server_key`."""

    keys: Keys
    server_key: str


def new_keys() -> Keys:
    """A pair nobody has had before, from the system's randomness."""
    public, secret = zmq.curve_keypair()
    return Keys(public.decode("ascii"), secret.decode("ascii"))


def check_public_key(text: object) -> None:
    """Raises KeyInvalid unless `text` is a key in Z85."""
    if not isinstance(text, str):
        raise KeyInvalid("a public key is a text of 40 characters")
    if len(text) != KEY_CHARACTERS:
        raise KeyInvalid(f"a public key has {KEY_CHARACTERS} characters, this has {len(text)}")
    if not _is_z85(text):
        raise KeyInvalid("a public key is written in Z85, which this is not")


def read_key_file(path: str | os.PathLike[str]) -> Keys:
    """Raises KeyFileInvalid: missing, readable by others, or not a pair that belongs together."""
    path = Path(path)
    document = _parsed(path, _read(path))
    missing = sorted(_FIELDS - set(document))
    if missing:
        raise KeyFileInvalid(path, f"it has no {' and no '.join(missing)} key")
    unknown = len(set(document) - _FIELDS)
    if unknown:
        raise KeyFileInvalid(path, f"it holds {unknown} fields besides public and secret")
    public, secret = (_checked_key(path, document, name) for name in ("public", "secret"))
    if zmq.curve_public(secret.encode("ascii")) != public.encode("ascii"):
        raise KeyFileInvalid(path, "its public key does not belong to its secret key")
    return Keys(public, secret)


def write_key_file(path: str | os.PathLike[str], keys: Keys) -> None:
    """For the owner alone, and on disk when this returns. Raises KeyFileInvalid where there is a
    file already: a key that was overwritten could not be had back."""
    path = Path(path)
    text = f'public = "{keys.public}"\nsecret = "{keys.secret}"\n'
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileInvalid(path, "it exists already, and is not overwritten") from None
    except OSError as error:
        raise KeyFileInvalid(path, error.strerror or str(error)) from None
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(path.absolute().parent)
    except OSError as error:
        path.unlink(missing_ok=True)  # ours, and incomplete
        raise KeyFileInvalid(path, error.strerror or str(error)) from None


def _checked_key(path: Path, document: Mapping[str, object], name: str) -> str:
    key = document[name]
    if not isinstance(key, str) or len(key) != KEY_CHARACTERS or not _is_z85(key):
        raise KeyFileInvalid(path, f"its {name} key is not {KEY_CHARACTERS} characters of Z85")
    return key


def _is_z85(text: str) -> bool:
    """Whether each five characters are a number below 2**32."""
    if not all(character in _VALUES for character in text):
        return False
    for start in range(0, len(text), 5):
        number = 0
        for character in text[start : start + 5]:
            number = number * 85 + _VALUES[character]
        if number >= 1 << 32:
            return False
    return True


def _read(path: Path) -> bytes:
    try:
        # Not blocking: a named pipe would otherwise hold the start for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileInvalid(path, error.strerror or str(error)) from None
    try:
        status = os.fstat(descriptor)  # of what was opened, and not of what the name became since
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileInvalid(path, "it is not a file")
        mode = stat.S_IMODE(status.st_mode)
        if mode & OTHERS_MASK:
            raise KeyFileInvalid(
                path, f"others may read or change it (mode {mode:04o}); run `chmod 600 {path}`"
            )
        data = os.read(descriptor, KEY_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise KeyFileInvalid(path, error.strerror or str(error)) from None
    finally:
        os.close(descriptor)
    if len(data) > KEY_FILE_BYTES_MAX:
        raise KeyFileInvalid(path, "it is too large to be a key file")
    return data


def _parsed(path: Path, data: bytes) -> dict[str, object]:
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        pass  # the decoder's error may quote the text, so it does not even stay as the context
    raise KeyFileInvalid(path, 'it is not TOML with public = "..." and secret = "..."')


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
