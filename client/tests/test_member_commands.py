"""`metastore member` and `metastore transfer` against scripted nodes: what they say and do next."""

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from metastore.client.command import addresses
from metastore.client.command import member as member_module
from metastore.transport.member_ops import MEMBER_CHANGE, MOVE_LEADER, MemberInfo
from metastore.transport.schema import Code

Run = Callable[..., Result]
PLACES = (
    *("--peer", "tcp://h4:1", "--client", "tcp://h4:2"),
    *("--status", "tcp://h4:3", "--snapshot", "tcp://h4:4"),
)


def info(node_id: int, role: str = "voter", state: str = "member") -> MemberInfo:
    peer, client, status, snapshot = (f"tcp://h{node_id}:{port}" for port in (1, 2, 3, 4))
    directory_id = 500 + node_id
    return MemberInfo(node_id, role, state, peer, client, status, snapshot, directory_id, 0)


def changes_of(cluster: Any) -> list[Any]:
    return [operation[1:] for operation in cluster.applied if operation[0] == MEMBER_CHANGE]


def test_the_list_shows_every_member_and_what_is_to_be_done(cluster: Any, run: Run) -> None:
    cluster.infos = [info(1), info(2, "witness"), info(3, state="joining"), info(5, "learner")]
    cluster.infos += [info(4, "witness", "awaited"), info(6, state="leaving")]
    cluster.infos += [info(7, state="awaited")]
    shown = run("member", "list")
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert rows[0][:5] == ["node", "role", "state", "leads", "priority"]
    assert rows[1] == ["1", "voter", "member", "leader", "0", *info(1)[3:7], "-"]
    assert [row[:4] for row in rows[2:]] == [
        ["2", "witness", "member", "-"],
        ["3", "voter", "joining", "-"],
        ["4", "witness", "awaited", "-"],
        ["5", "learner", "member", "-"],
        ["6", "voter", "leaving", "-"],
        ["7", "voter", "awaited", "-"],
    ]
    notes = shown.stderr.splitlines()
    assert [note.split(";")[0] for note in notes] == [
        "metastore: node 3 catches up, and votes once it has",
        "metastore: node 4 has not come",
        "metastore: node 6 votes until the change under way is done",
        "metastore: node 7 has not come",
    ]
    # The places to join at: no witness, and nobody who is not there.
    assert "--join tcp://h1:2,tcp://h3:2,tcp://h5:2,tcp://h6:2 --role witness" in notes[1]


def test_the_list_as_json_has_everything(cluster: Any, run: Run) -> None:
    named = info(1)._replace(name="one", client_urls="http://h1:2379,https://h1:2380")
    cluster.infos = [named, info(2)]
    told = json.loads(run("member", "list", "--json").stdout)
    urls = ["http://h1:2379", "https://h1:2380"]
    assert told == [
        named._asdict() | {"client_urls": urls, "is_leader": True},
        info(2)._asdict() | {"client_urls": [], "is_leader": False},
    ]


def test_a_name_is_shown_as_it_is(cluster: Any, run: Run) -> None:
    cluster.infos = [info(1)._replace(name="[b]one[/b]")]
    assert run("member", "list").stdout.splitlines()[1].split()[-1] == "[b]one[/b]"
    updated = run("member", "update", "1", "--priority", "1")
    assert updated.stdout.startswith("node 1 ([b]one[/b]): priority 0")


def test_the_list_of_one_node_is_told_without_a_leader(make_cluster: Any, run: Run) -> None:
    cluster = make_cluster(1, leader_id=0)
    endpoints = ("--endpoints", cluster[1].client_address, "--timeout", "0.3")
    assert run(*endpoints, "member", "list").exit_code == 3
    shown = run(*endpoints, "member", "list", "--level", "local")
    assert shown.exit_code == 0
    assert shown.stderr == "metastore: the node asked knows of no leader; see `metastore status`\n"


def test_an_added_node_comes_with_the_line_that_starts_it(cluster: Any, run: Run) -> None:
    cluster.infos = [info(1), info(4, "witness", "awaited")]
    added = run("member", "add", "4", *PLACES, "--role", "witness", "--priority", "2")
    assert added.exit_code == 0, added.output
    first, line = added.stdout.splitlines()
    assert first == "node 4 is awaited, as a witness; start it with an empty data_dir:"
    assert shlex.split(line) == [
        *("metastore", "serve", "--node-id", "4", "--cluster-id", "77", "--data-dir", "DATA_DIR"),
        *("--join", "tcp://h1:2", "--role", "witness", "--peer-bind", "tcp://h4:1"),
        *("--client-bind", "tcp://h4:2", "--status-bind", "tcp://h4:3"),
        *("--snapshot-bind", "tcp://h4:4"),
    ]
    places = tuple(PLACES[1::2])
    assert changes_of(cluster) == [(((1, 4, "witness", *places, 2),), False)]
    cluster.infos = [info(1), info(4)]
    again = run("member", "add", "4", *PLACES)
    assert again.stdout == "node 4 is here already, as a voter\n"


