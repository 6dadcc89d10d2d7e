"""Settings: founding or joining a cluster, addresses told to others, and keys.

Single values and the sources are in test_settings.py.
"""

from pathlib import Path

import pytest

from metastore.node.settings import Member, Settings, SettingsInvalid
from metastore.node.settings_sources import load

REQUIRED = ["--node-id", "1", "--data-dir", "data"]
JOIN = ["--join", "tcp://127.0.0.1:8002"]
KEYS = ["--key-file", "node.key", "--access-file", "access.toml"]
TLS = ("--insecure", "--etcd-cert-file", "c", "--etcd-key-file", "k")
SOCKETS = ("peer", "client", "status", "snapshot")
MEMBERS = [
    f"{n}=" + ",".join(f"tcp://127.0.0.1:70{n}{socket}" for socket in (1, 2, 3, 4))
    for n in (1, 2, 3)
]


def flags(*more: str) -> Settings:
    return load([*REQUIRED, *more], {})


def listed(*members: str) -> list[str]:
    return [part for member in members for part in ("--member", member)]


def refusal(*more: str) -> SettingsInvalid:
    with pytest.raises(SettingsInvalid) as caught:
        flags(*more)
    return caught.value


def test_addresses_to_join_read_the_same_from_every_source(tmp_path: Path) -> None:
    expected = ("tcp://a:1", "tcp://b:2")
    file = tmp_path / "node.toml"
    file.write_text('join = ["tcp://a:1", "tcp://b:2"]\n')
    assert flags("--join", "tcp://a:1, tcp://b:2").join == expected
    assert flags("--join", "tcp://a:1", "--join", "tcp://b:2,tcp://a:1").join == expected
    assert load(REQUIRED, {"METASTORE_JOIN": "tcp://a:1,tcp://b:2"}).join == expected
    assert load([*REQUIRED, "--config", str(file)], {}).join == expected
    assert flags("--join", "").join == ()


def test_whoever_joins_founds_nothing_and_needs_no_list() -> None:
    joining = flags(*JOIN, "--role", "learner")
    assert joining.founders == ()
    assert [(member.node_id, member.role) for member in joining.members] == [(1, "learner")]
    hints = flags(*JOIN, *listed(*MEMBERS[1:]))
    assert [member.node_id for member in hints.members] == [1, 2, 3]
    assert hints.founders == ()


def test_whoever_does_not_join_founds_what_the_list_says() -> None:
    assert [m.node_id for m in flags(*listed(*MEMBERS)).founders] == [1, 2, 3]
    assert [m.node_id for m in flags().founders] == [1]


def test_the_list_says_who_shall_be_what() -> None:
    settings = flags(*listed(MEMBERS[0] + ",learner", MEMBERS[1], MEMBERS[2] + ",witness"))
    assert [member.role for member in settings.members] == ["learner", "voter", "witness"]
    assert settings.role == "learner"
    assert str(settings.members[2]) == MEMBERS[2] + ",witness"
    assert str(settings.members[1]) == MEMBERS[1]


@pytest.mark.parametrize(
    ("more", "key", "expected"),
    [
        (["--join", "tcp://*:7002"], "join", "an address to connect to"),
        (["--join", "tcp://host:0"], "join", "an address to connect to"),
        (["--join", "host:7002"], "join", "tcp://HOST:PORT"),
        (["--role", "leader"], "role", "one of voter, learner, witness"),
        (["--role", "learner"], "role", "at least one voter in a new cluster, or join"),
        (["--role", "witness"], "role", "at least one voter in a new cluster, or join"),
        (listed(MEMBERS[0] + ",learner", MEMBERS[1] + ",witness"), "members", "at least one voter"),
        (listed(MEMBERS[0] + ",boss"), "members", "one of voter, learner, witness"),
        (listed(MEMBERS[0] + ",voter,voter"), "members", "ID=PEER,CLIENT,STATUS,SNAPSHOT"),
        ([*listed(*MEMBERS), "--role", "learner"], "role", "voter, as in members"),
        (["--dial", "2"], "dial", "ID=ADDRESS"),
        (["--dial", "2=tcp://*:1"], "dial", "an address to connect to"),
        (["--dial", "two=tcp://a:1"], "dial", "from 1 to"),
        (["--connections-max", "0"], "connections_max", "from 1 to"),
        (KEYS[:2], "access_file", "since key_file is set"),
        (KEYS[2:], "key_file", "since access_file is set"),
        (["--peer-bind", "tcp://*:7001"], "peer_bind", "or key_file and access_file, or insecure"),
    ],
)
def test_a_bad_value_is_refused_with_its_key_and_what_is_expected(
    more: list[str], key: str, expected: str
) -> None:
    error = refusal(*more)
    assert error.key == key
    assert expected in error.expected


@pytest.mark.parametrize("name", SOCKETS)
@pytest.mark.parametrize("bind", ["tcp://*:7009", "tcp://0.0.0.0:7009", "tcp://127.0.0.1:0"])
def test_whoever_joins_tells_addresses_that_others_can_reach(name: str, bind: str) -> None:
    bound = [*JOIN, "--insecure", f"--{name}-bind", bind]
    assert refusal(*bound).key == f"{name}_advertise"
    settings = flags(*bound, f"--{name}-advertise", "tcp://db.example:9")
    assert getattr(settings.members[0], name) == "tcp://db.example:9"
    assert getattr(settings, f"{name}_bind") == bind


