"""What the gateway says it is: whose API it speaks. Clients choose by these numbers.

Values only.
"""

ETCD_VERSION = "3.5.21"  # of the API that is served: "etcdserver" of /version, Status.version
CLUSTER_VERSION = "3.5.0"  # "etcdcluster": what all members can do
STORAGE_VERSION = "3.5.0"
