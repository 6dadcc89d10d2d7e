"""What tools ask a gRPC server: is it healthy, and what does it serve."""

import asyncio

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_serving import KV, LIMIT_S, WATCH, served, status_of

SERVING, NOT_SERVING = 1, 2
REFLECTIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


def test_health_follows_the_leader() -> None:
    async def ask() -> None:
        async with served() as (_, server, channel, _):
            health = health_pb2_grpc.HealthStub(channel)
            for has_leader, status in ((True, SERVING), (False, NOT_SERVING)):
                server.set_leader(has_leader)
                for service in ("", KV, WATCH):
                    request = health_pb2.HealthCheckRequest(service=service)
                    answer = await health.Check(request, timeout=LIMIT_S)
                    assert answer.status == status

    asyncio.run(ask())


def test_health_of_an_unknown_service_is_not_found() -> None:
    async def ask() -> None:
        async with served() as (_, _, channel, _):
            request = health_pb2.HealthCheckRequest(service="no.Service")
            call = health_pb2_grpc.HealthStub(channel).Check(request, timeout=LIMIT_S)
            assert await status_of(call) == ("NOT_FOUND", "unknown service")

    asyncio.run(ask())


def test_health_is_watched() -> None:
    async def ask() -> None:
        async with served() as (_, server, channel, _):
            request = health_pb2.HealthCheckRequest()
            call = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=LIMIT_S)
            found = [(await call.read()).status]
            server.set_leader(False)
            found.append((await call.read()).status)
            server.set_leader(True)
            found.append((await call.read()).status)
            assert found == [SERVING, NOT_SERVING, SERVING]

    asyncio.run(ask())


@pytest.mark.parametrize("service", REFLECTIONS)
def test_tools_learn_what_services_and_messages_there_are(service: str) -> None:
    asked = reflection_pb2.ServerReflectionRequest
    requests = [asked(list_services="*")]
    requests += [asked(file_containing_symbol=name) for name in (KV, *REFLECTIONS, "no.Service")]

    async def ask() -> list[reflection_pb2.ServerReflectionResponse]:
        async with served() as (_, _, channel, _):
            call = channel.stream_stream(
                f"/{service}/ServerReflectionInfo",
                request_serializer=asked.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            return [answer async for answer in call(iter(requests), timeout=LIMIT_S)]

    listed, *files, missing = asyncio.run(ask())
    names = {one.name for one in listed.list_services_response.service}
    assert {KV, WATCH, "grpc.health.v1.Health", *REFLECTIONS} == names
    for name, answer in zip((KV, *REFLECTIONS), files, strict=True):
        found = answer.file_descriptor_response.file_descriptor_proto
        protos = [descriptor_pb2.FileDescriptorProto.FromString(data) for data in found]
        assert name in {f"{p.package}.{one.name}" for p in protos for one in p.service}
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
