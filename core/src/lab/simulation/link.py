"""One direction of a connection in memory, its delays and faults, and what stands in for its socket."""

import asyncio
import errno
import socket
from collections import deque
from enum import Enum
from random import Random
from typing import Any, Protocol

Address = tuple[str, int]


class SimulationError(RuntimeError):
    """The simulated loop can't go on; the message says why."""


class SimulationUnsupported(SimulationError, NotImplementedError):
    """What can't exist in virtual time was asked for: TLS, threads, processes, real sockets."""


class End(Enum):
    """What ends a direction: an orderly FIN, or RST."""

    FIN = "fin"
    RST = "rst"


class Receiver(Protocol):
    """The end of a connection that a link leads to."""

    @property
    def lost(self) -> bool: ...
    @property
    def readable(self) -> bool: ...
    def arrived(self, item: bytes | End) -> None: ...


class Network(Protocol):
    """What a link and a socket need of their network; `lab.simulation.network.SimNetwork` is the only one."""

    loop: asyncio.AbstractEventLoop
    delay: tuple[float, float]
    retransmit: tuple[float, float]
    split: float
    merge: float
    window: int

    @property
    def blackhole(self) -> bool: ...
    def poll_fd(self, *, readable: bool) -> int: ...


class Link:
    """One direction of a connection. Its separate random numbers keep its delays independent of other connections."""

    def __init__(self, net: Network, seed: str) -> None:
        self.target: Receiver
        self._net = net
        self._random = Random(seed)
        self._queue: deque[bytes | End] = deque()
        self._due = 0
        self._last = 0.0

    def send(self, item: bytes | End) -> None:
        """Queue an item behind the others, perhaps cut in pieces or glued to the one before."""
        if isinstance(item, End):
            self._put(item)
            return
        glue = self._net.merge and self._random.random() < self._net.merge
        if glue and self._queue and isinstance(before := self._queue[-1], bytes):
            self._queue[-1] = before + item
            return
        while self._net.split and len(item) > 1 and self._random.random() < self._net.split:
            cut = self._random.randrange(1, len(item))
            self._put(item[:cut])
            item = item[cut:]
        self._put(item)

    def heal(self) -> None:
        """Send again what a black hole held back."""
        while self._due < len(self._queue):
            self._schedule(self._net.retransmit)

    def clear(self) -> None:
        """Drop everything under way."""
        self._queue.clear()

    def _put(self, item: bytes | End) -> None:
        self._queue.append(item)
        if not self._net.blackhole:
            self._schedule(self._net.delay)

    def _schedule(self, delay: tuple[float, float]) -> None:
        self._last = max(self._net.loop.time() + self._random.uniform(*delay), self._last)
        self._due += 1
        self._net.loop.call_at(self._last, self._arrive)

    def _arrive(self) -> None:
        self._due -= 1
        if self._queue and not self._net.blackhole:
            self.target.arrived(self._queue.popleft())


class SimSocket:
    """What ``get_extra_info("socket")`` gives: names, ignored options, and a descriptor that only shows readability."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, net: Network, name: Address, peer: Address | None = None) -> None:
        self._net = net
        self._name = name
        self._peer = peer
        self.transport: Receiver | None = None

    def getsockname(self) -> Address:
        """Return the own address."""
        return self._name

    def getpeername(self) -> Address:
        """Return the peer's address; OSError for a listening socket."""
        if self._peer is None:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return self._peer

    def fileno(self) -> int:
        """Return a descriptor that polls readable exactly if there are bytes or an end to read at this moment.

        httpcore asks this way whether the server has closed an idle connection. The descriptor is shared: only poll it.
        """
        if self.transport is None or self.transport.lost:
            return -1
        return self._net.poll_fd(readable=self.transport.readable)

    def setsockopt(self, *_option: Any) -> None:
        """Accept and ignore any option."""

    def getsockopt(self, *_option: Any) -> int:
        """Return 0 for any option."""
        return 0
