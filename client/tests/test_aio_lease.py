"""Leases for asyncio: granted, kept alive by a task, revoked at the end."""

import asyncio
from typing import Any

import pytest
from aio_running import eventually, run

from metastore.client import LeaseLost, aio
from metastore.transport import schema


def plays_leases(cluster: Any) -> list[tuple[str, int]]:
    """Lets the cluster grant leases of 60 s; what happens to them."""
    seen: list[tuple[str, int]] = []

    def grant(operation: Any) -> Any:
        seen.append(("grant", operation[1]))
        return [0, 1, operation[1], 60]

    def revoke(operation: Any) -> Any:
        seen.append(("revoke", operation[1]))
        for key in [key for key, kv in cluster.data.items() if kv[5] == operation[1]]:
            del cluster.data[key]
        return [0, 1]

    cluster.answers[schema.Op.LEASE_GRANT] = grant
    cluster.answers[schema.Op.LEASE_REVOKE] = revoke
    cluster.answers[schema.Op.LEASE_KEEP_ALIVE] = [0, 1, 60]
    return seen


def test_a_lease_is_granted_renewed_and_revoked(cluster: Any) -> None:
    seen = plays_leases(cluster)

    async def body(client: aio.Client) -> None:
        async with client.lease(5) as lease:
            assert (lease.ttl_s, lease.is_alive) == (60, True)
            assert await lease.keep_alive_once() == 60
            await client.put("a", "1", lease=lease)
        with pytest.raises(LeaseLost):
            lease.check()
        assert seen == [("grant", lease.id), ("revoke", lease.id)]
        other = await client.lease(5, 77, keep_alive=False)
        assert other.id == 77
        await other.revoke()

    run(cluster, body)
    assert cluster.data == {}


def test_a_lease_is_kept_alive_by_a_task_and_lost_when_that_dies(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays_leases(cluster)
    renewed: list[Any] = []

    def renew(operation: Any) -> Any:
        renewed.append(operation)
        return [0, 1, 60]

    cluster.answers[schema.Op.LEASE_KEEP_ALIVE] = renew

    async def body(client: aio.Client) -> None:
        monkeypatch.setattr(aio.Lease, "_pause_s", 0.001)
        async with client.lease(5) as lease:
            await eventually(lambda: len(renewed) > 1)
            cluster.answers[schema.Op.LEASE_KEEP_ALIVE] = [0, 1, 0]
            await eventually(lambda: not lease.is_alive)
            with pytest.raises(LeaseLost, match="the cluster has ended it"):
                lease.check()
        async with client.lease(5, keep_alive=False) as lease:
            monkeypatch.setattr(lease, "_renewed", lambda call: 1 / 0)
            lease.keep_alive()
            await eventually(lambda: not lease.is_alive)
            with pytest.raises(LeaseLost, match="ZeroDivisionError"):
                lease.check()

    run(cluster, body)


def test_a_cancelled_grant_leaves_no_lease(cluster: Any) -> None:
    seen = plays_leases(cluster)
    cluster.leader.script.append("hold")

    async def body(client: aio.Client) -> None:
        granting = asyncio.ensure_future(client._grant(5, 0, True, None))
        await eventually(lambda: len(cluster.leader.held) == 1)
        granting.cancel()
        cluster.leader.release()
        await eventually(lambda: len(seen) == 2)
        assert len({lease for _, lease in seen}) == 1

    run(cluster, body)
