"""What test_etcdctl.py has etcdctl do, part 1: keys, transactions, watches, leases, locks, lines.

A scenario is a list of commands, one a line; what each prints is compared with a real etcd's. The
leader answers, unless the line begins with `@` and others (`@all` starts with the leader).

    put {p}a 1          {p}: a prefix of its own; {r+2}: a revision, from that at its start
    put {p}a <<< x\\n    what comes on the standard input
    lease grant 9 => l  {l} is the id of what was made
    3| watch {p}        ends (SIGINT) once there are 3 lines
    &1| lock {p}        goes on beside the others once there is 1 line
    end 2|              ends the oldest of those once there are 2 lines
    POST /v3/x {...}    what etcdctl has no command for
    put {p}a 1  # why   only the exit code is compared
"""

KEYS = {
    "puts": r"""
        put {p}a one
        put {p}a two --prev-kv
        put {p}a three --prev-kv -w json
        put {p}a four -w fields --prev-kv
        put {p}a -w json -- -5
        put {p}a five -w protobuf --prev-kv
        put {p}a five -w table
        put {p}b <<< of more than\none line
        get {p}b
        put {p}a --ignore-value -w fields
        put {p}missing --ignore-value
        put {p}a value --ignore-value
        put {p}a value --ignore-lease
        put {p}missing value --ignore-lease
        put {p}a value --lease=123abc
        put {p}a value --lease=xyz
        put "" value
        put {p}a b c
        put
        --hex put {p}a \x00\xff
        --hex get {p}a
        put {p}ünï "wörld"
        get {p}ü --prefix -w json
    """,
    "a large put": r"""
        put {p}a <<< %large
        get {p} --prefix --keys-only
    """,
    "gets": r"""
        put {p}a 3
        put {p}b 1
        put {p}c 2
        put {p}b 5
        get {p}a
        get {p}a -w json
        get {p}b -w fields
        get {p}b -w protobuf
        get {p}b -w table
        get {p}nothing
        get {p}nothing -w json
        get {p}nothing -w fields
        get {p} --prefix
        get {p} --prefix -w fields
        get {p} --prefix --keys-only
        get {p} --prefix --keys-only -w json
        get {p} --prefix --count-only
        get {p} --prefix --count-only -w fields
        get {p} --prefix --count-only -w json
        get {p} --prefix --limit=2 -w json
        get {p} --prefix --print-value-only
        get {p}a {p}c
        get {p}c {p}a
        get {p}b --from-key --limit=1
        get {p}b --rev={r+2} -w json
        get {p} --prefix --rev={r+1}
        get {p} --rev={r+1000}
        get {p}a --consistency=s
        get {p}a --consistency=x
        get {p} --prefix --from-key
        get ""
        get
        get {p}a b c
        @all get {p}b
        @follower get {p}b -w json
    """,
    "gets in order": r"""
        put {p}a 3
        put {p}b 1
        put {p}c 2
        put {p}b 5
        get {p} --prefix --sort-by=KEY --order=DESCEND
        get {p} --prefix --sort-by=VALUE
        get {p} --prefix --sort-by=VALUE --order=DESCEND --limit=1
        get {p} --prefix --sort-by=CREATE --order=DESCEND
        get {p} --prefix --sort-by=MODIFY --order=DESCEND --keys-only
        get {p} --prefix --sort-by=MODIFY --order=ASCEND --keys-only
        get {p} --prefix --sort-by=VERSION --order=DESCEND --limit=1
        get {p} --prefix --sort-by=SIZE
        get {p} --prefix --order=SIDEWAYS
    """,
    "deletes": r"""
        put {p}a 1
        put {p}b 2
        put {p}c 3
        put {p}d 4
        put {p}e 5
        put {p}f 6
        del {p}a
        del {p}a
        del {p}b --prev-kv
        del {p}c -w json --prev-kv
        del {p}d -w fields --prev-kv
        del {p}d -w fields
        del {p}d -w protobuf
        del {p}e {p}f
        del {p} --prefix --prev-kv
        put {p}g 7
        del {p}g -w table
        del {p}z {p}a
        put zzz{p}y 1
        put zzz{p}z 1
        del zzz{p} --from-key
        del ""
        del
        del {p} --prefix --from-key
        get {p} --prefix
    """,
    "transactions": r"""
        put {p}a 1
        txn <<< value("{p}a") = "1"\n\nput {p}a 2\nget {p}a\n\nget {p}a\n\n
        txn <<< value("{p}a") = "1"\n\nput {p}a 3\n\nget {p}a\nput {p}b "with \\"quotes\\""\n\n
        get {p} --prefix
        txn -i <<< mod("{p}a") > "0"\n\ndel {p}b\n\n\n
        txn -w json <<< create("{p}a") > "1"\n\
ver("{p}a") = "2"\n\nget {p}a\ndel {p}x\n\nput {p}c 1\n\n
        txn -w fields <<< ver("{p}a") < "2"\n\nget {p}a\n\n\
put {p}c 1\nget {p} --prefix\ndel {p}z\n\n
        txn -w protobuf <<< \nget {p}a\nput {p}d 1\n\n\n
        txn <<< \nget {p}a --rev={r+1}\n\n\n
        txn <<< \nput {p}e 1\nput {p}e 2\n\n\n
        txn <<< ver("{p}a") < "2"\n\n\nput {p}e 1\ndel {p} --prefix\n\n
        txn <<< \nput {p}e 1 --lease=123abc\n\n\n
        txn <<< \nget {p}a --rev={r+1000}\n\n\n
        txn <<< value({p}a) ~ "1"\n\n\n\n
        txn <<< \nfly {p}a\n\n\n
        txn <<< \n
        txn -w table <<< \nput {p}e 1\n\n\n
        get {p} --prefix
    """,
    "compactions": r"""
        put {p}a 1
        put {p}a 2
        put {p}a 3
        compaction {r+2}
        get {p}a --rev={r+1}
        get {p}a --rev={r+2}
        compaction {r+1}
        compaction {r+2}
        compaction {r+1000}
        compaction {r+3} --physical
        compaction x
        compaction
        1| watch {p}a --rev={r+1}
        watch {p}a --rev={r+1} -w json
        txn <<< \nget {p}a --rev={r+1}\n\n\n
    """,
    "watches": r"""
        put {p}a 1
        put {p}b 2
        put {p}a 3
        del {p}a
        9| watch {p}a --rev={r+1}
        12| watch {p} --prefix --rev={r+1}
        14| watch {p} --prefix --prev-kv --rev={r+1}
        6| watch {p}a {p}b --rev={r+2}
        1| watch {p} --prefix --rev={r+3} -w json
        17| watch {p} --prefix --rev={r+3} -w fields
        12| watch {p}a --rev={r+1} -- sh -c 'echo "$ETCD_WATCH_EVENT_TYPE \
            $ETCD_WATCH_KEY=$ETCD_WATCH_VALUE revision=$ETCD_WATCH_REVISION"'
        9| watch -i <<< watch {p}a --rev={r+1}\ncancel 3\nfly\n
        watch -i <<< nothing\n
        &| watch {p}a --rev={r+5}
        &| watch {p}q --rev={r+6}
        put {p}a 4
        put {p}q 5
        end 3|
        end 3|
        1| watch {p}a --rev={r+5} -w json
        watch
        watch {p} --prefix --rev=x
        ETCDCTL_WATCH_KEY={p}q ETCDCTL_WATCH_RANGE_END={p}z 3| watch --rev={r+1}
    """,
    "leases": r"""
        lease grant 100 => l
        lease grant 1 => short
        lease revoke {short}
        lease grant 200 -w json => j
        lease grant 200 -w fields => f
        lease grant 200 -w table
        lease grant -- -5 => m
        lease grant x
        lease grant
        lease grant 9000000001
        put {p}a 1 --lease={l}
        get {p}a -w fields
        get {p}a -w json
        lease timetolive {l}
        lease timetolive {l} --keys
        lease timetolive {l} --keys -w json
        lease timetolive {l} --keys -w fields
        lease timetolive {l} --keys -w protobuf
        lease timetolive 123abc
        lease timetolive 123abc -w json
        lease timetolive xyz
        lease keep-alive {l} --once
        lease keep-alive {l} --once -w json
        lease keep-alive {l} --once -w fields
        1| lease keep-alive {l}
        lease keep-alive 123abc
        lease keep-alive 123abc --once
        put {p}a 2 --ignore-lease
        put {p}b 1 --lease={l}
        put {p}b 2
        lease timetolive {l} --keys
        lease revoke {l}
        get {p} --prefix
        3| watch {p}a --rev={r+5}
        lease revoke {l}
        lease revoke 123abc
        lease revoke {j} -w json
        lease revoke {f} -w fields
        lease revoke
        lease timetolive {j}
    """,
    "a lease runs out": r"""
        lease grant 2 => l
        put {p}a 1 --lease={l}
        5| watch {p} --prefix --rev={r+1}
        lease timetolive {l}
        lease keep-alive {l}
        get {p}a
    """,
    "locks": r"""
        1| lock {p}l
        lock {p}l -- sh -c 'echo "$ETCD_LOCK_KEY revision=$ETCD_LOCK_REV"'
        lock {p}l -- sh -c 'exit 3'
        lock {p}l --ttl=5 -- etcdctl-none
        &1| lock {p}l --ttl=20
        get {p}l --prefix --keys-only
        &| lock {p}l
        3| watch {p}l/ --prefix --rev={r+10}
        end 1|
        end 1|
        get {p} --prefix
        lock
        lock {p}l -w json -- true
    """,
    "elections": r"""
        &2| elect {p}e first
        2| elect -l {p}e
        get {p}e --prefix --print-value-only
        &| elect {p}e second
        3| watch {p}e --prefix --rev={r+2}
        end 2|
        end 2|
        get {p}e --prefix
        elect {p}e
        elect
        elect -l {p}e proposal
    """,
    "mirrors": r"""
        put {p}from/a 1
        put {p}from/b 2
        &| make-mirror --prefix={p}from/ --dest-prefix={p}to/ {leader}
        6| watch {p}to/ --prefix --rev={r+1}
        put {p}from/c 3
        9| watch {p}to/ --prefix --rev={r+1}
        del {p}from/a
        12| watch {p}to/ --prefix --rev={r+1}
        end
        get {p} --prefix
        make-mirror
        make-mirror --dest-prefix=x --no-dest-prefix {leader}
    """,
}
