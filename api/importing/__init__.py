"""Taking over the keys of a running etcd: what `metastore import` does.

    source   the etcd, read over gRPC: keys as of one revision, leases
    plan     what was read, in files: by revision, in batches
    target   the cluster that it goes into: refused if in use, leases, writes in order
    run      one import from beginning to end, and what there is to tell of it

Needs the extra [etcd] for its client's side of gRPC. Nothing of the gateway is used.
"""
