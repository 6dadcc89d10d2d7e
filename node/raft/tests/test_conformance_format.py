"""The harness itself: the file format, Go's quoting, ids above 9 (which no data file prints)."""

import pytest
from conformance.datadriven import MalformedFile, parse_directives
from conformance.environment import Output
from conformance.interaction import InteractionRunner
from conformance.quorum_files import QuorumRunner, draw_commit
from conformance.text import (
    describe_entry,
    describe_hard_state,
    describe_message,
    describe_ready,
    describe_snapshot,
    describe_soft_state,
    quote,
)

from metastore.node.raft.events import Level
from metastore.node.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    InstallSnapshot,
    RequestVoteReply,
    StorageAppend,
    StorageAppendReply,
)
from metastore.node.raft.model import (
    APPEND_THREAD,
    Change,
    ChangeType,
    ConfigurationChange,
    ConfigurationState,
    Entry,
    EntryType,
    HardState,
    ReadState,
    Role,
    Snapshot,
    SoftState,
)
from metastore.node.raft.ready import Ready

CHANGE = ConfigurationChange((Change(ChangeType.ADD_VOTER, 10), Change(ChangeType.REMOVE, 255)))


def run(text: str) -> list[str]:
    runner = InteractionRunner()
    return [runner.run(directive) for directive in parse_directives(text)]


def test_comments_and_blank_lines_between_directives_are_skipped() -> None:
    (directive,) = parse_directives("\n# a comment\n\n  stabilize 1 2\n----\nok\n")
    assert directive.command == "stabilize"
    assert directive.line == 4
    assert directive.positional_numbers() == [1, 2]
    assert directive.expected == "ok\n"


def test_a_hash_inside_expected_output_is_output() -> None:
    (directive,) = parse_directives("stabilize\n----\n# text\nok\n")
    assert directive.expected == "# text\nok\n"


def test_a_backslash_joins_the_next_line() -> None:
    (directive,) = parse_directives("stabilize 1 \\\n   2\n----\n")
    assert directive.positional() == ["1", "2"]


def test_input_is_what_stands_before_the_separator() -> None:
    (directive,) = parse_directives("propose-conf-change 1\n v1 l2\n\n----\nok\n")
    assert directive.input == "v1 l2"


def test_expected_output_ends_at_a_blank_line_or_at_the_end() -> None:
    first, second = parse_directives("a\n----\none\ntwo\n\nb\n----\nthree")
    assert (first.expected, second.expected) == ("one\ntwo\n", "three\n")


def test_doubled_separators_hold_output_with_blank_lines() -> None:
    text = "a\n----\n----\none\n\n----\ntwo\n----\n----\n\nb\n----\n"
    first, second = parse_directives(text)
    assert first.expected == "one\n\n----\ntwo\n"
    assert second.command == "b"


def test_unclosed_doubled_separators_are_malformed() -> None:
    with pytest.raises(MalformedFile, match="not closed"):
        parse_directives("a\n----\n----\none\n")


def test_arguments_have_none_one_or_many_values() -> None:
    (directive,) = parse_directives("a key one=1 none= many=(1, 2,f(3,4)) empty=()\n----\n")
    assert [argument.values for argument in directive.arguments] == [
        (),
        ("1",),
        ("",),
        ("1", "2", "f(3,4)"),
        (),
    ]


def test_line_ends_of_other_systems_do_not_matter() -> None:
    (directive,) = parse_directives("a\r\n----\r\nok\r\n")
    assert directive.expected == "ok\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", '""'),
        (b"foo bar", '"foo bar"'),
        (b'"foo"\\', r'"\"foo\"\\"'),
        (b"\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        (b"\x00\x1f\x7f", r'"\x00\x1f\x7f"'),
        (b"'", '"\'"'),
        ("é∞😀".encode(), '"é∞😀"'),
        (b"\xff\xc3(", r'"\xff\xc3("'),
        ("\u0085\u00a0\u2028\ufeff".encode(), r'"\u0085\u00a0\u2028\ufeff"'),
        ("\U000e0001".encode(), r'"\U000e0001"'),
        ("\ufffd".encode(), '"\ufffd"'),
        (b"\xed\xa0\x80", r'"\xed\xa0\x80"'),
    ],
)
def test_data_is_quoted_as_go_quotes_strings(data: bytes, text: str) -> None:
    assert quote(data) == text


