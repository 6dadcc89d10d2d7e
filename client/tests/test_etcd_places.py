"""The four sockets of a member that is known by its peer URL."""

from metastore.client.etcd_places import Place


def test_three_sockets_follow_from_the_first() -> None:
    assert Place("h", 2380).addresses == [
        *("tcp://h:2380", "tcp://h:5380", "tcp://h:8380", "tcp://h:11380")
    ]


def test_a_port_beyond_the_last_begins_again_above_those_of_the_system() -> None:
    assert Place("::1", 65_000).address("client") == "tcp://[::1]:3488"
    assert Place("h", 62_535).address("client") == "tcp://h:65535"
    assert Place("h", 62_536).address("client") == "tcp://h:1024"
