"""The message classes of etcd v3, by package: `rpc.RangeRequest(key=b"k")`.

Messages of the public wire only; nothing of the node is known here.
"""

from importlib import resources
from types import SimpleNamespace
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DESCRIPTORS = "etcd.binpb"

pool = descriptor_pool.DescriptorPool()


def _load() -> dict[str, SimpleNamespace]:
    data = resources.files(__package__).joinpath(DESCRIPTORS).read_bytes()
    packages: dict[str, SimpleNamespace] = {}
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
        names = packages.setdefault(file.package, SimpleNamespace())
        for message in file.message_type:
            found = pool.FindMessageTypeByName(f"{file.package}.{message.name}")
            setattr(names, message.name, message_factory.GetMessageClass(found))
        for enum in file.enum_type:
            for value in enum.value:
                setattr(names, f"{enum.name}_{value.name}", value.number)
    return packages


_packages = _load()
# Typed as Any: the classes exist at run time only.
mvcc: Any = _packages["mvccpb"]
auth: Any = _packages["authpb"]
rpc: Any = _packages["etcdserverpb"]
lock: Any = _packages["v3lockpb"]
election: Any = _packages["v3electionpb"]

SERVICES = (
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
)