def test_a_proposal_is_the_word_as_written_with_its_quotes() -> None:
    outputs = run(
        "log-level none\n----\n\nadd-nodes 1 voters=(1) index=2\n----\n\ncampaign 1\n----\n\n"
        'stabilize\n----\n\npropose 1 "foo"\n----\n\n'
        "log-level info\n----\n\nprocess-ready 1\n----\n"
    )
    assert '1/4 EntryNormal "\\"foo\\""\n' in outputs[-1]


def test_changes_print_decimal_ids_and_no_trailing_blank() -> None:
    entry = Entry(3, 7, EntryType.CONFIGURATION, CHANGE.encode())
    assert describe_entry(entry) == "3/7 EntryConfChangeV2 v10 r255"
    assert describe_entry(Entry(1, 5, EntryType.CONFIGURATION)) == "1/5 EntryConfChangeV2"
    single = ConfigurationChange(CHANGE.changes[:1])
    entry = Entry(1, 6, EntryType.CONFIGURATION_V1, single.encode())
    assert describe_entry(entry) == "1/6 EntryConfChange v10"


def test_endpoints_are_hexadecimal_and_everything_else_is_decimal() -> None:
    snapshot = Snapshot(12, 11, ConfigurationState(voters=(10, 11), learners=(255,)))
    message = InstallSnapshot(sender=10, to=255, term=12, snapshot=snapshot)
    assert describe_message(message) == (
        "a->ff MsgSnap Term:12 Log:0/0\n"
        "  Snapshot: Index:12 Term:11 ConfState:Voters:[10 11] VotersOutgoing:[] "
        "Learners:[255] LearnersNext:[] AutoLeave:false"
    )
    assert describe_snapshot(snapshot).startswith("Index:12 Term:11 ConfState:Voters:[10 11]")
    assert describe_hard_state(HardState(10, 11, 12)) == "Term:10 Vote:11 Commit:12"
    assert describe_soft_state(SoftState(10, Role.PRE_CANDIDATE)) == (
        "Lead:10 State:StatePreCandidate"
    )


def test_headers_and_states_are_decimal_while_logs_are_hexadecimal() -> None:
    outputs = run("add-nodes 11\n----\n\nraft-state\n----\n\nprocess-ready 10 11\n----\n")
    assert "INFO b switched to configuration voters=()\n" in outputs[0]
    assert "\n11: StateFollower (Non-Voter) Term:0 Lead:0\n" in outputs[1]
    assert outputs[2] == (
        "> 10 handling Ready\n  <empty Ready>\n> 11 handling Ready\n  <empty Ready>\n"
    )


def test_rejections_show_the_hint_and_accepted_replies_only_the_index() -> None:
    rejected = AppendEntriesReply(
        sender=1, to=2, term=3, index=9, rejected=True, hint_index=0, hint_term=2
    )
    assert describe_message(rejected) == "1->2 MsgAppResp Term:3 Log:2/9 Rejected (Hint: 0)"
    accepted = AppendEntriesReply(sender=1, to=2, term=3, index=9)
    assert describe_message(accepted) == "1->2 MsgAppResp Term:3 Log:0/9"
    refused = RequestVoteReply(sender=1, to=2, term=3, rejected=True)
    assert describe_message(refused) == "1->2 MsgVoteResp Term:3 Log:0/0 Rejected (Hint: 0)"


def test_a_commit_index_of_zero_is_left_out() -> None:
    assert describe_message(Heartbeat(to=3, term=1)) == "None->3 MsgHeartbeat Term:1 Log:0/0"


