"""What must hold whatever is changed among the members: places, numbers, and above all the voters.

Above drafts.py, asked by planning.py. Each check raises Refusal, with a sentence that says what the
operator can do next. Pure.
"""

from collections.abc import Collection, Iterable

from metastore.node.members.drafts import Draft, Refusal
from metastore.node.members.records import MemberRecord
from metastore.node.settings_values import MEMBERS_MAX
from metastore.transport.addresses import parse_connect_address
from metastore.transport.errors import BadAddress
from metastore.transport.member_ops import PRIORITY_MAX, WOULD_LOSE_QUORUM, Role
from metastore.transport.schema import Code
from metastore.transport.urls import split_urls


def check_addresses(node_id: int, addresses: Iterable[str]) -> None:
    """That somebody else can reach the node there."""
    for address in addresses:
        try:
            is_wildcard, problem = parse_connect_address(address).is_wildcard, ""
        except BadAddress as error:
            is_wildcard, problem = False, str(error)
        if is_wildcard:
            problem = f"address {address!r}: every interface is no place to connect to"
        if problem:
            raise Refusal(
                f"metastore: node {node_id}: {problem}; give one that the others reach it by",
                Code.INVALID_ARGUMENT,
            )


def check_client_urls(node_id: int, text: str) -> None:
    """That clients of etcd understand them; whether anybody is there is not asked."""
    try:
        split_urls(text)
    except BadAddress as error:
        raise Refusal(
            f"metastore: node {node_id}: {error}; correct etcd_advertise", Code.INVALID_ARGUMENT
        ) from None


def check_priority(priority: int) -> None:
    if not 0 <= priority <= PRIORITY_MAX:
        raise Refusal(
            f"metastore: {priority} is no priority; take one from 0 to {PRIORITY_MAX}",
            Code.INVALID_ARGUMENT,
        )


def check_places(draft: Draft) -> None:
    """That nobody takes a place that somebody else has, and that there is room for everybody."""
    after = draft.members_after()
    if len(after) > MEMBERS_MAX:
        raise Refusal(
            f"metastore: a cluster has at most {MEMBERS_MAX} members; remove one first",
            Code.RESOURCE_EXHAUSTED,
        )
    for record in draft.put.values():
        if len(set(record.addresses)) < len(record.addresses):
            raise Refusal(
                f"metastore: node {record.node_id} has one address for two sockets; give each "
                "socket its own",
                Code.INVALID_ARGUMENT,
            )
        if record.node_id not in draft.believed:
            _check_places_of(record, after.values())


def _check_places_of(record: MemberRecord, members: Iterable[MemberRecord]) -> None:
    for other in members:
        if other.node_id == record.node_id:
            continue
        for address in record.addresses:
            if address in other.addresses:
                raise Refusal(
                    f"metastore: {address} is an address of node {other.node_id}; give node "
                    f"{record.node_id} another one, or update or remove node {other.node_id} first"
                )


def check_voters(draft: Draft, alive: Collection[int], *, is_forced: bool) -> None:
    """That the cluster can go on with the voters it is to have. Force overrides what is dangerous
    only as long as somebody is down, and never what would leave no cluster at all."""
    voters = frozenset(draft.voters)
    before = frozenset(draft.membership.configuration.voters)
    if voters == before:
        return
    if not voters:
        raise Refusal(
            "metastore: the only voter cannot be taken out of its cluster; add another node and "
            "wait until it votes, or stop this one to end the cluster"
        )
    _check_witnesses(draft, voters, before, is_forced=is_forced)
    if is_forced:
        return
    # While the configuration is joint, a quorum of the old half is needed as well.
    for half in (before, voters) if draft.is_joint else (voters,):
        missing = half.difference(alive)
        if len(half) - len(missing) < len(half) // 2 + 1:
            raise Refusal(_lost_quorum(half, missing), may_pass=True)


def _check_witnesses(
    draft: Draft, voters: frozenset[int], before: frozenset[int], *, is_forced: bool
) -> None:
    members = draft.members_after().values()
    witnesses = voters & {m.node_id for m in members if m.role == Role.WITNESS}
    if witnesses == voters:
        raise Refusal(
            f"metastore: only witnesses would vote ({_listed(voters)}), and they hold no data; "
            "add a voter first"
        )
    present = {m.node_id for m in draft.membership.members if m.role == Role.WITNESS}
    excess, excess_before = (
        2 * len(witnesses) - len(voters),
        2 * len(present & before) - len(before),
    )
    # A cluster that was founded so may still be changed for the better.
    if excess > max(0, excess_before) and not is_forced:
        raise Refusal(
            f"metastore: witnesses would be the majority ({_listed(witnesses)} of the voters "
            f"{_listed(voters)}), and what they acknowledge may be on one node alone; add a voter "
            "first, or repeat with --force"
        )


def _lost_quorum(voters: Collection[int], missing: Collection[int]) -> str:
    count = len(voters) - len(missing)
    answers = {0: "none answers", 1: "only 1 answers"}.get(count, f"only {count} answer")
    return (
        f"{WOULD_LOSE_QUORUM}: of the voters {_listed(voters)} {answers}; missing: "
        f"{_listed(missing)}. Start them first, or repeat with --force"
    )


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ids)))
