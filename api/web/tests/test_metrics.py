"""/metrics: etcd's names, numbers of the node, calls counted; and nothing that nobody told."""

import asyncio
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from web_serving import Served, served

from metastore.api.calls import ApiError, Method, Status
from metastore.api.metrics import Metrics
from metastore.api.protocol.messages import rpc

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def run(body: Any) -> None:
    async def main() -> None:
        async with served() as one:
            await body(one)

    asyncio.run(main())


def samples_of(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def samples(one: Served) -> Samples:
    answer = await one.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return samples_of(answer.body.decode())


def named(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


NUMBERS = {
    "etcd_server_has_leader": 1,
    "etcd_server_is_leader": 1,
    "etcd_server_is_learner": 0,
    "etcd_server_leader_changes_seen_total": 1,
    "etcd_server_proposals_committed_total": 31,
    "etcd_server_proposals_applied_total": 30,
    "etcd_server_proposals_pending": 6,
    "etcd_server_quota_backend_bytes": 2_000_000,
    "etcd_mvcc_db_total_size_in_bytes": 1500,
    "etcd_mvcc_db_total_size_in_use_in_bytes": 500,
    "etcd_debugging_mvcc_keys_total": 3,
    "etcd_debugging_mvcc_current_revision": 9,
    "etcd_debugging_mvcc_compact_revision": 4,
    "etcd_debugging_mvcc_watcher_total": 2,
}


def test_the_numbers_of_the_node_have_etcds_names() -> None:
    async def body(one: Served) -> None:
        found = await samples(one)
        for name, value in NUMBERS.items():
            assert named(found, name) == value, name
        assert named(found, "etcd_server_id", server_id="ff") == 1
        assert named(found, "etcd_cluster_version", cluster_version="3.5") == 1
        fsync = "etcd_disk_wal_fsync_duration_seconds"
        for quantile, value in (("0.5", 0.0005), ("0.99", 0.002), ("1", 0.003)):
            assert named(found, fsync, quantile=quantile) == value
        assert named(found, "process_resident_memory_bytes") > 0

    run(body)


def test_a_node_that_does_not_answer_has_no_leader_and_no_other_numbers() -> None:
    async def body(one: Served) -> None:
        one.node.status_told = None
        found = await samples(one)
        assert named(found, "etcd_server_has_leader") == 0
        for name in NUMBERS.keys() - {"etcd_server_has_leader"}:
            assert not [one for one, _ in found if one == name], name
        assert [one for one, _ in found if one == "etcd_server_version"]

    run(body)


def test_what_the_node_does_not_tell_is_not_there() -> None:
    async def body(one: Served) -> None:
        assert one.node.status_told is not None
        one.node.status_told.update(counters={}, sync_latency_ms={"count": 0})
        status, _, text = await one.get("/metrics")
        assert status == 200
        for name in (b"etcd_server_proposals_pending", b"etcd_disk_wal_fsync"):
            assert name not in text

    run(body)


def test_calls_are_counted_by_method_and_code_and_their_bytes_too() -> None:
    async def body(one: Served) -> None:
        put = {"grpc_service": "etcdserverpb.KV", "grpc_method": "Put", "grpc_type": "unary"}
        zero = await samples(one)
        assert named(zero, "grpc_server_handled_total", **put, grpc_code="OK") == 0
        await one.ask("/v3/kv/put", '{"key":"YQ=="}')
        one.fakes.fault = ApiError(Status.INVALID_ARGUMENT, "etcdserver: no")
        await one.ask("/v3/kv/put", '{"key":"YQ=="}')
        one.fakes.fault = None
        await one.ask("/v3/lease/keepalive", '{"ID":"7"}{"ID":"7"}')
        found = await samples(one)
        assert named(found, "grpc_server_started_total", **put) == 2
        for code in ("OK", "InvalidArgument"):
            assert named(found, "grpc_server_handled_total", **put, grpc_code=code) == 1
        kept = {
            **{"grpc_service": "etcdserverpb.Lease", "grpc_method": "LeaseKeepAlive"},
            "grpc_type": "bidi_stream",
        }
        assert named(found, "grpc_server_handled_total", **kept, grpc_code="OK") == 1
        received, sent = (
            f"etcd_network_client_grpc_{way}_bytes_total" for way in ("received", "sent")
        )
        request = rpc.PutRequest(key=b"a").ByteSize()
        beat = rpc.LeaseKeepAliveRequest(ID=7).ByteSize()
        assert named(found, received) == 2 * request + 2 * beat
        assert named(found, sent) == 2 * rpc.LeaseKeepAliveResponse(ID=7, TTL=60).ByteSize()

    run(body)


def test_a_call_whose_client_left_counts_as_cancelled() -> None:
    async def body(one: Served) -> None:
        client = await one.connect()
        client.request("/v3/kv/range", '{"key":"d2FpdA=="}')
        await one.fakes.is_waiting.wait()
        await client.close()
        await one.fakes.is_ended.wait()
        ranged = {"grpc_service": "etcdserverpb.KV", "grpc_method": "Range", "grpc_type": "unary"}
        found = await samples(one)
        assert named(found, "grpc_server_handled_total", **ranged, grpc_code="Canceled") == 1

    run(body)


def test_answers_about_health_are_counted() -> None:
    async def body(one: Served) -> None:
        await one.get("/health")
        one.node.status_told = None
        await one.get("/health")
        await one.get("/health")
        found = await samples(one)
        assert named(found, "etcd_server_health_success") == 1
        assert named(found, "etcd_server_health_failures") == 2

    run(body)


def test_leaders_are_counted_when_they_are_others_than_before() -> None:
    async def body(one: Served) -> None:
        metrics = Metrics()
        for leader_id in (0, 1, 1, 0, 1, 2, 0, 1):
            metrics.note_leader(leader_id)
        assert one.node.status_told is not None
        found = samples_of(metrics.text({**one.node.status_told, "leader_id": 1}).decode())
        assert named(found, "etcd_server_leader_changes_seen_total") == 3

    run(body)


def test_two_gateways_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    method = Method("etcdserverpb.KV", "Put", None, None, False, False, print)
    first.of(method).begin()
    started = ("grpc_server_started_total", {"grpc_service": "etcdserverpb.KV"})
    labels = {**started[1], "grpc_method": "Put", "grpc_type": "unary"}
    assert named(samples_of(first.text(None).decode()), started[0], **labels) == 1
    assert started[0] not in {name for name, _ in samples_of(second.text(None).decode())}