def test_several_entries_and_responses_share_the_closing_bracket() -> None:
    work = StorageAppend(
        sender=1,
        to=APPEND_THREAD,
        term=9,
        hard_state=HardState(1, 2, 3),
        entries=(Entry(1, 4), Entry(1, 5)),
        responses=(StorageAppendReply(sender=APPEND_THREAD, to=1, term=1, index=5, log_term=1),),
    )
    assert describe_message(work) == (
        "1->AppendThread MsgStorageAppend Term:1 Log:0/0 Commit:3 Vote:2 Entries:[\n"
        '  1/4 EntryNormal ""\n'
        '  1/5 EntryNormal ""\n'
        "] Responses:[\n"
        "  AppendThread->1 MsgStorageAppendResp Term:1 Log:1/5\n"
        "]"
    )


def test_a_single_entry_stays_on_the_line() -> None:
    message = AppendEntries(sender=1, to=2, term=1, entries=(Entry(1, 1, data=b"x"),))
    assert describe_message(message).endswith(' Entries:[1/1 EntryNormal "x"]')


def test_the_parts_of_a_ready_stand_in_order() -> None:
    ready = Ready(
        soft_state=SoftState(1, Role.LEADER),
        hard_state=HardState(1, 0, 0),
        read_states=(ReadState(4, b"ab"),),
        entries=(Entry(1, 2),),
        snapshot=Snapshot(1, 1),
        committed=(Entry(1, 1),),
        messages=(Heartbeat(sender=1, to=2, term=1),),
        must_sync=True,
    )
    assert describe_ready(ready).splitlines() == [
        "Ready MustSync=true:",
        "Lead:1 State:StateLeader",
        "HardState Term:1 Commit:0",
        "ReadStates [{4 [97 98]}]",
        "Entries:",
        '1/2 EntryNormal ""',
        "Snapshot Index:1 Term:1 ConfState:Voters:[] VotersOutgoing:[] Learners:[] "
        "LearnersNext:[] AutoLeave:false",
        "CommittedEntries:",
        '1/1 EntryNormal ""',
        "Messages:",
        "1->2 MsgHeartbeat Term:1 Log:0/0",
    ]


def test_output_below_the_level_is_not_written_and_none_writes_nothing() -> None:
    output = Output()
    output.level = Level.WARN
    output.log(Level.INFO, "unseen")
    output.log(Level.ERROR, "seen")
    output.write("text")
    assert output.take() == "ERROR seen\ntext"
    output.level = Level.NONE
    output.log(Level.FATAL, "unseen")
    output.write("unseen")
    assert output.take() == ""


def test_indented_output_gains_two_blanks_and_a_last_newline() -> None:
    output = Output()
    output.write("head\n")
    with output.indented():
        output.write("a\n\nb")
    assert output.take() == "head\n  a\n  \n  b\n"


def test_a_refusal_is_shown_even_when_nothing_else_is() -> None:
    text = "log-level none\n----\n\nadd-nodes 1\n----\n\npropose 1 x\n----\n"
    assert run(text) == ["ok", "ok", "raft proposal dropped"]


def test_a_dropped_message_leaves_no_line() -> None:
    text = "add-nodes 1 voters=(1) index=2\n----\n\nreport-unreachable 1 2\n----\n"
    assert run(text)[1] == "ok"


def test_the_level_of_one_stabilize_ends_with_it() -> None:
    text = "stabilize log-level=none\n----\n\nadd-nodes 1\n----\n"
    assert run(text)[1].startswith("INFO 1 switched to configuration")


def test_the_drawing_of_commit_indexes_ranks_equals_alike() -> None:
    assert draw_commit([1, 2, 12], {1: 100, 2: 102, 12: 102}) == (
        "       idx\n>      100    (id=1)\nx>     102    (id=2)\nx>     102    (id=c)\n"
    )


def test_a_wrong_number_of_indexes_is_an_error_text() -> None:
    (directive,) = parse_directives("committed cfg=(1,2) idx=(1)\n----\n")
    assert QuorumRunner().run(directive).startswith("error: mismatched input")
