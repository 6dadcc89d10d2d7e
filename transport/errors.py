"""Errors of the transport, sorted by what the caller must do.

    TransportError
    ├── BadAddress   (also ValueError)  fix the setting
    ├── KeyInvalid   (also ValueError)  fix the setting or the file
    │   └── KeyFileInvalid              fix the file; the node must not start
    ├── BindFailed                      free the port or fix the setting; the node must not start
    └── Malformed                       count it, answer it if it can be answered, go on
    InvariantViolated                   a defect of ours: stop

Reading order 1 of the transport. Imports nothing of the project.
"""


class TransportError(Exception):
    """Anything this package raises on purpose, except InvariantViolated."""


class BadAddress(TransportError, ValueError):
    """A text that is no address; the sentence names the text and what is wrong with it."""


class KeyInvalid(TransportError, ValueError):
    """Something that is no key. The text never quotes it: it might be a secret one."""


class KeyFileInvalid(KeyInvalid):
    """The key file `path` cannot be used; `reason` says why and never quotes it."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"key file {path}: {reason}")
        self.path = str(path)
        self.reason = reason


class BindFailed(TransportError):
    """A socket cannot listen on `address`; `reason` is the system's."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}")
        self.address = address
        self.reason = reason


class Malformed(TransportError):
    """Bytes from outside that break the protocol. `request_id` is 0 where none could be read;
    `code` is the error code to answer with."""

    def __init__(self, reason: str, request_id: int = 0, code: str = "invalid") -> None:
        super().__init__(reason)
        self.reason = reason
        self.request_id = request_id
        self.code = code


class InvariantViolated(Exception):
    """Our own code broke a rule it relies on; never caught and survived."""


def invariant(condition: bool, sentence: str) -> None:
    """Unlike `assert`, survives `python -O`."""
    if not condition:
        raise InvariantViolated(sentence)
