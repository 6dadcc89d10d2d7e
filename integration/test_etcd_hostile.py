"""What no client of etcd does, to the gateway's port: a clear answer or the end of the connection,
bounded memory, everything freed, and a node that goes on."""

import asyncio
import json
import os
import random
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
import raw_http2 as h2
from gateways import GatewayCluster
from hostile_target import (
    ANSWER_S,
    MIB,
    OWN_CONNECTION,
    PUT,
    RANGE,
    WATCH,
    Target,
    fault_of,
)

from metastore.api.protocol.messages import SERVICES, pool, rpc

SEED = int(os.environ.get("METASTORE_HOSTILE_SEED", "1"))
# Of each process by any one test. The gateway begins with 80 MiB; 100 MiB of events are kept by the
# node too, as history.
GROWTH_BYTES_MAX = 300 * MIB

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def cluster(xprocess: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayCluster]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    one = GatewayCluster(xprocess, folder, 1, ("--sync", "never"))
    try:
        one.start_with_gateways()
        yield one
    finally:
        one.end()


@pytest.fixture
def target(cluster: GatewayCluster) -> Iterator[Target]:
    """Looked at before and after: well, no descriptor lost, memory within bounds."""
    found = Target(cluster)
    found.check_well()
    descriptors, memory = found.descriptor_count(), found.memory()
    yield found
    found.check_well()
    found.check_unburdened(descriptors)
    grown = [(after - before) / MIB for before, after in zip(memory, found.memory(), strict=True)]
    assert max(grown) * MIB < GROWTH_BYTES_MAX, grown


def every_method() -> list[str]:
    return [
        f"/{service}/{method.name}"
        for service in SERVICES
        for method in pool.FindServiceByName(service).methods
    ]


def test_bytes_that_are_no_message_are_refused_by_every_method(target: Target) -> None:
    with target.channel() as channel:
        for path in every_method():
            name, text = fault_of(channel, path, b"\xff\xff\xff")
            assert name == "INTERNAL", path
            assert "unmarshal" in text, path


def test_methods_and_services_that_do_not_exist_are_told_by_name(target: Target) -> None:
    with target.channel() as channel:
        for path, text in (
            ("/etcdserverpb.KV/Steal", "unknown method Steal for service etcdserverpb.KV"),
            ("/etcdserverpb.KV/put", "unknown method put for service etcdserverpb.KV"),
            ("/etcdserverpb.Kv/Put", "unknown service etcdserverpb.Kv"),
            ("/no.Service/Put", "unknown service no.Service"),
            ("//", "unknown service "),
        ):
            assert fault_of(channel, path, b"") == ("UNIMPLEMENTED", text)


def put_of(size: int) -> bytes:
    """A request of so many bytes."""
    request = rpc.PutRequest(key=b"k", value=bytes(size - 16))
    request.key += bytes(size - request.ByteSize())
    return bytes(request.SerializeToString())


