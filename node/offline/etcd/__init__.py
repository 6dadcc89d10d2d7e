"""etcd's snapshot files: a bbolt database and its hash, made from a backup and made into one.

Reading order, within the offline tools:

    bolt_pages     where things stand in a bbolt file
    bolt_writer    sorted keys into pages, bottom up; bolt_reader back out, trusting nothing
    messages       the few protobuf messages inside, by hand: no extra is needed for them
    buckets        what etcd keeps in which bucket, and how a revision is written
    auth           users and roles
    snapshot_file  the file itself: the hash at its end, and telling one from a backup of ours
    export         from a backup to an etcd snapshot
    adoption       from an etcd snapshot to a backup

They live with the node's offline tools, since they read and write the state of the engines; the
gateway, which may not, runs `metastore convert` as a process of its own.
"""
