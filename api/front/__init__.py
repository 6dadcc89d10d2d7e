"""The one port that clients are given: first bytes, TLS, and the relay to the gRPC server."""
