"""Users and roles: who there is, and what a request in somebody's name may do, as in etcd.

Reading order 7 of the engines, beside leases.py and sessions.py. Part of the state machine: changed
by the log alone, the same on every replica. Proves nobody's identity: whoever writes the AS header
has done that (transport/auth_ops.py).

    tables      the users, the roles, the scalars; as facts
    ranges      the permissions of several roles as one set of keys
    guard       may this request be carried out in this name?
    operations  what the operations on users and roles do and answer
"""
