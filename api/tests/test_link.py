"""The link to the node, against the client's cluster of scripted nodes."""

import asyncio

import pytest
from scripted_link import CALLER, PLAY_S, PUT, READ, cluster_of, play

from metastore.api import failures
from metastore.api import link as link_module
from metastore.api.calls import ApiError, Status
from metastore.api.link import AnswerTooLarge, NodeLink
from metastore.client import routing
from metastore.transport import schema
from metastore.transport.envelope import ReadLevel
from metastore.transport.schema import Op

# Who we are


def test_a_started_link_knows_its_node_and_its_cluster() -> None:
    async def body(link: NodeLink) -> None:
        assert (link.node_id, link.cluster_id) == (0, 0)
        await link.start(PLAY_S)
        assert (link.node_id, link.cluster_id, link.leader_id) == (3, 77, 2)
        assert sorted(member.node_id for member in link.known_members()) == [1, 2, 3]

    with cluster_of(3, leader_id=2) as cluster:
        play(cluster, body, node_id=3, starts=False)


def test_a_node_that_does_not_answer_is_named_when_the_start_gives_up() -> None:
    async def body(link: NodeLink) -> None:
        with pytest.raises(ApiError) as caught:
            await link.start(0.05)
        assert caught.value.code is Status.UNAVAILABLE
        assert link.client_address in caught.value.message
        assert "within 0.05 s: no node has been reached yet" in caught.value.message

    with cluster_of(1) as cluster:
        cluster[1].answers_greetings = False
        play(cluster, body, starts=False)


def test_headers_speak_for_the_own_node_in_the_newest_term() -> None:
    async def body(link: NodeLink) -> None:
        link.term = 4
        header = link.header(9)
        assert (header.cluster_id, header.member_id) == (77, 2)
        assert (header.revision, header.raft_term) == (9, 4)
        assert link.header(9, term=3).raft_term == 3
        link.term = 5
        assert link.header(9).raft_term == 5
        assert link.header().revision == 0

    with cluster_of(2) as cluster:
        play(cluster, body, node_id=2)


def test_the_term_of_the_answers_never_goes_back() -> None:
    async def body(link: NodeLink) -> None:
        link.term = 6
        await link.ask(CALLER, READ)
        assert link.term == 6

    with cluster_of(1) as cluster:
        play(cluster, body)  # the scripted nodes answer in term 0


def test_a_node_that_comes_back_under_another_id_is_called_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_module, "LOOK_S", 0.01)

    async def body(link: NodeLink) -> None:
        await link.ask(CALLER, PUT)
        own = cluster[2]
        own.node_id = 5
        own.break_connections()
        # Writes go to the leader and do well; they alone would never meet the own node again.
        async with asyncio.timeout(PLAY_S):
            while link.node_id != 5:
                await link.ask(CALLER, PUT)
        assert link.header().member_id == 5

    with cluster_of(2) as cluster:
        play(cluster, body, node_id=2)


def test_the_id_of_a_node_that_is_away_is_kept() -> None:
    async def body(link: NodeLink) -> None:
        cluster[2].stop()
        async with asyncio.timeout(PLAY_S):
            while link._discovery.is_reached:
                await link.ask(CALLER, READ)
        assert link.node_id == 2

    with cluster_of(2) as cluster:
        play(cluster, body, node_id=2)


# Questions


def test_writes_have_a_session_and_go_to_the_leader_and_old_reads_to_the_own_node() -> None:
    async def body(link: NodeLink) -> None:
        assert (await link.ask(CALLER, PUT))[:2] == (0, 2)
        await link.ask(CALLER, READ)
        await link.ask(CALLER, READ, level=ReadLevel.LOCAL)
        assert [operations for _, operations in cluster[1].requests] == [(PUT,), (READ,)]
        assert len(cluster[1].headers) == 1
        assert cluster[2].requests == [(ReadLevel.LOCAL, (READ,))]

    with cluster_of(2) as cluster:
        play(cluster, body, node_id=2)