@pytest.mark.parametrize("name", SOCKETS)
def test_what_is_told_is_the_advertised_address_or_the_listed_or_the_bound(name: str) -> None:
    advertised = [f"--{name}-advertise", "tcp://db.example:9"]
    assert getattr(flags(*advertised).own_member, name) == "tcp://db.example:9"
    assert getattr(flags(*listed(*MEMBERS), *advertised).own_member, name) == "tcp://db.example:9"
    of_list = flags(*listed(*MEMBERS), f"--{name}-bind", "tcp://127.0.0.1:9")
    assert getattr(of_list.members[0], name) == getattr(of_list, f"{name}_advertise")
    assert str(of_list.members[0]) == MEMBERS[0]
    bound = flags(*JOIN, f"--{name}-bind", "tcp://127.0.0.1:9")
    assert getattr(bound.members[0], name) == "tcp://127.0.0.1:9"


def test_what_a_founder_advertises_does_not_change_the_list_that_all_founders_share() -> None:
    settings = flags(*listed(*MEMBERS), "--peer-advertise", "tcp://db.example:9")
    assert [str(member) for member in settings.founders] == MEMBERS


@pytest.mark.parametrize("name", SOCKETS)
def test_a_founder_advertises_addresses_that_others_can_reach(name: str) -> None:
    error = refusal(*listed(*MEMBERS), f"--{name}-advertise", "tcp://*:9")
    assert error.key == f"{name}_advertise"


@pytest.mark.parametrize("bind", ["tcp://*:7009", "tcp://0.0.0.0:7009", "tcp://[::]:0"])
def test_a_node_alone_tells_an_address_too_since_others_may_join_it(bind: str) -> None:
    assert refusal("--insecure", "--peer-bind", bind).key == "peer_advertise"
    assert flags("--insecure", "--peer-bind", bind, "--peer-advertise", "tcp://db.example:9")
    assert refusal("--peer-advertise", "tcp://127.0.0.1:0").key == "peer_advertise"


def test_with_keys_any_address_may_be_bound() -> None:
    settings = flags(*KEYS, "--peer-bind", "tcp://*:7001", "--peer-advertise", "tcp://db:7001")
    assert (settings.key_file, settings.access_file) == (Path("node.key"), Path("access.toml"))
    assert settings.insecure is False


def test_no_keys_are_the_default_and_may_be_said() -> None:
    assert flags().key_file is None
    assert flags("--key-file", "", "--access-file", "").access_file is None


def test_a_member_may_be_dialled_at_a_place_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('dial = ["2=tcp://a:1", "3=tcp://b:1"]\n')
    expected = ((2, "tcp://a:1"), (3, "tcp://b:1"))
    assert load([*REQUIRED, "--config", str(file)], {}).dial == expected
    assert flags("--dial", "2=tcp://a:1", "--dial", "3=tcp://b:1").dial == expected
    assert load(REQUIRED, {"METASTORE_DIAL": "2=tcp://a:1 3=tcp://b:1"}).dial == expected


def test_a_member_is_a_voter_unless_said_otherwise() -> None:
    member = Member(1, "tcp://a:1", "tcp://a:2", "tcp://a:3", "tcp://a:4")
    assert member.role == "voter"
    assert member.addresses == ("tcp://a:1", "tcp://a:2", "tcp://a:3", "tcp://a:4")


def test_a_node_has_a_name_if_it_is_given_one() -> None:
    assert (flags().name, flags("--name", "alpha").name) == ("", "alpha")
    for bad in ("a\nb", "n" * 301):
        with pytest.raises(SettingsInvalid, match=r"name = .*a printable text"):
            flags("--name", bad)


def test_clients_of_etcd_are_told_the_urls_that_are_given_or_else_those_listened_at() -> None:
    assert flags().etcd_advertise == ()
    listening = ("--etcd", "http://127.0.0.1:2379", "--etcd", "https://h:2380", *TLS)
    assert flags(*listening).etcd_advertise == ("http://127.0.0.1:2379", "https://h:2380")
    told = flags(*listening, "--etcd-advertise", "http://lb:1,http://lb:2")
    assert told.etcd_advertise == ("http://lb:1", "http://lb:2")


def test_a_gateway_on_every_interface_is_told_with_the_host_of_the_node() -> None:
    everywhere = ("--etcd", "http://0.0.0.0:2379", "--etcd", "https://[::]:2380", *TLS)
    assert flags(*everywhere, "--client-advertise", "tcp://h1:7002").etcd_advertise == (
        "http://h1:2379",
        "https://h1:2380",
    )
    local = flags(*everywhere, "--client-advertise", "tcp://[fe80::1]:7002")
    assert local.etcd_advertise[0] == "http://[fe80::1]:2379"
    # What was given is taken at its word.
    assert flags("--etcd-advertise", "http://0.0.0.0:1").etcd_advertise == ("http://0.0.0.0:1",)


@pytest.mark.parametrize(
    ("url", "expected"),
    [("http://h+h:1", "is no host name"), (f"http://{'h' * 250}:1,http://{'i' * 250}:1", "300")],
)
def test_urls_that_the_cluster_would_refuse_stop_the_start(url: str, expected: str) -> None:
    with pytest.raises(SettingsInvalid, match=expected) as caught:
        flags("--etcd-advertise", url)
    assert caught.value.key == "etcd_advertise"
