"""Who a caller is: tokens, passwords, certificates.

    tokens         what Authenticate gives out, and what the secret of the cluster is for
    jwt_tokens     the other kind, signed with the operator's keys; etcd's --auth-token
    passwords      bcrypt, beside the event loop
    known_users    what was last heard of users, and questions that many share
    authenticator  the one that the link and the Auth service ask

What a user may do is decided in the state machine.
"""
