"""In whose name the link asks, and what happens when users and roles change meanwhile."""

from typing import Any

import msgpack
import pytest
from fake_cluster import FakeCluster
from scripted_link import CALLER, READ, cluster_of, play

from metastore.api import link as link_module
from metastore.api.calls import ApiError, Caller
from metastore.api.link import Identity, NodeLink
from metastore.transport import auth_ops, schema
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import Code


class FakeAccess:
    """Everybody is one user; `identities` are used up by refreshing."""

    def __init__(self, *identities: Identity) -> None:
        self.identities = list(identities)
        self.callers: list[Caller] = []

    async def identity_of(self, caller: Caller) -> Identity:
        self.callers.append(caller)
        return self.identities[0]

    async def refresh(self) -> None:
        if len(self.identities) > 1:
            self.identities.pop(0)


def stale(cluster: FakeCluster, auth_revision: int) -> None:
    """Makes the nodes refuse every other revision of users and roles."""
    apply = cluster.apply

    def decode(request: bytes) -> Any:
        return msgpack.unpackb(request, use_list=False)

    def apply_checked(request: bytes) -> bytes:
        operations = decode(request)
        names = [operation for operation in operations if operation[0] == auth_ops.AS]
        if names and names[0][2] != auth_revision:
            refusal = (int(Code.INVALID_ARGUMENT), auth_ops.AUTH_OLD_REVISION)
            return schema.encode_results([refusal])
        return apply(schema.encode_request([op for op in operations if op not in names]))

    cluster.decode, cluster.apply = decode, apply_checked  # type: ignore[method-assign]


def test_a_question_is_asked_in_the_callers_name_and_again_when_users_have_changed() -> None:
    async def body(link: NodeLink) -> None:
        access = FakeAccess(Identity("ann", 3), Identity("ann", 4))
        link.access = access
        assert (await link.ask(CALLER, READ))[0] == 0
        assert access.callers == [CALLER, CALLER]
        headers = [operations[0] for _, operations in cluster[1].requests]
        assert headers == [(auth_ops.AS, "ann", 3), (auth_ops.AS, "ann", 4)]

    with cluster_of(1) as cluster:
        stale(cluster, 4)
        play(cluster, body)


def test_a_node_that_lags_behind_the_users_is_not_asked_a_second_time() -> None:
    async def body(link: NodeLink) -> None:
        link.access = FakeAccess(Identity("ann", 3), Identity("ann", 4))
        await link.ask(CALLER, READ, level=ReadLevel.LOCAL)
        assert [len(cluster[node_id].requests) for node_id in (1, 2)] == [1, 1]

    with cluster_of(2) as cluster:
        stale(cluster, 4)
        play(cluster, body, node_id=2)


def test_users_that_change_without_end_are_an_error_in_the_end() -> None:
    async def body(link: NodeLink) -> None:
        link.access = FakeAccess(Identity("ann", 3))
        with pytest.raises(ApiError) as caught:
            await link.ask(CALLER, READ)
        assert caught.value.message == auth_ops.AUTH_OLD_REVISION
        assert len(cluster[1].requests) == link_module.STALE_ATTEMPTS_MAX

    with cluster_of(1) as cluster:
        stale(cluster, 4)
        play(cluster, body)


def test_the_gateway_asks_in_nobodys_name_and_checks_nobody_without_access() -> None:
    async def body(link: NodeLink) -> None:
        await link.check(CALLER, auth_ops.Need.ADMIN)
        link.access = FakeAccess(Identity("ann", 3))
        await link.ask_as_gateway(READ)
        assert [operations for _, operations in cluster[1].requests] == [(READ,)]

    with cluster_of(1) as cluster:
        play(cluster, body)
