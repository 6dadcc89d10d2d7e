"""What every call has in common: who calls, what it may fail with, and the table of methods.

A service is an object with one coroutine function per method of its descriptor, named in
snake_case (`LeaseGrant`: `lease_grant`). It takes (request, caller) and returns the reply; one that
sends a stream is an async generator; one that gets a stream takes an async iterator of requests.
The gRPC server and the JSON gateway both call them, through `methods`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from google.protobuf import message_factory

from metastore.api.protocol.messages import pool


class Status(IntEnum):
    """gRPC's codes, as far as etcd uses them."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class ApiError(Exception):
    """A call failed; clients of etcd match on the text."""

    def __init__(self, code: Status, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and how, as far as the call itself says."""

    token: str = ""  # of Authenticate; "": none was given
    certificate_name: str = ""  # common name of a verified client certificate
    requires_leader: bool = False  # `hasleader`: a stream ends when the node has no leader
    address: str = ""  # for logs


class Method(NamedTuple):
    service: str  # full name: "etcdserverpb.KV"
    name: str
    request_class: Any
    reply_class: Any
    takes_stream: bool
    sends_stream: bool
    handler: Callable[..., Any]

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"


def methods(services: Iterable[tuple[str, object]]) -> Iterator[Method]:
    """Of (full name, object) pairs. Raises AttributeError for a method that a service lacks."""
    for service, implementation in services:
        for descriptor in pool.FindServiceByName(service).methods:
            yield Method(
                service,
                descriptor.name,
                message_factory.GetMessageClass(descriptor.input_type),
                message_factory.GetMessageClass(descriptor.output_type),
                descriptor.client_streaming,
                descriptor.server_streaming,
                getattr(implementation, _snake_case(descriptor.name)),
            )


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.replace("KV", "Kv")).lower()
