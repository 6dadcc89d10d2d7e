"""The gRPC server of the gateway: bytes of calls in, the services called, bytes and statuses out.

    limits     how large, how many, how long; the options of the library's server
    decoding   bytes to messages, and what etcd says of bytes that are none
    callers    metadata and peer to Caller
    handlers   one call: unary or stream, from its first byte to its status
    health     grpc.health.v1: SERVING while the node has a leader
    reflection what services there are, for tools
    server     all of that on a unix socket; started and stopped

It knows the table of methods (metastore.api.calls), not what they do.
"""
