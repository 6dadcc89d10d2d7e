"""grpc.health.v1: SERVING while the node has a leader, for the whole and for each service.

etcd knows only the whole (""); that each service can be asked for too is more than it answers.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from grpc_health.v1 import health_pb2

from metastore.api.calls import ApiError, Caller, Method, Status

SERVICE = "grpc.health.v1.Health"
UNKNOWN_SERVICE = "unknown service"
_Answer = health_pb2.HealthCheckResponse


class Health:
    """For one event loop."""

    def __init__(self, services: Iterable[str], is_serving: bool = True) -> None:
        self._services = {"", SERVICE, *services}
        self._is_serving = is_serving
        self._changed = asyncio.Event()

    def set_serving(self, is_serving: bool) -> None:
        if is_serving is not self._is_serving:
            self._is_serving = is_serving
            self._changed.set()
            self._changed = asyncio.Event()

    async def check(self, request: Any, caller: Caller) -> Any:
        if request.service not in self._services:
            raise ApiError(Status.NOT_FOUND, UNKNOWN_SERVICE)
        return _Answer(status=self._status_of(request.service))

    async def watch(self, request: Any, caller: Caller) -> AsyncIterator[Any]:
        """The status now and each one that differs from the last sent."""
        sent = None
        while True:
            changed = self._changed
            status = self._status_of(request.service)
            if status != sent:
                yield _Answer(status=status)
                sent = status
            if changed is self._changed:
                await changed.wait()

    def methods(self) -> Iterator[Method]:
        request = health_pb2.HealthCheckRequest
        yield Method(SERVICE, "Check", request, _Answer, False, False, self.check)
        yield Method(SERVICE, "Watch", request, _Answer, False, True, self.watch)

    def _status_of(self, service: str) -> Any:
        if service not in self._services:
            return _Answer.SERVICE_UNKNOWN
        return _Answer.SERVING if self._is_serving else _Answer.NOT_SERVING
