"""Settings: three sources, one schema; what is wrong is told with source, key, value and remedy."""

from pathlib import Path

import pytest

from metastore.node.settings import Member, Settings, SettingsInvalid, parse_cluster_id, schema
from metastore.node.settings_sources import load, parser, settings_page

REQUIRED = ["--node-id", "1", "--data-dir", "data"]
MEMBERS = [
    f"{n}=" + ",".join(f"tcp://127.0.0.1:70{n}{socket}" for socket in (1, 2, 3, 4))
    for n in (1, 2, 3)
]
MEMBER_FLAGS = [part for member in MEMBERS for part in ("--member", member)]


def flags(*more: str) -> Settings:
    return load([*REQUIRED, *more], {})


def toml(folder: Path, text: str) -> list[str]:
    file = folder / "node.toml"
    file.write_text(text)
    return ["--config", str(file)]


def refusal(*more: str) -> SettingsInvalid:
    with pytest.raises(SettingsInvalid) as caught:
        flags(*more)
    return caught.value


def test_a_node_needs_only_its_number_and_a_directory() -> None:
    settings = flags()
    assert (settings.node_id, settings.data_dir) == (1, Path("data"))
    assert settings.sync == "always"
    assert (settings.tick_ms, settings.heartbeat_ticks, settings.election_timeout_ticks) == (
        100,
        1,
        10,
    )
    assert [member.node_id for member in settings.members] == [1]


def test_flags_win_over_the_environment_and_the_environment_over_the_file(tmp_path: Path) -> None:
    config = toml(
        tmp_path,
        'node_id = 1\ndata_dir = "x"\nheartbeat_ms = 20\nsync = "never"\nlog_level = "error"\n',
    )
    environment = {"METASTORE_SYNC": "interval", "METASTORE_LOG_LEVEL": "debug", "HOME": "/"}
    settings = load([*config, "--log-level", "warning"], environment)
    assert (settings.heartbeat_ms, settings.sync, settings.log_level) == (
        20,
        "interval",
        "warning",
    )


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    _, file = toml(tmp_path, 'node_id = 5\ndata_dir = "x"\n')
    assert load([], {"METASTORE_CONFIG": file}).node_id == 5


def test_members_read_the_same_from_every_source(tmp_path: Path) -> None:
    by_flag = flags(*MEMBER_FLAGS).members
    by_file = load([*toml(tmp_path, f"members = {MEMBERS}\n"), *REQUIRED], {}).members
    by_environment = load(REQUIRED, {"METASTORE_MEMBERS": " ".join(MEMBERS)}).members
    assert by_flag == by_file == by_environment
    assert [str(member) for member in by_flag] == MEMBERS


def test_a_node_binds_to_its_own_line_of_the_members() -> None:
    settings = load(["--node-id", "2", "--data-dir", "x", *MEMBER_FLAGS], {})
    assert (settings.peer_bind, settings.snapshot_bind) == (
        "tcp://127.0.0.1:7021",
        "tcp://127.0.0.1:7024",
    )


def test_an_advertised_address_replaces_the_bound_one_in_the_members() -> None:
    settings = flags("--client-advertise", "tcp://db.example:9")
    assert settings.members[0].client == "tcp://db.example:9"
    assert settings.client_bind == "tcp://127.0.0.1:7002"


def test_a_flag_without_a_value_switches_on() -> None:
    assert flags("--insecure").insecure is True
    assert flags("--insecure", "false").insecure is False


def test_a_shorter_tick_divides_the_times_and_rounds_the_election_up() -> None:
    settings = flags("--tick-ms", "30", "--heartbeat-ms", "100")
    assert (settings.heartbeat_ticks, settings.election_timeout_ticks) == (3, 34)


@pytest.mark.parametrize(
    ("more", "key", "expected"),
    [
        (["--node-id", "0"], "node_id", "from 1 to"),
        (["--node-id", "one"], "node_id", "from 1 to"),
        (["--node-id", str((1 << 64) - 2)], "node_id", "from 1 to"),
        (["--data-dir", ""], "data_dir", "a path"),
        (["--sync", "sometimes"], "sync", "one of always, interval, never"),
        (["--insecure", "maybe"], "insecure", "true or false"),
        (["--cluster-id", "0"], "cluster_id", "from 1 to"),
        (["--peer-bind", "127.0.0.1:7001"], "peer_bind", "tcp://HOST:PORT"),
        (["--peer-bind", "tcp://127.0.0.1"], "peer_bind", "tcp://HOST:PORT"),
        (["--peer-bind", "tcp://127.0.0.1:99999"], "peer_bind", "tcp://HOST:PORT"),
        (["--peer-bind", "tcp://127.0.0.1:1/x"], "peer_bind", "tcp://HOST:PORT"),
        (["--peer-bind", "ipc:///tmp/x"], "peer_bind", "tcp://HOST:PORT"),
        (["--peer-bind", "tcp://*:7001"], "peer_bind", "insecure = true"),
        (["--peer-bind", "tcp://0.0.0.0:7001"], "peer_bind", "insecure = true"),
        (["--peer-bind", "tcp://db.example:7001"], "peer_bind", "insecure = true"),
        (["--peer-bind", "tcp://127.0.0.1:7002"], "peer_bind", "a different address"),
        (["--member", "1=tcp://a:1"], "members", "ID=PEER,CLIENT,STATUS,SNAPSHOT"),
        (["--member", MEMBERS[0], "--member", MEMBERS[0]], "members", "different ids"),
        (["--member", MEMBERS[0].replace("7013", "7012")], "members", "is there twice"),
        (["--member", MEMBERS[1]], "node_id", "one of the members (2)"),
        (
            ["--election-timeout-ms", "499"],
            "election_timeout_ms",
            "at least 5 * heartbeat_ms = 500",
        ),
        (["--tick-ms", "101"], "tick_ms", "at most heartbeat_ms = 100"),
        (["--snapshot-bytes", "1"], "snapshot_bytes", "from 65536"),
        (["--no-such-thing", "1"], "command line", "--help"),
        (["--node", "1"], "command line", "--help"),
    ],
)
def test_a_bad_value_is_refused_with_its_key_and_what_is_expected(
    more: list[str], key: str, expected: str
) -> None:
    error = refusal(*more)
    assert error.key == key
    assert expected in error.expected
    assert f"{key} = " in str(error)


