"""A listening server in memory."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from lab.simulation.link import Address, Network, SimSocket
from lab.simulation.transport import SimTransport

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class ListeningNetwork(Network, Protocol):
    """A network that servers listen on."""

    def bind(self, server: "SimServer", name: Address) -> None: ...
    def unbind(self, name: Address) -> None: ...


class SimServer(asyncio.AbstractServer):
    """What ``create_server`` gives. As since Python 3.12, ``wait_closed`` also waits for the accepted connections."""

    def __init__(self, net: ListeningNetwork, factory: ProtocolFactory, names: Sequence[Address]) -> None:
        self._net = net
        self._factory = factory
        self._names = names
        self._serving = self._closed = False
        self._accepted: dict[int, SimTransport] = {}
        self._idle = asyncio.Event()

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets; none after `close`."""
        return () if self._closed else tuple(SimSocket(self._net, name) for name in self._names)

    def start(self) -> None:
        """Begin to accept."""
        for name in () if self._serving else self._names:
            self._net.bind(self, name)
        self._serving = True

    def attach(self, transport: SimTransport) -> None:
        """Accept a connection, in the loop's next turn."""
        self._accepted[transport.number] = transport
        self._net.loop.call_soon(self._accept, transport)

    def _accept(self, transport: SimTransport) -> None:
        try:
            transport.open(self._factory())
        except Exception:
            transport.reset()
            raise

    def detach(self, transport: SimTransport) -> None:
        """Learn that an accepted connection is gone."""
        del self._accepted[transport.number]
        self._check_idle()

    def _check_idle(self) -> None:
        if self._closed and not self._accepted:
            self._idle.set()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._net.loop

    def is_serving(self) -> bool:
        return self._serving

    async def start_serving(self) -> None:
        if self._closed:
            raise RuntimeError(f"server {self!r} is closed")
        self.start()
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        await self.start_serving()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.close()

    def close(self) -> None:
        for name in self._names if self._serving else ():
            self._net.unbind(name)
        self._serving, self._closed = False, True
        self._check_idle()

    def close_clients(self) -> None:
        """Close every accepted connection."""
        for transport in list(self._accepted.values()):
            transport.close()

    def abort_clients(self) -> None:
        """Abort every accepted connection."""
        for transport in list(self._accepted.values()):
            transport.abort()

    async def wait_closed(self) -> None:
        await self._idle.wait()
