"""Every packet of the loopback that comes from or goes to some ports, as somebody who listens to
the network has them.

By dumpcap (of tshark) where it is installed, else by a packet socket of our own; both need root.
`why_not` says what is missing.
"""

import os
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from node_processes import eventually

INTERFACE = "lo"
_ETHERNET_BYTES = 14
_ALL_PROTOCOLS = 0x0003  # ETH_P_ALL
_SO_RCVBUFFORCE = 33  # for root: more than the system's limit
_RECEIVE_BUFFER_BYTES = 64 << 20
_PACKET_BYTES_MAX = 1 << 17
_PACKETS_PER_TURN = 100_000
_PCAP_HEAD_BYTES, _PCAP_RECORD = 24, struct.Struct("=IIII")


def why_not() -> str:
    """ "" if packets can be captured here."""
    if os.geteuid() != 0:
        return "capturing packets needs root"
    try:
        _open_socket().close()
    except OSError as error:
        return f"packets cannot be captured here: {error}"
    return ""


class Capture:
    """From the constructor until `stop`, or the end of the block."""

    def __init__(self, folder: Path, ports: Sequence[int]) -> None:
        self._is_stopped = False
        self._file = folder / "capture.pcap"
        self._ports = frozenset(ports)
        self._end = socket.create_server(("127.0.0.1", 0))  # see _last_packet
        self._dumpcap: subprocess.Popen[bytes] | None = None
        if shutil.which("dumpcap"):
            self._start_dumpcap()
        else:
            self._packets: list[bytes] = []
            self._socket = _open_socket()
            self._stop_reader, self._stop_writer = os.pipe()
            self._thread = threading.Thread(target=self._read_packets, daemon=True)
            self._thread.start()

    def stop(self) -> dict[int, bytes]:
        """What was sent from or to each port, packet after packet, in both directions."""
        self._is_stopped = True
        if self._dumpcap is not None:
            self._last_packet()
            self._dumpcap.send_signal(signal.SIGINT)
            self._dumpcap.wait(30)
            packets = list(_packets_of(self._file.read_bytes()))
            self._file.unlink()
        else:
            os.write(self._stop_writer, b"\0")
            self._thread.join(30)
            self._socket.close()
            os.close(self._stop_reader)
            os.close(self._stop_writer)
            packets = self._packets
        self._end.close()
        found: dict[int, list[bytes]] = {port: [] for port in self._ports}
        for packet in packets:
            for port in self._ports & set(_ports_of(packet)):
                found[port].append(packet)
        return {port: b"".join(parts) for port, parts in found.items()}

    def __enter__(self) -> "Capture":
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_stopped:
            self.stop()

    def _start_dumpcap(self) -> None:
        watched = sorted({*self._ports, self._end.getsockname()[1]})
        ports = " or ".join(f"port {port}" for port in watched)
        command = ["dumpcap", "-q", "-P", "-i", INTERFACE, "-B", "64", "-w", str(self._file)]
        said = self._file.with_suffix(".txt")
        with said.open("wb") as output:
            self._dumpcap = subprocess.Popen(
                [*command, "-f", f"tcp and ({ports})"], stdout=output, stderr=output
            )
        # It says so once it is at work.
        eventually("dumpcap captures", lambda: b"File:" in said.read_bytes())

    def _last_packet(self) -> None:
        """Told to stop, dumpcap forgets what the kernel holds for it: so it has to have written a
        packet that comes after all others."""
        last = secrets.token_bytes(16)
        with socket.create_connection(self._end.getsockname()) as connection:
            connection.sendall(last)
            eventually("dumpcap has written all", lambda: last in self._file.read_bytes())

    def _read_packets(self) -> None:
        poller = select.poll()
        for descriptor in (self._socket.fileno(), self._stop_reader):
            poller.register(descriptor, select.POLLIN)
        is_stopping = False
        while not is_stopping:
            is_stopping = self._stop_reader in dict(poller.poll())
            for _ in range(_PACKETS_PER_TURN):  # what has arrived before the end is read
                try:
                    packet = self._socket.recv(_PACKET_BYTES_MAX, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                if self._ports & set(_ports_of(packet)):
                    self._packets.append(packet)


def _open_socket() -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    opened.bind((INTERFACE, 0))
    return opened


def _packets_of(pcap: bytes) -> Iterator[bytes]:
    at = _PCAP_HEAD_BYTES
    while at + _PCAP_RECORD.size <= len(pcap):
        _, _, captured_bytes, _ = _PCAP_RECORD.unpack_from(pcap, at)
        at += _PCAP_RECORD.size
        yield pcap[at : at + captured_bytes]
        at += captured_bytes


def _ports_of(packet: bytes) -> tuple[int, ...]:
    """Of a TCP packet over IPv4: from and to."""
    ip = packet[_ETHERNET_BYTES:]
    if len(ip) < 20 or ip[0] >> 4 != 4 or ip[9] != socket.IPPROTO_TCP:
        return ()
    start = (ip[0] & 0x0F) * 4
    return struct.unpack_from(">HH", ip, start) if len(ip) >= start + 4 else ()
