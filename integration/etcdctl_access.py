"""What test_etcdctl.py has etcdctl do, part 3: users, roles, and what they may.

Written as part 1 (etcdctl_keys.py). Users are deleted and access is switched off at the end.
"""

ACCESS = {
    "users": r"""
        user list
        user add ann:word
        user add ann:word
        user add ben --new-user-password=word
        user add cat --interactive=false <<< word\n
        user add dan --no-password
        user add eve:word --no-password
        user add :word
        user add
        user list
        user list -w json
        user list -w fields
        user add fox:word -w json
        user delete fox -w json
        user passwd ann --interactive=false <<< other\n
        user passwd dan --interactive=false <<< other\n
        user passwd nobody --interactive=false <<< other\n
        role add reader
        role add reader
        role add ""
        role add writer -w json
        role list
        role list -w json
        user grant-role ann reader
        user grant-role ann reader
        user grant-role ann writer -w json
        user grant-role ann none
        user grant-role nobody reader
        user grant-role ann
        user get ann
        user get ann -w json
        user get ann --detail
        user get nobody
        user get
        user revoke-role ann writer
        user revoke-role ann writer
        user revoke-role nobody writer
        user revoke-role ann none
        role delete reader
        role delete reader
        user get ann
        role delete writer -w json
        user delete ann
        user delete ann
        user delete ben
        user delete cat
        user delete dan
        user delete eve:word
        user list
        role list
    """,
    "roles": r"""
        role add one
        role grant-permission one read {p}a
        role grant-permission one write {p}b {p}c
        role grant-permission one readwrite {p}d/ --prefix
        role grant-permission one read zzz{p} --from-key
        role grant-permission one fly {p}a
        role grant-permission none read {p}a
        role grant-permission one read
        role grant-permission one readwrite {p}a -w json
        role grant-permission one read {p}c {p}b
        role grant-permission one read ""  --prefix
        role get one
        role get one -w json
        role get one -w fields
        role get none
        role get
        role revoke-permission one {p}a
        role revoke-permission one {p}a
        role revoke-permission one {p}b {p}c -w json
        role revoke-permission one {p}d/ --prefix
        role revoke-permission one zzz{p} --from-key
        role revoke-permission none {p}a
        role get one
        role delete one
        role get root
        role add root
        role get root
        role delete root
    """,
    "access": r"""
        auth status
        auth status -w json
        auth enable
        auth disable
        user add ann:word
        user add dan --no-password
        role add reader
        role grant-permission reader read {p}open/ --prefix
        role grant-permission reader readwrite {p}own
        user grant-role ann reader
        --user=ann:word get {p}own
        lease grant 100 => l
        put {p}open/a 1
        put {p}closed 1
        user add root:secret
        auth enable
        auth status
        --user=root:secret auth status
        --user=root:secret auth status -w json
        --user=ann:word auth status
        get {p}own
        --user=ann:wrong get {p}own
        --user=ann --password=word get {p}own
        --user=nobody:word get {p}own
        --user=dan: get {p}own
        --user=dan:word get {p}own
        --user=ann:word get {p}open/ --prefix
        --user=ann:word get {p} --prefix
        --user=ann:word put {p}own 1
        --user=ann:word put {p}open/a 1
        --user=ann:word del {p}own
        --user=ann:word del {p}closed
        --user=ann:word txn <<< \nput {p}own 1\nget {p}open/a\n\n\n
        --user=ann:word txn <<< \nput {p}own 1\nput {p}closed 1\n\n\n
        --user=ann:word txn <<< \nget {p}closed\n\n\n
        --user=ann:word lease grant 50 => k
        --user=ann:word put {p}own 1 --lease={k}
        --user=ann:word lease timetolive {k} --keys
        --user=root:secret put {p}closed 1 --lease={k}
        --user=ann:word lease timetolive {k}
        --user=ann:word lease revoke {k}
        --user=root:secret lease revoke {k}
        --user=root:secret lease revoke {l}
        3| --user=ann:word watch {p}own --rev={r+3}
        --user=ann:word watch {p}closed
        watch {p}own  # etcd 3.5.1 says of nobody that he may not, newer ones who he is not
        --user=ann:word user list
        --user=ann:word user get ann
        --user=ann:word user get root
        --user=ann:word role get reader
        --user=ann:word role get root
        --user=ann:word role list
        --user=ann:word user add x:y
        --user=ann:word auth disable
        auth disable
        user list
        --user=ann:word member list
        member list
        member add x --peer-urls=http://127.0.0.1:19999
        --user=ann:word member add x --peer-urls=http://127.0.0.1:19999
        @all endpoint status
        @all endpoint health
        @all --user=ann:word endpoint health
        @all --user=root:secret endpoint health
        endpoint hashkv
        --user=ann:word endpoint hashkv
        --user=ann:word defrag
        --user=root:secret defrag
        --user=ann:word snapshot save {tmp}/file
        --user=root:secret snapshot save {tmp}/file
        --user=root:secret alarm list
        --user=root:secret user delete root
        --user=root:secret user revoke-role root root
        --user=root:secret user passwd ann --interactive=false <<< changed\n
        --user=ann:word get {p}own
        --user=ann:changed get {p}own
        --user=ann:changed lock {p}l -- true
        --user=ann:changed lock {p}own -- true
        --user=root:secret lock {p}l -- true
        @follower --user=root:secret get {p} --prefix
        --user=root:secret role delete reader
        --user=ann:changed get {p}own
        --user=root:secret user delete ann
        --user=root:secret user delete dan
        --user=root:secret auth disable
        user delete root
        role delete root
        auth status
        get {p} --prefix
    """,
}
