"""Server reflection: tools ask what services and messages there are.

Served as v1alpha and as v1, whose messages are the same on the wire; the package that answers has
only the first. etcd has no reflection: this is more than it answers.
"""

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from metastore.api.calls import Caller, Method
from metastore.api.grpc import health
from metastore.api.protocol import messages

_NO_CONTEXT: Any = None  # the package asks for one and does not use it
SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


class Reflection:
    """Tells of `services` (names in messages.pool), of health, and of itself."""

    def __init__(self, services: Iterable[str]) -> None:
        names = list(services)
        pool = _pool_of(names)
        self._answers = reflection.ReflectionServicer((*names, health.SERVICE, *SERVICES), pool)

    async def server_reflection_info(
        self, requests: AsyncIterator[Any], caller: Caller
    ) -> AsyncIterator[Any]:
        async for request in requests:
            # The package's own loop over a list of one: it awaits nothing.
            for answer in self._answers.ServerReflectionInfo(iter((request,)), _NO_CONTEXT):
                yield answer

    def methods(self) -> Iterator[Method]:
        for service in SERVICES:
            yield Method(
                service,
                "ServerReflectionInfo",
                reflection_pb2.ServerReflectionRequest,
                reflection_pb2.ServerReflectionResponse,
                True,
                True,
                self.server_reflection_info,
            )


def _pool_of(services: Iterable[str]) -> descriptor_pool.DescriptorPool:
    """The files of all services in one pool: the answers come from one."""
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()
    for service in services:
        _add(pool, messages.pool.FindServiceByName(service).file, added)
    _add(pool, health_pb2.DESCRIPTOR, added)
    _add(pool, reflection_pb2.DESCRIPTOR, added)
    text = text_format.MessageToString(_copied(reflection_pb2.DESCRIPTOR))
    renamed = descriptor_pb2.FileDescriptorProto()
    pool.Add(text_format.Parse(text.replace("v1alpha", "v1"), renamed))
    return pool


def _add(pool: Any, file: Any, added: set[str]) -> None:
    if file.name not in added:
        added.add(file.name)
        for needed in file.dependencies:
            _add(pool, needed, added)
        pool.Add(_copied(file))


def _copied(file: Any) -> descriptor_pb2.FileDescriptorProto:
    copy = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(copy)
    return copy