def test_sizes_around_each_limit(target: Target) -> None:
    with target.channel() as channel:
        for size, code, text in (
            (MIB * 3 // 2 - 4096, "OK", ""),
            (MIB * 3 // 2 + 1, "INVALID_ARGUMENT", "etcdserver: request is too large"),
            (2 * MIB, "INVALID_ARGUMENT", "etcdserver: request is too large"),
            (
                *(2 * MIB + 1, "RESOURCE_EXHAUSTED"),
                "grpc: received message larger than max (2097153 vs. 2097152)",
            ),
            (17 * MIB, "RESOURCE_EXHAUSTED", None),
        ):
            found = fault_of(channel, PUT, put_of(size))
            assert found[0] == code, size
            assert text in (None, found[1]), size


def test_a_message_that_declares_64_mib_is_refused_before_it_comes(target: Target) -> None:
    begun = h2.GREETING + h2.call(1, PUT.encode())
    data = h2.frame(h2.DATA, 0, 1, h2.message(b"", declared=64 * MIB))
    with closing(target.connect(begun + data)) as connection:
        answer = h2.read_until(connection, b"larger than max")
    assert b"larger than max" in answer


def rubbish() -> Iterator[bytes]:
    chance = random.Random(SEED)
    yield from (b"\0", b"\x16\x03\x01\x02\x00\x01\x00", b"GET", b"POST /v3/kv/range HTTP/1.1\r\n")
    yield from (b"A" * 200_000, b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nHost: \0\r\n\r\n")
    length = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: "
    yield from (length + b"-1\r\n\r\n", length + b"9" * 40 + b"\r\n\r\n", length + b"5\r\n\r\n{")
    chunked = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield from (chunked + b"zz\r\n", chunked + b"f" * 30 + b"\r\n", chunked + b"5\r\nab")
    yield from (h2.PREFACE[:10], h2.PREFACE[:20], h2.PREFACE, h2.PREFACE + b"\r\n" * 100)
    yield h2.PREFACE[:18] + b"XX\r\n\r\n"
    yield h2.PREFACE + h2.frame(h2.SETTINGS, payload=b"12345")
    yield h2.PREFACE + struct.pack(">I", (1 << 24) - 1)[1:] + bytes(6)
    yield h2.GREETING + h2.frame(h2.HEADERS, h2.END_HEADERS, 1, b"\xff" * 50)
    yield h2.GREETING + h2.frame(h2.DATA, 0, 5, b"x" * 100)
    yield h2.GREETING + h2.frame(h2.CONTINUATION, h2.END_HEADERS, 1, b"")
    yield h2.GREETING + h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 0))
    yield h2.GREETING + h2.frame(h2.WINDOW_UPDATE, 0, 0, struct.pack(">I", (1 << 31) - 1)) * 3
    for _ in range(60):
        yield chance.randbytes(chance.randrange(1, 2000))
        yield h2.GREETING + chance.randbytes(chance.randrange(1, 2000))


def test_rubbish_and_half_handshakes_trouble_nobody_else(target: Target) -> None:
    with ExitStack() as stack:
        for data in rubbish():
            connection = stack.enter_context(closing(target.connect()))
            h2.send_as_long_as_it_takes(connection, data)
        target.check_well()  # beside all of them


def flood(target: Target, data: bytes, count: int) -> None:
    """So often, or until the other end has enough, without reading a byte."""
    with closing(target.connect(h2.GREETING, timeout_s=2.0)) as connection:
        for _ in range(count):
            if not h2.send_as_long_as_it_takes(connection, data):
                break
        target.check_well()


def test_pings_and_settings_that_nobody_reads_the_answers_to(target: Target) -> None:
    flood(target, h2.PING_FRAME * 5000, 40)
    flood(target, h2.SETTINGS_FRAME * 5000, 40)


def test_calls_that_are_reset_as_soon_as_they_are_made(target: Target) -> None:
    data = b"".join(
        h2.call(stream, PUT.encode()) + h2.reset(stream) for stream in range(1, 20_001, 2)
    )
    flood(target, data, 1)


def test_headers_without_an_end(target: Target) -> None:
    begin = h2.frame(h2.HEADERS, 0, 1, h2.call_headers(PUT.encode()))
    more = h2.frame(h2.CONTINUATION, 0, 1, h2.header(b"x-more", b"y" * 100) * 140)
    with closing(target.connect(h2.GREETING + begin, timeout_s=2.0)) as connection:
        for _ in range(2000):  # 32 MiB
            if not h2.send_as_long_as_it_takes(connection, more):
                break
    target.check_well()


def test_a_thousand_idle_connections(target: Target) -> None:
    with ExitStack() as stack:
        for number in range(1000):
            first = (b"", h2.GREETING, b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")[number % 3]
            stack.enter_context(closing(target.connect(first)))
        target.check_well()


def test_a_thousand_watches_on_one_stream(target: Target) -> None:
    async def watch() -> None:
        async with grpc.aio.insecure_channel(target.host, OWN_CONNECTION) as channel:
            stream = channel.stream_stream(WATCH, None, rpc.WatchResponse.FromString)()
            for _ in range(1000):
                create = rpc.WatchCreateRequest(key=b"many")
                await stream.write(rpc.WatchRequest(create_request=create).SerializeToString())
            created = [await stream.read() for _ in range(1000)]
            assert {one.watch_id for one in created} == set(range(1000))
            data = rpc.PutRequest(key=b"many", value=b"1").SerializeToString()
            await channel.unary_unary(PUT)(data, timeout=ANSWER_S)
            told = [await stream.read() for _ in range(1000)]
            assert {one.watch_id for one in told} == set(range(1000))
            assert {len(one.events) for one in told} == {1}

    asyncio.run(asyncio.wait_for(watch(), 60))


def test_a_client_that_does_not_read_100_mb_of_events(target: Target) -> None:
    before = target.memory()[0]
    create = {"create_request": {"key": "c2xvdw=="}}
    body = json.dumps(create).encode()
    with ExitStack() as stack:
        channel = stack.enter_context(target.channel())
        request = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"slow"))
        opened = iter((request.SerializeToString(),))
        slow = channel.stream_stream(WATCH, None, rpc.WatchResponse.FromString)(opened)
        assert next(slow).created
        over_http = stack.enter_context(closing(target.connect()))
        over_http.sendall(
            b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )
        assert b"created" in h2.read_until(over_http, b"created")
        writer = stack.enter_context(target.channel())
        put = writer.unary_unary(PUT)
        data = rpc.PutRequest(key=b"slow", value=bytes(MIB)).SerializeToString()
        for _ in range(100):
            put(data, timeout=ANSWER_S)
        target.check_well()
        assert target.memory()[0] - before < GROWTH_BYTES_MAX
        count = 0
        while count < 100:  # now it reads: nothing is lost
            count += len(next(slow).events)
        slow.cancel()


