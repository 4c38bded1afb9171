"""A network in memory for the simulated loop: names, listeners, connections, and the faults a fault_script causes.

All hosts live on it. A server on ``127.0.0.1`` is reached as ``127.0.0.1`` or ``localhost``, one on ``venue.example``
by that name, one on ``0.0.0.0`` (or without a host) by any name at all.
"""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Iterable
from random import Random
from typing import Any, Literal

from lab.simulation.link import Address, Link, SimSocket, SimulationUnsupported
from lab.simulation.server import ProtocolFactory, SimServer
from lab.simulation.transport import SimTransport

Refusal = Literal["refused", "unreachable", "dns", "hang"]
"""How connecting fails: a closed port, no route, no such name, or no answer at all."""

CONNECT_TIMEOUT_S = 127.0
"""How long Linux tries to connect (tcp_syn_retries=6: 1+2+4+8+16+32+64 s) before ETIMEDOUT."""

ANY = "0.0.0.0"
LOOPBACK = "127.0.0.1"
FIRST_PORT, LAST_PORT = 49152, 65535  # the dynamic range, RFC 6335
_ATTEMPTS_KEPT = 1000


class SimNetwork:
    """The network of one `SimLoop`, as ``loop.net``. Its public attributes may be changed at any time.

    Every connection draws its delays from its own random numbers, made from the seed and the number of the
    connection, so that what one connection does never shifts another.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.delay: tuple[float, float] = (0.001, 0.08)
        """Seconds a chunk of bytes is under way: drawn evenly from this range. Chunks never overtake each other."""
        self.connect_delay: tuple[float, float] = (0.01, 0.2)
        """Seconds until a connection stands or is refused."""
        self.retransmit: tuple[float, float] = (0.2, 4.0)
        """Seconds after a black hole's end until what it held back arrives, in a burst."""
        self.split = 0.0
        """Probability that a chunk is cut in two at a drawn place; each rest may be cut again."""
        self.merge = 0.0
        """Probability that a chunk is glued to the one before, if that is still under way."""
        self.window = 128 * 1024
        """Bytes the receiver's kernel takes before the sender's buffer fills."""
        self.attempts: list[tuple[float, str, int]] = []
        """Each attempt to connect, of very many the newest thousand: time, host as asked for, port."""
        self._blackhole = False
        self._changed = asyncio.Event()
        self._rules: dict[tuple[str | None, int | None], Refusal] = {}
        self._listeners: dict[Address, SimServer] = {}
        self._names: dict[str, str] = {"localhost": LOOPBACK}
        self._links: dict[int, tuple[SimTransport, SimTransport]] = {}
        self._made = 0
        self._port = LAST_PORT
        self._poll: dict[bool, tuple[socket.socket, socket.socket]] = {}

    # Faults

    @property
    def blackhole(self) -> bool:
        """While true, nothing arrives anywhere and no error comes: connections stay open, connecting takes for ever.

        As with TCP, bytes are not lost: they arrive in a burst (see `retransmit`) when this becomes false again.
        """
        return self._blackhole

    @blackhole.setter
    def blackhole(self, on: bool) -> None:
        self._blackhole = on
        self._wake()
        if not on:
            for ends in self._links.values():
                for end in ends:
                    end.link.heal()

    def refuse(self, host: str | None = None, port: int | None = None, kind: Refusal = "refused") -> None:
        """Let new connections to a host and port fail; ``None`` means any. Open connections are left alone."""
        self._rules[host, port] = kind

    def allow(self, host: str | None = None, port: int | None = None) -> None:
        """Take back `refuse` with the same host and port."""
        self._rules.pop((host, port), None)
        self._wake()

    def heal(self) -> None:
        """Take back every refusal and the black hole."""
        self._rules.clear()
        self.blackhole = False

    def reset_all(self) -> int:
        """Reset every connection, at both ends (their protocols get ConnectionResetError); return how many."""
        links = list(self._links.values())
        for ends in links:
            for end in ends:
                end.reset()
        return len(links)

    @property
    def connections(self) -> int:
        """The number of connections that stand at one end at least."""
        return len(self._links)

    # Names

    def address(self, host: str | None) -> str:
        """Return the address of a host: itself if it is one, else one of 10.0.0.0/8 that stays the same."""
        if not host or host in (ANY, "::"):
            return ANY
        if host not in self._names:
            try:
                address = ipaddress.ip_address(host)
            except ValueError:
                self._names[host] = str(ipaddress.IPv4Address("10.0.0.0") + len(self._names))
            else:
                return LOOPBACK if address.is_loopback else str(address)
        return self._names[host]

    def resolve(self, host: str | None, port: int) -> Address:
        """Return the address to connect to; socket.gaierror where `refuse` says ``dns``."""
        if self._rule(host or LOOPBACK, port) == "dns":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        address = self.address(host)
        return (LOOPBACK if address == ANY else address), port

    def _rule(self, host: str, port: int) -> Refusal | None:
        address = self.address(host)
        for (wanted, wanted_port), kind in self._rules.items():
            if wanted_port in (None, port) and (wanted is None or self.address(wanted) == address):
                return kind
        return None

    # Connections

    def listen(self, factory: ProtocolFactory, hosts: Iterable[str | None], port: int, *, start: bool) -> SimServer:
        """Make a server; port 0 takes the next free one. OSError EADDRINUSE if somebody listens there."""
        names = [(self.address(host), port or self._free_port()) for host in hosts]
        server = SimServer(self, factory, names)
        if start:
            server.start()
        return server

    def bind(self, server: SimServer, name: Address) -> None:
        """Let a server take the connections to an address."""
        if self._listeners.setdefault(name, server) is not server:
            raise OSError(errno.EADDRINUSE, f"error while attempting to bind on address {name!r}: already in use")

    def unbind(self, name: Address) -> None:
        """Refuse connections to an address again."""
        self._listeners.pop(name, None)

    async def connect(
        self, factory: ProtocolFactory, host: str, port: int
    ) -> tuple[SimTransport, asyncio.BaseProtocol]:
        """Connect as ``create_connection`` does. Raises OSError as a socket would, by the kind of `refuse`."""
        self._made += 1
        number = self._made
        random = Random(f"{self.seed}/{number}/connect")
        self.attempts.append((self.loop.time(), host, port))
        if len(self.attempts) > 2 * _ATTEMPTS_KEPT:
            del self.attempts[:-_ATTEMPTS_KEPT]
        name = self.resolve(host, port)
        await asyncio.sleep(random.uniform(*self.connect_delay))
        await self._until_answered(host, port, random)
        kind = self._rule(host, port)
        if kind == "unreachable":
            raise OSError(errno.EHOSTUNREACH, f"Connect call failed {name!r}: no route to host")
        server = self._listeners.get(name) or self._listeners.get((ANY, port))
        if kind == "refused" or server is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {name!r}")
        client = self._link(number, server, name)
        protocol = factory()
        client.open(protocol)
        return client, protocol

    async def _until_answered(self, host: str, port: int, random: Random) -> None:
        waited = False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                while self._blackhole or self._rule(host, port) == "hang":
                    waited = True
                    await self._changed.wait()
                if waited:
                    await asyncio.sleep(random.uniform(*self.retransmit))
        except TimeoutError:
            raise TimeoutError(errno.ETIMEDOUT, f"Connect call failed {(host, port)!r}: timed out") from None

    def _link(self, number: int, server: SimServer, there: Address) -> SimTransport:
        here = (LOOPBACK if there[0] == LOOPBACK else "10.255.255.254", self._free_port())
        up, down = Link(self, f"{self.seed}/{number}/up"), Link(self, f"{self.seed}/{number}/down")
        client = SimTransport(self, number, up, SimSocket(self, here, there))
        accepted = SimTransport(self, number, down, SimSocket(self, there, here), server)
        client.peer, accepted.peer = up.target, down.target = accepted, client
        self._links[number] = client, accepted
        server.attach(accepted)
        return client

    def forget(self, end: SimTransport) -> None:
        """Drop a connection both of whose ends are gone."""
        if end.peer.lost:
            self._links.pop(end.number, None)

    def _free_port(self) -> int:
        taken = {port for _, port in self._listeners}
        while True:
            self._port = self._port + 1 if self._port < LAST_PORT else FIRST_PORT
            if self._port not in taken:
                return self._port

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # Descriptors to poll

    def poll_fd(self, *, readable: bool) -> int:
        """Return a descriptor that is always, or never, readable."""
        if readable not in self._poll:
            self._poll[readable] = pair = socket.socketpair()
            if readable:
                pair[1].send(b"!")
        return self._poll[readable][0].fileno()

    def close(self) -> None:
        """Give back the descriptors."""
        for pair in self._poll.values():
            for sock in pair:
                sock.close()
        self._poll.clear()


def refuse_extras(call: str, **extras: Any) -> None:
    """Raise `SimulationUnsupported` for arguments that ask for TLS or a real socket."""
    for name, value in extras.items():
        if value:
            raise SimulationUnsupported(
                f"{call}({name}=...) in virtual time: the network is in memory and plain. "
                "Use an http:// or ws:// URL, and no socket"
            )
