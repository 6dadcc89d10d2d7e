"""etcd's flags and variables: read as etcd reads them, and what is not to be had is refused."""

import click
import pytest

from metastore.client.command.etcd_flags import read_flags
from metastore.client.command.etcd_mapping import Place, Plan, node_arguments, plan_of

THREE = "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380"


def plan(*arguments: str) -> Plan:
    return plan_of(read_flags(arguments, {}))


def options(*arguments: str) -> dict[str, list[str]]:
    """What the node is told, by option."""
    flags = read_flags(arguments, {})
    told = node_arguments(flags, plan_of(flags), 7, "c")
    found: dict[str, list[str]] = {}
    for name, value in zip(told[::2], told[1::2], strict=True):
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ["--name", "a"],
        ["--name=a"],
        ["-name", "a"],
        ["-name=a"],
        ["--name", "b", "--name", "a"],
    ],
)
def test_flags_are_written_as_go_takes_them(arguments: list[str]) -> None:
    assert read_flags(arguments, {"ETCD_NAME": "of the environment"})["name"] == "a"


def test_the_environment_counts_where_no_flag_does() -> None:
    flags = read_flags((), {"ETCD_NAME": "a", "ETCD_CLIENT_CERT_AUTH": "1", "ETCD_NAEM": "x"})
    assert flags["name"] == "a"
    assert flags.is_on("client-cert-auth")
    assert flags.remarks == ["ETCD_NAEM is no variable of etcd's and has no effect"]


def test_a_switch_takes_no_word_after_it() -> None:
    flags = read_flags(["--client-cert-auth", "--name", "a"], {})
    assert flags.is_on("client-cert-auth")
    assert not read_flags(["--client-cert-auth=false"], {}).is_on("client-cert-auth")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nmae", "a"], "--nmae is no flag"),
        (["name"], "'name' is not a valid flag"),
        (["--name"], "--name needs a value"),
        (["--client-cert-auth=yes"], "neither true nor false"),
        (["--peer-cert-file", "x"], "METASTORE_KEY_FILE"),
        (["--config-file=x"], "give the settings as flags"),
        (["--force-new-cluster"], "metastore recover"),
        (["--enable-v2"], "no v2 API"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_to_do(arguments: list[str], said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        read_flags(arguments, {})


def test_what_means_nothing_here_is_taken_and_said() -> None:
    flags = read_flags(["--max-wals", "3", "--enable-v2=false", "--pre-vote"], {})
    assert flags.remarks == ["--max-wals has no effect here", "--pre-vote has no effect here"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--initial-cluster", THREE], "no member of this node's --name, 'default'"),
        (["--name", "a", "--initial-cluster", THREE], "missing from --initial-advertise-peer-urls"),
        (["--initial-cluster", "default"], "expected NAME=URL"),
        (["--initial-cluster", "default=http://h"], "expected http://HOST:PORT"),
        (["--initial-cluster", "default=https://h:1"], "nodes speak no TLS"),
        (["--initial-cluster-state", "old"], "expected new or existing"),
        (["--listen-peer-urls", "http://h:x"], "expected http://HOST:PORT"),
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused(arguments: list[str], said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        plan(*arguments)


def of_three(name: str, host: str) -> list[str]:
    url = f"http://{host}:2380"
    return ["--name", name, "--initial-cluster", THREE, "--initial-advertise-peer-urls", url]


def test_all_members_derive_the_same_numbers_and_places_each_from_its_own_flags() -> None:
    plans = [plan(*of_three("a", "10.0.0.1")), plan(*of_three("c", "10.0.0.3"))]
    ids = [[one.node_id(name) for name in "abc"] for one in plans]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3
    assert all(1 << 53 < number < 1 << 63 for number in ids[0])
    assert plans[0].cluster_name == plans[1].cluster_name
    other = plan(*of_three("a", "10.0.0.1"), "--initial-cluster-token", "other")
    assert other.cluster_name != plans[0].cluster_name
    assert other.node_id("a") != ids[0][0]


def test_the_four_sockets_of_a_node_stand_at_fixed_distances_from_its_peer_url() -> None:
    assert Place("h", 2380).addresses == [
        "tcp://h:2380",
        "tcp://h:5380",
        "tcp://h:8380",
        "tcp://h:11380",
    ]
    assert Place("::1", 65_000).addresses[1:] == [
        "tcp://[::1]:3488",
        "tcp://[::1]:6488",
        "tcp://[::1]:9488",
    ]


def test_the_node_binds_where_it_listens_and_tells_what_it_advertises() -> None:
    told = options(*of_three("b", "10.0.0.2"), "--listen-peer-urls", "http://0.0.0.0:2380")
    assert told["--peer-bind"] == ["tcp://0.0.0.0:2380"]
    assert told["--client-bind"] == ["tcp://0.0.0.0:5380"]
    assert told["--status-advertise"] == ["tcp://10.0.0.2:8380"]
    assert [member.split("=")[1] for member in told["--member"]] == [
        ",".join(Place(f"10.0.0.{n}", 2380).addresses) for n in (1, 2, 3)
    ]
    assert told["--data-dir"] == ["b.etcd"]
    assert told["--insecure"] == ["true"]


def test_a_node_of_an_existing_cluster_asks_the_others_and_founds_nothing() -> None:
    told = options(*of_three("b", "10.0.0.2"), "--initial-cluster-state", "existing")
    assert told["--join"] == ["tcp://10.0.0.1:5380,tcp://10.0.0.3:5380"]
    assert "--member" not in told


def test_limits_times_and_urls_are_handed_on() -> None:
    told = options(
        *("--listen-client-urls", "http://127.0.0.1:1,https://127.0.0.1:2"),
        *("--advertise-client-urls", "http://x:1"),
        *("--listen-metrics-urls", "http://127.0.0.1:3"),
        *("--quota-backend-bytes", "5", "--snapshot-count", "1000"),
        *("--heartbeat-interval", "20", "--election-timeout", "200"),
        *("--auto-compaction-mode", "revision", "--auto-compaction-retention", "50"),
        *("--cert-file", "c", "--key-file", "k", "--trusted-ca-file", "t", "--client-cert-auth"),
        *("--unsafe-no-fsync", "--log-level", "warn", "--auth-token", "jwt,x=y"),
    )
    expected = {
        "--etcd": ["http://127.0.0.1:1", "https://127.0.0.1:2"],
        "--etcd-metrics": ["http://127.0.0.1:3"],
        "--etcd-advertise": ["http://x:1"],
        "--quota-bytes": ["5"],
        "--snapshot-entries": ["1000"],
        "--heartbeat-ms": ["20"],
        "--election-timeout-ms": ["200"],
        "--auto-compact-revisions": ["50"],
        "--etcd-cert-file": ["c"],
        "--etcd-key-file": ["k"],
        "--etcd-trusted-ca-file": ["t"],
        "--etcd-client-cert-auth": ["true"],
        "--sync": ["never"],
        "--log-level": ["warning"],
        "--etcd-auth-token": ["jwt,x=y"],
    }
    assert {name: told[name] for name in expected} == expected


def test_history_that_is_kept_by_time_is_kept_by_revisions_and_said() -> None:
    flags = read_flags(["--auto-compaction-retention", "8h"], {})
    told = node_arguments(flags, plan_of(flags), 7, "c")
    assert told[told.index("--auto-compact-revisions") + 1] == "100000"
    assert "by revisions here, not by time" in flags.remarks[0]
    assert "--auto-compact-revisions 0" in " ".join(
        node_arguments(read_flags((), {}), plan(), 7, "c")
    )
