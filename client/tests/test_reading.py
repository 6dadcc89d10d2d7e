"""Reading more than keys at a time: members, their statuses, and scans over many pages."""

from typing import Any

import pytest

from metastore.client import AnswerTooLarge, Client, Compacted, Unavailable, routing
from metastore.transport import envelope, schema


def client_of(node: Any, **options: Any) -> Client:
    return Client(node.client_address, **options)


def test_members_and_their_statuses_are_told_even_by_a_cluster_without_a_leader(
    make_cluster: Any,
) -> None:
    cluster = make_cluster(2, leader_id=0)
    with client_of(cluster[1]) as client:
        assert [member.node_id for member in client.known_nodes()] == [1, 2]
        assert {node: answer["term"] for node, answer in client.status().items()} == {1: 7, 2: 7}
        cluster[2].stop()
        assert client.status(timeout_s=0.3)[2]["error"]["code"] == "no_answer"


def test_members_of_nobody_are_unavailable(unused_address: str) -> None:
    with Client(unused_address) as client, pytest.raises(Unavailable, match="no node answered"):
        client.known_nodes(timeout_s=0.2)


def test_a_scan_reads_every_key_once_in_order_over_many_pages(cluster: Any) -> None:
    keys = [b"%04d" % number for number in range(300)]
    with client_of(cluster.leader) as client:
        client.batch([schema.put(key, b"v") for key in reversed(keys)])
        assert [kv.key for kv in client.scan(b"\0", b"\0")] == keys
    assert len(cluster.leader.requests) > 3


def test_a_scan_whose_revision_is_compacted_meanwhile_says_so(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        client.batch([schema.put(b"%04d" % number, b"v") for number in range(40)])
        scan = client.scan(b"\0", b"\0")
        next(scan)
        client.put("0039", "new")  # this fake node forgets at once what was
        with pytest.raises(Compacted, match=r"revision 41, as of which .* begin again"):
            list(scan)


def test_all_pages_of_a_scan_are_as_of_one_revision_and_uncounted(cluster: Any) -> None:
    with client_of(cluster.leader) as client:
        client.batch([schema.put(b"%04d" % number, b"v") for number in range(40)])
        list(client.scan(b"\0", b"\0"))
        pages = [ops[0] for _, ops in cluster.leader.requests if ops[0][0] == schema.Op.RANGE]
    assert [page[4] for page in pages] == [0, *[41] * (len(pages) - 1)]
    assert all(page[5] & schema.Flag.NO_COUNT for page in pages)


def test_an_answer_too_large_is_refused_at_once_and_a_scan_takes_smaller_pages(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (routing, envelope):
        monkeypatch.setattr(module, "ANSWER_FRAME_BYTES_MAX", 1536 * 1024)
    values = [bytes([number]) * 400_000 for number in range(20)]
    with client_of(cluster.leader) as client:
        client.batch([schema.put(b"a%04d" % number, b"small") for number in range(60)])
        for number, value in enumerate(values):
            client.put(b"b%04d" % number, value)
        with pytest.raises(AnswerTooLarge, match="read with a limit"):
            client.range(b"\0", b"\0")
        found = list(client.scan(b"\0", b"\0"))
    assert [kv.value for kv in found[60:]] == values
    assert len(found) == 80