def test_promoting_says_who_votes(cluster: Any, run: Run) -> None:
    cluster.infos = [info(1), info(2), info(3, "learner"), info(4, state="awaited")]
    assert run("member", "promote", "2").stdout == "node 2 votes; voters now: 1, 2\n"
    assert run("member", "promote", "2", "--force").exit_code == 0
    assert changes_of(cluster) == [(((3, 2),), False), (((3, 2),), True)]


def test_several_are_removed_at_once_without_a_question(cluster: Any, run: Run) -> None:
    done = run("member", "remove", "4", "5", "4", "--force", input=b"")
    assert done.exit_code == 0
    assert done.stdout.startswith("removed: 4, 5; voters now: 1\na removed node that runs stops")
    assert changes_of(cluster) == [(((4, 4), (4, 5)), True)]


def test_an_update_says_what_is_so_now(cluster: Any, run: Run) -> None:
    cluster.infos = [info(1)]
    done = run("member", "update", "1", "--priority", "0")
    assert done.stdout.startswith("node 1: priority 0, peer tcp://h1:1, client tcp://h1:2")
    assert done.stderr == ""
    moved = run("member", "update", "1", "--client", "tcp://h1:2")
    assert "start node 1 with these addresses from now on" in moved.stderr
    assert changes_of(cluster) == [
        (((5, 1, "", "", "", "", 0),), False),
        (((5, 1, "", "tcp://h1:2", "", "", None),), False),
    ]


def test_a_replacement_says_the_steps_that_follow(cluster: Any, run: Run) -> None:
    cluster.infos = [info(1), info(3, state="awaited")]
    lines = run("member", "replace", "3").stdout.splitlines()
    assert lines[0] == "node 3 is out, and awaited with another data directory. Next:"
    assert [line[:2] for line in lines[1:]] == ["1.", "2.", "3.", "4."]
    assert lines[3].startswith("3. metastore serve --node-id 3 --cluster-id 77 --data-dir DATA_DIR")
    assert changes_of(cluster) == [(((6, 3, 503),), False)]
    cluster.infos = [info(1), info(3)]
    assert "nothing was changed" in run("member", "replace", "3").stdout


def test_a_transfer_says_who_leads(make_cluster: Any, run: Run) -> None:
    cluster = make_cluster(3, leader_id=1)
    endpoints = ("--endpoints", cluster[1].client_address)
    assert run(*endpoints, "transfer", "3").stdout == "node 3 leads\n"
    assert run(*endpoints, "transfer").stdout == "node 1 leads\n"
    assert [op for op in cluster.applied if op[0] == MOVE_LEADER] == [(50, 3), (50, 0)]


def test_what_is_refused_leaves_with_1_and_the_leaders_words(cluster: Any, run: Run) -> None:
    cluster.answers[MEMBER_CHANGE] = [Code.FAILED_PRECONDITION, "metastore: start 2 first"]
    refused = run("member", "remove", "1")
    assert (refused.exit_code, refused.stderr) == (1, "metastore: start 2 first\n")
    missing = run("member", "replace", "9")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "there is no such member: 9" in missing.stderr


def test_a_member_that_went_while_it_was_changed_is_told(cluster: Any, run: Run) -> None:
    gone = run("member", "update", "7", "--priority", "1")
    assert gone.exit_code == 1
    assert "node 7 is no member any more" in gone.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("add", "4"),
        ("add", "0", *PLACES),
        ("add", "4", *PLACES, "--role", "king"),
        ("add", "4", *PLACES, "--priority", "1001"),
        ("remove",),
        ("remove", "x"),
        ("update", "3"),
        ("list", "--level", "fresh"),
    ],
)
def test_wrong_usage_leaves_with_2(run: Run, cluster: Any, arguments: tuple[str, ...]) -> None:
    assert run("member", *arguments).exit_code == 2
    assert cluster.leader.requests == []


def test_a_change_takes_the_time_that_the_user_gives_or_what_suits_it(
    cluster: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float | None] = []
    given = addresses.given_timeout

    def noted(ctx: Any) -> float | None:
        limits.append(given(ctx))
        return limits[-1]

    monkeypatch.setattr(member_module, "given_timeout", noted)
    run("member", "remove", "5")
    run("--timeout", "5", "transfer", "1")
    assert limits == [None, 5.0]
    cluster.leader.default_act = "ignore"
    unknown = run("--timeout", "0.2", "member", "remove", "5")
    assert unknown.exit_code == 4
    assert "look at the list of the members" in unknown.stderr
