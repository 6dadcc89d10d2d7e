"""The services of etcd, each with the object that serves it: what the table of methods is made of.

Above services/, which it joins; both servers get their methods through it.
"""

from collections.abc import Sequence

from metastore.api.access.authenticator import Authenticator
from metastore.api.link import NodeLink
from metastore.api.services.auth import Auth
from metastore.api.services.cluster import Cluster
from metastore.api.services.election import Election
from metastore.api.services.kv import Kv
from metastore.api.services.lease import Lease
from metastore.api.services.lock import Lock
from metastore.api.services.maintenance import Maintenance, Snapshots
from metastore.api.services.watch import Watch


def services_of(
    link: NodeLink, authenticator: Authenticator, snapshots: Snapshots
) -> Sequence[tuple[str, object]]:
    """(full name, object) pairs, for calls.methods."""
    return (
        ("etcdserverpb.KV", Kv(link)),
        ("etcdserverpb.Watch", Watch(link)),
        ("etcdserverpb.Lease", Lease(link)),
        ("etcdserverpb.Cluster", Cluster(link)),
        ("etcdserverpb.Maintenance", Maintenance(link, snapshots)),
        ("etcdserverpb.Auth", Auth(link, authenticator)),
        ("v3lockpb.Lock", Lock(link)),
        ("v3electionpb.Election", Election(link)),
    )
