"""What the receiver of snapshots knows of a transfer, while it arrives and while it is prepared.

Reading order 14, below chunks.py. Values only.
"""

from pathlib import Path
from typing import NamedTuple

from metastore.transport.chunk_frames import Offer
from metastore.transport.incoming import IncomingFile
from metastore.transport.preparation import Preparation


class Active(NamedTuple):
    """The transfer that is going on. Chunks must come from the same connection and header."""

    identity: bytes
    header: bytes
    sender: int
    offer: Offer
    file: IncomingFile


class Preparing(NamedTuple):
    """A whole file on its way from the wire to the store."""

    active: Active
    path: Path
    work: Preparation
