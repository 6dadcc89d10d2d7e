"""What `metastore member` prints: the table, and what there is to do next.

Reading order 17 of the commands. Pure but for the table.
"""

import shlex
from collections.abc import Iterable, Iterator, Sequence

from metastore.client.member_results import Member
from metastore.transport.member_ops import MemberState, Role

COLUMNS = (
    *("node", "role", "state", "leads", "priority", "peer", "client", "status", "snapshot"),
    "name",
)
_NUMBERS = ("node", "priority")
TABLE_WIDTH = 1500  # a terminal wraps what is too long; an address with a hole is no address
EXIT_REMOVED = 7  # of a node that finds itself removed


def print_table(members: Iterable[Member]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in COLUMNS:
        table.add_column(title, justify="right" if title in _NUMBERS else "left", no_wrap=True)
    for member in members:
        leads = "leader" if member.is_leader else "-"
        kind = (str(member.node_id), member.role, member.state, leads, str(member.priority))
        places = (member.peer, member.client, member.status, member.snapshot)
        table.add_row(*kind, *places, Text(member.name or "-"))
    Console(width=TABLE_WIDTH).print(table)


def remarks(members: Sequence[Member], cluster_id: int) -> Iterator[str]:
    """About those that are not what they shall be."""
    for member in members:
        if member.state == MemberState.AWAITED:
            line = serve_line(member, members, cluster_id)
            yield f"node {member.node_id} has not come; start it with an empty data_dir: {line}"
        elif member.state == MemberState.JOINING:
            yield f"node {member.node_id} catches up, and votes once it has; nothing is to be done"
        elif member.state == MemberState.LEAVING:
            yield f"node {member.node_id} votes until the change under way is done; look again soon"
    if members and not any(member.is_leader for member in members):
        yield "the node asked knows of no leader; see `metastore status`"


def serve_line(member: Member, members: Sequence[Member], cluster_id: int) -> str:
    """The command that starts a node that is awaited."""
    others = [
        other.client
        for other in members
        if other.node_id != member.node_id
        and other.role != Role.WITNESS
        and other.state != MemberState.AWAITED
    ]
    words = ["metastore", "serve", "--node-id", str(member.node_id)]
    words += ["--cluster-id", str(cluster_id), "--data-dir", "DATA_DIR"]
    words += ["--join", ",".join(others)]
    if member.role != Role.VOTER:
        words += ["--role", member.role]
    words += ["--peer-bind", member.peer, "--client-bind", member.client]
    words += ["--status-bind", member.status, "--snapshot-bind", member.snapshot]
    return shlex.join(words)


def replaced(member: Member, members: Sequence[Member], cluster_id: int) -> Iterator[str]:
    node_id = member.node_id
    if member.state != MemberState.AWAITED:
        yield f"node {node_id} has come back with another directory already; nothing was changed"
        return
    yield f"node {node_id} is out, and awaited with another data directory. Next:"
    yield f"1. stop the old process of node {node_id}; one that runs comes back with its directory"
    yield "2. give it an empty data_dir; what is left of the old one must never be used again"
    yield f"3. {serve_line(member, members, cluster_id)}"
    yield "4. wait until `metastore member list` shows it as a member"


def removed(node_ids: Sequence[int], members: Sequence[Member]) -> Iterator[str]:
    names = ", ".join(map(str, node_ids))
    yield f"removed: {names}; {voters(members)}"
    yield (
        f"a removed node that runs stops by itself, with exit code {EXIT_REMOVED}; its id never "
        "comes back, and its data_dir can be deleted"
    )


def voters(members: Iterable[Member]) -> str:
    found = [str(m.node_id) for m in members if m.state == "member" and m.role != Role.LEARNER]
    return f"voters now: {', '.join(found) or 'none'}"


def place_of(member: Member) -> str:
    name = f" ({member.name})" if member.name else ""
    return (
        f"node {member.node_id}{name}: priority {member.priority}, peer {member.peer}, client "
        f"{member.client}, status {member.status}, snapshot {member.snapshot}"
    )