def test_bodies_that_come_slowly_or_never(target: Target) -> None:
    head = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n"
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(target.connect(head))) for _ in range(200)]
        for byte in b'{"key": "YQ==",':
            for connection in slow:
                connection.sendall(bytes((byte,)))
        target.check_well()


def test_bodies_that_are_too_large_are_refused_unread(target: Target) -> None:
    for kind in (b"Content-Length: 1000000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        head = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\n" + kind
        with closing(target.connect(head)) as connection:
            piece = b"10000\r\n" + b"A" * 65_536 + b"\r\n"
            for _ in range(1600):  # 100 MiB, unless it is stopped before
                if not h2.send_as_long_as_it_takes(connection, piece):
                    break
            answer = h2.read_until(connection, b"}")
        assert answer.startswith(b"HTTP/1.1 4")
        assert b"too large" in answer or b"larger than max" in answer


def test_requests_sent_ahead_of_a_call_that_does_not_end_wait_unread(target: Target) -> None:
    body = b'{"create_request": {"key": "YQ=="}}'
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    more = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
    with closing(target.connect(timeout_s=1.0)) as connection:
        connection.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\n" + length + body)
        assert any(not h2.send_as_long_as_it_takes(connection, more) for _ in range(500))
        target.check_well()


def test_a_thousand_calls_at_once(target: Target) -> None:
    async def calls() -> None:
        async with grpc.aio.insecure_channel(target.host, OWN_CONNECTION) as channel:
            put = channel.unary_unary(PUT)
            requests = [rpc.PutRequest(key=b"c%d" % n, value=b"1") for n in range(1000)]
            await asyncio.gather(
                *(put(one.SerializeToString(), timeout=ANSWER_S) for one in requests)
            )
            count = rpc.RangeRequest(key=b"c", range_end=b"d", count_only=True)
            data = await channel.unary_unary(RANGE)(count.SerializeToString())
            assert rpc.RangeResponse.FromString(data).count == 1000

    asyncio.run(calls())