def test_a_member_that_cannot_be_reached_is_refused() -> None:
    unreachable = MEMBERS[1].replace("tcp://127.0.0.1:7021", "tcp://0.0.0.0:7021")
    assert "to connect to" in refusal("--member", MEMBERS[0], "--member", unreachable).expected
    portless = MEMBERS[1].replace("7021", "0")
    assert "to connect to" in refusal("--member", MEMBERS[0], "--member", portless).expected


def test_localhost_is_loopback_and_any_free_port_may_be_asked_for_often() -> None:
    settings = flags(
        *("--peer-bind", "tcp://localhost:0"),
        *("--client-bind", "tcp://127.0.0.1:0"),
        *("--status-bind", "tcp://127.0.0.1:0"),
        *("--snapshot-bind", "tcp://[::1]:0"),
    )
    assert settings.client_bind == settings.status_bind


def test_the_source_of_a_bad_value_is_named(tmp_path: Path) -> None:
    config = toml(tmp_path, "heartbeat_ms = 0\n")
    with pytest.raises(SettingsInvalid, match=r"file .*node\.toml: heartbeat_ms = 0"):
        load([*REQUIRED, *config], {})
    with pytest.raises(SettingsInvalid, match="environment: sync = 'x'"):
        load(REQUIRED, {"METASTORE_SYNC": "x"})
    with pytest.raises(SettingsInvalid, match="flag: sync = 'x'"):
        flags("--sync", "x")


def test_an_unknown_key_is_refused_in_every_source(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"file .*: hartbeat_ms = 5: expected one of"):
        load([*REQUIRED, *toml(tmp_path, "hartbeat_ms = 5\n")], {})
    with pytest.raises(SettingsInvalid, match="environment: hartbeat_ms"):
        load(REQUIRED, {"METASTORE_HARTBEAT_MS": "5"})


def test_variables_of_the_client_are_left_to_the_client() -> None:
    assert load(REQUIRED, {"METASTORE_ENDPOINTS": "tcp://a:1"}).node_id == 1


@pytest.mark.parametrize("text", ["heartbeat_ms = true", "heartbeat_ms = 1.5", "members = [1]"])
def test_a_value_of_the_wrong_type_in_the_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsInvalid, match="file"):
        load([*REQUIRED, *toml(tmp_path, text)], {})


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="a readable file"):
        flags("--config", str(tmp_path / "absent"))
    with pytest.raises(SettingsInvalid, match="valid TOML"):
        load(toml(tmp_path, "node_id ="), {})
    for text in ("node_id = " + "1" * 5000, "node_id = " + "[" * 5000):
        with pytest.raises(SettingsInvalid, match="valid TOML"):
            load(toml(tmp_path, text), {})
    (tmp_path / "latin").write_bytes(b"# \xff\n")
    with pytest.raises(SettingsInvalid, match="valid TOML"):
        flags("--config", str(tmp_path / "latin"))


@pytest.mark.parametrize("missing", ["node_id", "data_dir"])
def test_a_required_setting_that_is_missing_is_named(missing: str) -> None:
    given = {"node_id": "1", "data_dir": "x"}
    del given[missing]
    with pytest.raises(SettingsInvalid) as caught:
        load([], {f"METASTORE_{key.upper()}": value for key, value in given.items()})
    assert caught.value.key == missing


def test_a_cluster_is_named_by_text_or_number() -> None:
    assert parse_cluster_id("17") == parse_cluster_id(17) == 17
    assert parse_cluster_id("blue") == parse_cluster_id("blue") != parse_cluster_id("green")


def test_the_help_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load(["--help"], {})
    shown = capsys.readouterr().out
    assert caught.value.code == 0
    assert all(
        "--" + entry.name.replace("_", "-") in shown or entry.name == "members"
        for entry in schema()
    )
    assert "--member ID=ADDRESSES" in shown
    assert "--join ADDRESS" in shown
    assert "--key-file PATH" in shown


def test_every_setting_says_what_it_is_and_what_goes_wrong() -> None:
    for entry in schema():
        assert entry.metadata["help"].endswith("."), entry.name
        assert entry.metadata["wrong"].endswith("."), entry.name
    assert parser().format_help()


def test_the_committed_page_of_settings_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "guide" / "settings.md"
    assert page.read_text() == settings_page(), (
        "run: python -m metastore.node.settings_sources > docs/guide/settings.md"
    )


def test_a_member_prints_as_it_is_written() -> None:
    member = Member(1, "tcp://a:1", "tcp://a:2", "tcp://a:3", "tcp://a:4")
    assert str(member) == "1=tcp://a:1,tcp://a:2,tcp://a:3,tcp://a:4"
