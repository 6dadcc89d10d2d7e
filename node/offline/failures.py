"""What the offline tools raise, sorted by what it says of the data: nothing, or that it is bad.

Reading order 1 of the offline tools; for the commands, which may import nothing else of the node's.
"""

from metastore.engines.contract import StorageDamaged, StorageFailed
from metastore.engines.rocksdb.driver import EngineMissing
from metastore.node.identity import (
    DataDirectoryForeign,
    DataDirectoryLocked,
    DataDirectoryUnusable,
)

# Nothing was read, so nothing is known of the data.
NOT_READ = (DataDirectoryLocked, DataDirectoryUnusable, EngineMissing)
BAD = (DataDirectoryForeign, StorageDamaged, StorageFailed, OSError)
