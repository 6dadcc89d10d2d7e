"""etcd's rules for changes of the members, and its words for what they refuse.

Below cluster.py, which asks. Pure: from the list of the members and who is alive. Our own leader
has rules of its own and the last word; these come first, so that a client gets the answer that
etcd's `strict-reconfig-check` would give it.
"""

from collections.abc import Collection, Sequence

from metastore.api.calls import ApiError, Status
from metastore.transport.errors import BadAddress
from metastore.transport.member_ops import (
    NO_SUCH_MEMBER,
    WOULD_LOSE_QUORUM,
    MemberInfo,
    MemberState,
    Role,
)
from metastore.transport.urls import Url, parse_url

PEER_URLS_EXIST = "etcdserver: Peer URLs already exists"
MEMBER_EXISTS = "etcdserver: member ID already exist"
BAD_URLS = "etcdserver: given member URLs are invalid"
MEMBER_NOT_FOUND = "etcdserver: member not found"
NOT_LEARNER = "etcdserver: can only promote a learner member"
LEARNER_NOT_READY = "etcdserver: can only promote a learner member which is in sync with leader"
TOO_MANY_LEARNERS = "etcdserver: too many learner members in cluster"
NOT_ENOUGH_STARTED = "etcdserver: re-configuration failed due to not enough started members"
UNHEALTHY = "etcdserver: unhealthy cluster"
LEARNERS_MAX = 1  # etcd's default


def parse_peer_urls(urls: Sequence[str]) -> Sequence[Url]:
    """At least one. etcd strips spaces, too."""
    try:
        found = [parse_url(url.strip()) for url in urls]
    except BadAddress:
        found = []
    if not found or any(url.address.is_wildcard for url in found):
        raise ApiError(Status.INVALID_ARGUMENT, BAD_URLS)
    return found


def find_member(members: Sequence[MemberInfo], node_id: int) -> MemberInfo:
    for member in members:
        if member.node_id == node_id:
            return member
    raise ApiError(Status.NOT_FOUND, MEMBER_NOT_FOUND)


def check_may_add(
    members: Sequence[MemberInfo],
    alive: Collection[int],
    urls: Collection[Url],
    *,
    is_learner: bool,
) -> None:
    """In etcd's order: what is dangerous comes before what makes no sense."""
    voters = _voters(members)
    started = sum(map(_is_started, voters))
    # A second member must come while the first is all there is.
    is_second = len(voters) == started == 1
    if not is_learner and not is_second and started < (len(voters) + 1) // 2 + 1:
        raise _not_enough_started()
    if any(voter.node_id not in alive for voter in voters):
        raise ApiError(Status.UNAVAILABLE, UNHEALTHY)
    check_places(members, urls, is_new_learner=is_learner)
    learners = len(members) - len(voters)
    if is_learner and learners >= LEARNERS_MAX:
        raise ApiError(Status.FAILED_PRECONDITION, TOO_MANY_LEARNERS)


def check_places(
    members: Sequence[MemberInfo], urls: Collection[Url], *, is_new_learner: bool = False
) -> None:
    """That nobody of `members` is at one of them. etcd makes the id of a member from its URLs and
    the second; the same learner again, which has not come, is the same id."""
    wanted = {str(url.address) for url in urls}
    for member in members:
        if member.peer in wanted:
            is_same = is_new_learner and member.role == Role.LEARNER and not _is_started(member)
            text = MEMBER_EXISTS if is_same else PEER_URLS_EXIST
            raise ApiError(Status.FAILED_PRECONDITION, text)


def check_may_remove(members: Sequence[MemberInfo], leaving: MemberInfo) -> None:
    """The quorum of those that are alive is for our leader to see."""
    if leaving.role == Role.LEARNER:
        return
    staying = [voter for voter in _voters(members) if voter.node_id != leaving.node_id]
    if sum(map(_is_started, staying)) < len(staying) // 2 + 1:
        raise _not_enough_started()


def check_may_promote(members: Sequence[MemberInfo], learner: MemberInfo) -> None:
    if learner.role != Role.LEARNER:
        raise ApiError(Status.FAILED_PRECONDITION, NOT_LEARNER)
    if not _is_started(learner):
        raise ApiError(Status.FAILED_PRECONDITION, LEARNER_NOT_READY)
    voters = _voters(members)
    if sum(map(_is_started, voters)) + 1 < (len(voters) + 1) // 2 + 1:
        raise _not_enough_started()


def in_etcds_words(error: ApiError, *, is_promotion: bool = False, peer: str = "") -> ApiError:
    """What our leader refused, where etcd has a text for it. `peer`: the address wanted."""
    text = error.message
    if text.startswith(NO_SUCH_MEMBER):
        return ApiError(Status.NOT_FOUND, MEMBER_NOT_FOUND)
    if text.startswith(WOULD_LOSE_QUORUM):
        return ApiError(Status.UNAVAILABLE, UNHEALTHY)
    if peer and text.startswith(f"metastore: {peer} is an address of node"):
        return ApiError(Status.FAILED_PRECONDITION, PEER_URLS_EXIST)
    if is_promotion and error.code == Status.FAILED_PRECONDITION:
        return ApiError(Status.FAILED_PRECONDITION, LEARNER_NOT_READY)
    return error


def _voters(members: Sequence[MemberInfo]) -> Sequence[MemberInfo]:
    """Whoever shall vote, as etcd counts: a new voter is one before it has caught up."""
    return [member for member in members if member.role != Role.LEARNER]


def _is_started(member: MemberInfo) -> bool:
    return member.state != MemberState.AWAITED


def _not_enough_started() -> ApiError:
    # etcd has a better code for it, which its server does not use.
    return ApiError(Status.UNKNOWN, NOT_ENOUGH_STARTED)
