"""Version, health and its checks, and who may ask them how."""

import asyncio
from typing import Any

import pytest
from web_serving import Served, served

from metastore.api.calls import ApiError, Status
from metastore.api.version import ETCD_VERSION
from metastore.transport.envelope import ReadLevel

TIMED_OUT = "etcdserver: request timed out"
LATE = ApiError(Status.UNAVAILABLE, TIMED_OUT)
NOSPACE = "NOSPACE: the store is larger than quota_bytes"
CORRUPT = "CORRUPT: the replicas do not hold the same"


def run(body: Any) -> None:
    async def main() -> None:
        async with served() as one:
            await body(one)

    asyncio.run(main())


def told(one: Served) -> dict[str, Any]:
    assert one.node.status_told is not None
    return one.node.status_told


async def health_of(one: Served, path: str = "/health") -> tuple[int, str, str]:
    answer = await one.get(path)
    return answer.status, answer.value["health"], answer.value["reason"]


def test_the_version_is_etcds() -> None:
    async def body(one: Served) -> None:
        answer = await one.get("/version")
        assert answer.value == {"etcdserver": ETCD_VERSION, "etcdcluster": "3.5.0"}
        assert answer.headers["Content-Type"] == "application/json"

    run(body)


@pytest.mark.parametrize("path", ["/version", "/health", "/readyz", "/livez"])
def test_a_page_is_got_and_in_no_other_way(path: str) -> None:
    async def body(one: Served) -> None:
        answer = await one.ask(path, "{}")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")
        assert answer.body == b"Method Not Allowed\n"

    run(body)


def test_health_is_told_as_texts_and_as_etcd_writes_them() -> None:
    async def body(one: Served) -> None:
        answer = await one.get("/health")
        assert (answer.status, answer.body) == (200, b'{"health":"true","reason":""}')
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert one.node.reads == [ReadLevel.LINEARIZABLE]

    run(body)


def test_without_a_leader_a_node_is_unhealthy_but_by_itself() -> None:
    async def body(one: Served) -> None:
        told(one)["leader_id"] = 0
        one.node.linearizable_fault = LATE
        assert await health_of(one) == (503, "false", "RAFT NO LEADER")
        assert await health_of(one, "/health?serializable=true") == (200, "true", "")
        assert one.node.reads == [ReadLevel.LOCAL]

    run(body)


def test_a_read_that_is_not_answered_is_told() -> None:
    async def body(one: Served) -> None:
        one.node.fault = LATE
        for path in ("/health", "/health?serializable=true"):
            assert await health_of(one, path) == (503, "false", f"RANGE ERROR:{TIMED_OUT}")

    run(body)


def test_a_node_that_does_not_answer_is_unhealthy() -> None:
    async def body(one: Served) -> None:
        one.node.status_told = None
        assert (await health_of(one))[:2] == (503, "false")
        assert (await health_of(one, "/health?serializable=true"))[:2] == (503, "false")

    run(body)


@pytest.mark.parametrize(
    ("alarms", "query", "reason"),
    [
        ([NOSPACE], "", "ALARM NOSPACE"),
        ([CORRUPT], "", "ALARM CORRUPT"),
        ([NOSPACE], "?exclude=NOSPACE", ""),
        ([NOSPACE, CORRUPT], "?exclude=NOSPACE", "ALARM CORRUPT"),
        ([NOSPACE, CORRUPT], "?exclude=NOSPACE&exclude=CORRUPT", ""),
        ([NOSPACE], "?exclude=nospace&exclude=", "ALARM NOSPACE"),
        (["node 2 refuses this node: because"], "", ""),
    ],
)
def test_an_alarm_makes_unhealthy_unless_it_is_excluded(
    alarms: list[str], query: str, reason: str
) -> None:
    async def body(one: Served) -> None:
        told(one)["alarms"] = alarms
        status, is_healthy, found = await health_of(one, f"/health{query}")
        assert (status, is_healthy) == ((503, "false") if reason else (200, "true"))
        assert found == reason

    run(body)


def test_probes_say_ok_and_what_they_looked_at_when_asked() -> None:
    async def body(one: Served) -> None:
        for root in ("/livez", "/readyz"):
            assert (await one.get(root)).body == b"ok\n"
        expected = b"[+]serializable_read ok\nok\n"
        assert (await one.get("/livez?verbose")).body == expected
        assert (await one.get("/readyz?verbose")).body == (
            b"[+]data_corruption ok\n[+]serializable_read ok\n"
            b"[+]linearizable_read ok\n[+]non_learner ok\nok\n"
        )

    run(body)


def test_a_node_without_a_quorum_lives_and_is_not_ready() -> None:
    async def body(one: Served) -> None:
        one.node.linearizable_fault = LATE
        assert (await one.get("/livez")).status == 200
        answer = await one.get("/readyz")
        assert answer.status == 503
        assert f"[-]linearizable_read failed: {TIMED_OUT}\n".encode() in answer.body
        assert b"[+]serializable_read ok\n" in answer.body
        excluded = "/readyz?exclude=linearizable_read&exclude=nothing"
        assert (await one.get(excluded)).body == b"ok\n"
        assert (await one.get("/readyz/linearizable_read")).status == 503
        assert (await one.get("/readyz/serializable_read")).status == 200
        assert (await one.get("/livez/linearizable_read")).status == 404

    run(body)


def test_a_corrupt_node_or_a_learner_is_not_ready_and_lives() -> None:
    async def body(one: Served) -> None:
        told(one)["alarms"] = [CORRUPT]
        told(one)["configuration"]["learners"] = [255]
        answer = await one.get("/readyz")
        assert answer.status == 503
        assert b"[-]data_corruption failed: alarm activated: CORRUPT\n" in answer.body
        assert b"[-]non_learner failed: not supported for learner\n" in answer.body
        assert (await one.get("/livez")).status == 200

    run(body)


def test_a_defect_costs_its_request(caplog: pytest.LogCaptureFixture) -> None:
    async def body(one: Served) -> None:
        one.node.status_told = {}
        answer = await one.get("/health")
        assert (answer.status, answer.headers["Content-Type"]) == (500, "text/plain; charset=utf-8")
        assert (await one.get("/version")).status == 200

    run(body)
    assert [one.levelname for one in caplog.records if one.levelno > 20] == ["ERROR"]


def test_probes_tell_of_a_node_that_does_not_answer() -> None:
    async def body(one: Served) -> None:
        one.node.status_told, one.node.fault = None, LATE
        for path in ("/livez", "/readyz", "/readyz/non_learner", "/readyz/data_corruption"):
            answer = await one.get(path)
            assert answer.status == 503
            assert TIMED_OUT.encode() in answer.body

    run(body)
