"""The client for asyncio: `async with aio.Client(endpoints) as client: await client.put("k", "v")`.

The names are those of the threaded client, and so are the results and the errors. Start with
client.py; pump.py is the thread behind it.
"""

from metastore.client.aio.client import Client
from metastore.client.aio.election import Election
from metastore.client.aio.lease import Lease
from metastore.client.aio.lock import Lock
from metastore.client.aio.watch import Watch

__all__ = ["Client", "Election", "Lease", "Lock", "Watch"]
