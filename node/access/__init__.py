"""Whom a node lets in, what they may do, and how much of it at once.

    gate (on the loop, once per frame)
      |              \\
    file  ------->  permissions
    (read again when it changes)

`permissions` is pure: who may send which frame. `file` knows the keys of the nodes and the clients,
by their public halves only. `gate` asks both, keeps the limits of connections, and counts and logs
what it refuses. Nothing here sends anything or touches a socket.
"""
