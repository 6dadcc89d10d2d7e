"""Who calls: from a call's metadata, and from the connection that the front gave a name."""

from typing import Any

from metastore.api.calls import Caller
from metastore.api.front.peers import NOBODY, Peers

TOKEN = "token"
TOKEN_OF_HTTP = "authorization"  # some clients send this one instead
HAS_LEADER = "hasleader"


def caller_of(context: Any, peers: Peers | None) -> Caller:
    """`context`: grpc.aio's of a call. What else clients send (`client-api-version`) is accepted
    and not looked at."""
    token = other_token = None
    requires_leader = False
    for name, value in context.invocation_metadata() or ():
        if name == TOKEN and token is None:
            token = value
        elif name == TOKEN_OF_HTTP and other_token is None:
            other_token = value
        elif name == HAS_LEADER:
            requires_leader = value == "true"
    peer = NOBODY if peers is None else peers.find(context.peer())
    return Caller(
        token=(token or "") if other_token is None or token is not None else other_token,
        certificate_name=peer.certificate_name,
        requires_leader=requires_leader,
        address=peer.address,
    )
