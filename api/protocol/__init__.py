"""The wire of etcd v3: *.proto is what it says, etcd.binpb the same as protoc leaves it.

After a change run `python3 scripts/compile_protocol.py`; a test holds the two together. The
messages are made at run time in a pool of their own (messages.py): generated modules would claim
the same names in the one pool of a process that also uses an etcd client.
"""
