"""How much RocksDB may take of the machine: the numbers that both drivers set, beside the
two that the caller chooses (driver.open_driver).

Reading order 13 of the engines. For small keys and values, read by key and in short ranges, beside
a node that needs the processor and the memory for itself.
"""

WRITE_BUFFERS_MAX = 4  # times one family's: what all families together may have in memory
BLOOM_BITS_PER_KEY = 10  # one in a hundred look-ups of a key that is not there reads a block
BLOCK_BYTES = 8 << 10
OPEN_FILES_MAX = 256
BACKGROUND_JOBS_MAX = 2
INFO_LOG_BYTES_MAX = 1 << 20
INFO_LOGS_KEPT = 2
BYTES_PER_SYNC = 1 << 20  # a file's writes do not pile up before its sync
