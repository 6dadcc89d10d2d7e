"""etcd's snapshots over the API: a backup of the gateway's node, converted, in pieces.

    snapshot_files  the messages of one Maintenance.Snapshot
    conversion      from a backup to etcd's file, in a process of its own

What an etcd snapshot is made of is known to node/offline/etcd, beside the state that it is made of;
here is only how it gets from the node to a client (docs/decisions/0017).
"""
