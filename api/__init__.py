"""The etcd v3 API: a gateway that belongs to one node and speaks to it over its sockets.

Reading order, from the wire inwards:

    protocol/  the messages and services of etcd v3, from .proto files of our own
    calls      who calls, what a call may fail with, and the table of methods
    link       the one connection to the node: questions, watches, the header of answers
    access/    who a caller is: tokens, passwords, certificates
    services/  one file per service of etcd: messages in, operations out, messages back
    grpc/      the gRPC server; web/ the JSON gateway, metrics and health: both call the services
    front/     the one port: first bytes, TLS, the relay to the gRPC server
    process    the gateway as a process of its own; settings what it can be told

It reaches a node only through its sockets, with the client library, and holds nothing that must
last: a gateway may be killed at any time.
"""