def test_an_error_of_the_store_is_an_error_of_the_call() -> None:
    async def body(link: NodeLink) -> None:
        with pytest.raises(ApiError) as caught:
            await link.ask(CALLER, schema.range_(b""))
        assert (caught.value.code, caught.value.message) == (3, schema.KEY_NOT_PROVIDED)

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_what_nobody_answers_is_etcds_time_out() -> None:
    async def body(link: NodeLink) -> None:
        for operation in (READ, PUT):
            with pytest.raises(ApiError) as caught:
                await link.ask(CALLER, operation, timeout_s=0.05)
            assert (caught.value.code, caught.value.message) == (
                Status.UNAVAILABLE,
                failures.TIMED_OUT,
            )

    with cluster_of(1) as cluster:
        cluster[1].default_act = "ignore"
        play(cluster, body)


def test_an_answer_that_is_too_large_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metastore.transport.envelope.ANSWER_FRAME_BYTES_MAX", 1000)
    monkeypatch.setattr(routing, "ANSWER_FRAME_BYTES_MAX", 1000)

    async def body(link: NodeLink) -> None:
        await link.ask(CALLER, schema.put(b"k", bytes(2000)))
        with pytest.raises(AnswerTooLarge):
            await link.ask(CALLER, READ)

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_a_request_too_large_for_the_node_never_leaves() -> None:
    async def body(link: NodeLink) -> None:
        with pytest.raises(ApiError) as caught:
            await link.ask(CALLER, schema.put(b"k", bytes(schema.REQUEST_BYTES_MAX)))
        assert (caught.value.code, caught.value.message) == (
            Status.INVALID_ARGUMENT,
            failures.TOO_LARGE,
        )
        largest = schema.REQUEST_BYTES_MAX - 100
        assert (await link.ask(CALLER, schema.put(b"k", bytes(largest))))[0] == 0
        assert len(cluster[1].requests) == 1

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_several_operations_are_one_request_with_a_result_each() -> None:
    async def body(link: NodeLink) -> None:
        results = await link.ask_together([(Op.LEASE_KEEP_ALIVE, 1), (Op.LEASE_KEEP_ALIVE, 2)])
        assert [tuple(result) for result in results] == [(0, 1, 11), (0, 1, 12)]
        assert len(cluster[1].requests) == 1

    with cluster_of(1) as cluster:
        cluster.answers[Op.LEASE_KEEP_ALIVE] = lambda operation: [0, 1, 10 + operation[1]]
        play(cluster, body)


def test_several_operations_that_are_refused_as_one_are_one_error() -> None:
    async def body(link: NodeLink) -> None:
        with pytest.raises(ApiError) as caught:
            await link.ask_together([(Op.LEASE_KEEP_ALIVE, 1), (Op.LEASE_KEEP_ALIVE, 2)])
        assert (caught.value.code, caught.value.message) == (3, "no request")

    with cluster_of(1) as cluster:
        refusal = schema.encode_results([(3, "no request")])
        cluster.apply = lambda request: refusal  # type: ignore[method-assign]
        play(cluster, body)


def test_after_closing_every_call_is_told_that_the_server_stopped() -> None:
    async def body(link: NodeLink) -> None:
        await link.ask(CALLER, READ)
        await link.close()
        with pytest.raises(ApiError) as caught:
            await link.ask(CALLER, READ)
        assert caught.value.message == failures.STOPPED
        with pytest.raises(ApiError) as caught:
            link.follow_watch(b"k", b"", 0, 0, lambda: None)
        assert caught.value.message == failures.STOPPED

    with cluster_of(1) as cluster:
        play(cluster, body)


def test_the_status_is_what_the_node_says_or_a_time_out() -> None:
    async def body(link: NodeLink) -> None:
        assert (await link.status())["term"] == 7
        cluster[1].stop()
        with pytest.raises(ApiError) as caught:
            await link.status()
        assert caught.value.message == failures.TIMED_OUT

    with cluster_of(1) as cluster:
        play(cluster, body, timeout_s=0.5)


def test_the_status_of_another_node_is_asked_at_its_own_address() -> None:
    async def body(link: NodeLink) -> None:
        told = await link.status(5.0, cluster[2].status_address)
        assert (told["node_id"], (await link.status())["node_id"]) == (2, 1)

    with cluster_of(2) as cluster:
        play(cluster, body)


def test_closing_waits_for_a_question_whose_asker_was_cancelled() -> None:
    async def body(link: NodeLink) -> None:
        nobody = asyncio.ensure_future(link.status(0.3, "tcp://127.0.0.1:1"))
        await asyncio.sleep(0)  # the thread has it
        nobody.cancel()
        await link.close()
        assert not link._asking  # or its sockets would keep the context from ending

    with cluster_of(1) as cluster:
        play(cluster, body)
