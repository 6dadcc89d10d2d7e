"""What test_etcdctl.py has etcdctl do, part 2: endpoints, members, alarms, snapshots.

Written as part 1 (etcdctl_keys.py). What changes the cluster is undone at the end of its scenario.
"""

CLUSTER = {
    "endpoints": r"""
        @all endpoint health
        @all endpoint health -w json
        @all endpoint health -w table
        endpoint health --cluster
        --endpoints={leader},{nowhere} --command-timeout=1s endpoint health
        @all endpoint status
        @all endpoint status -w json
        @all endpoint status -w fields
        @all endpoint status -w table
        endpoint status --cluster
        @all endpoint hashkv
        @all endpoint hashkv -w json
        @all endpoint hashkv -w fields
        @all endpoint hashkv -w table
        endpoint hashkv --cluster
        endpoint hashkv --rev={r+1000}
        put {p}a 1
        endpoint hashkv --rev={r+1}
        @all defrag
        defrag --cluster
        version
        help lease
        completion bash
        completion
    """,
    "members": r"""
        member list
        member list -w json
        member list -w fields
        member list -w table
        @follower member list -w json
        member add m9 --peer-urls=http://127.0.0.1:19999 --learner => new
        member list
        member list -w json
        member list -w fields
        member add m8 --peer-urls=http://127.0.0.1:19998 --learner
        member add m8 --peer-urls={leader_peer}
        member promote {new}
        member update {new} --peer-urls=http://127.0.0.1:19997
        member remove {new}
        member remove {new}
        member promote {new}
        member update {new} --peer-urls=http://127.0.0.1:19997
        member promote {follower_id}
        member promote x
        member promote
        member remove 123abc
        member remove x
        member remove
        member update {follower_id} --peer-urls={follower_peer}
        member update {follower_id} --peer-urls={leader_peer}
        member update {follower_id} --peer-urls=nonsense
        member update {follower_id}
        member add m9
        member add --peer-urls=http://127.0.0.1:19999
        member add m9 --peer-urls=nonsense
        member add m9 --peer-urls=http://127.0.0.1:19996 -w json => json
        member remove {json} -w json
        member list
    """,
    "leaders": r"""
        @follower move-leader {leader_id}
        @leader move-leader {leader_id}
        @leader move-leader 123abc
        @leader move-leader x
        @leader move-leader
        @leader move-leader {follower_id}
        @follower move-leader {leader_id}
        @all endpoint status
    """,
    "alarms": r"""
        alarm list
        alarm list -w json
        alarm disarm
        alarm disarm -w json
        POST /v3/maintenance/alarm {"action": 1, "memberID": "{leader_id10}", "alarm": 2}
        alarm list
        alarm list -w json
        alarm list -w fields
        @all endpoint status
        @all endpoint health
        alarm disarm
        alarm list
    """,
    "snapshots": r"""
        put {p}a 1
        snapshot save {tmp}/file
        snapshot status {tmp}/file -w fields
        snapshot status {tmp}/file -w json
        snapshot status {tmp}/file
        snapshot restore {tmp}/file --data-dir={tmp}/restored
        snapshot save {tmp}/none/file
        snapshot save
        snapshot status {tmp}/none
        snapshot restore {tmp}/none --data-dir={tmp}/restored2
        @all snapshot save {tmp}/file2
    """,
    "datascale": r"""
        check datascale --load=x
        check perf --load=x
    """,
}

# With a store that is full, on a cluster of its own.
FULL = r"""
    put {p}b 1
    alarm list
    endpoint status
    endpoint health
    txn <<< \nput {p}b 1\n\n\n
    txn <<< ver("{p}b") > "0"\n\nput {p}b 1\n\nget {p}b\n\n
    lease grant 10
    lock {p}l -- true
    get {p}b
    del {p}b
    del {p}fill/ --prefix  # how many there are is not the same
    compaction {r+1} --physical
    defrag
    alarm disarm  # here it goes by itself
    alarm list
    put {p}b 1
    endpoint health
"""
