"""The one port that clients are given, as etcd's: gRPC and HTTP/1.1, with or without TLS.

    limits       how many connections, how long each step may take
    tls          certificates from files, read again when they change
    peers        what is known of a connection, for the gRPC server behind the relay
    first_bytes  a new connection: TLS, then its first bytes say whose it is
    relay        HTTP/2: bytes to and from the gRPC server, as fast as the slower side takes them
    front        the listening sockets and the count of connections

It looks at no byte after the first few.
"""
