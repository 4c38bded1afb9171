"""The venue as a server: REST and the public socket on one loopback port."""

import ipaddress
import logging
import math
import os
from functools import partial
from random import Random
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup, TaskStatus
from attrs import Attribute, define, field
from lab.domain.time import SECOND_NS
from websockets.asyncio.server import Server, serve

from lab_bitunix.venue.connection import VenueSocket, text_frame
from lab_bitunix.venue.counters import Counters
from lab_bitunix.venue.dialogue import Dialogue
from lab_bitunix.venue.faults import Fault, Faults
from lab_bitunix.venue.gateway import Gateway
from lab_bitunix.venue.hub import Hub
from lab_bitunix.venue.world import World

_FOREVER_S: Final = 10.0**9
_LATE_S: Final = 1.0


def _loopback(_: object, attribute: "Attribute[str]", value: str) -> None:
    try:
        good = value == "localhost" or ipaddress.ip_address(value).is_loopback
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{attribute.name} = {value!r}: the local venue listens on loopback only, as 127.0.0.1")


def _quiet_logger() -> logging.Logger:
    """Return a logger that hides what disconnecting clients cause; defects of the venue are still shown."""
    logger = logging.getLogger("lab_bitunix.venue.socket")
    logger.setLevel(logging.ERROR)
    return logger


def reason_of(error: OSError) -> str:
    """Return why the venue can't listen, as the operating system names it."""
    return os.strerror(error.errno) if error.errno else str(error)


@define(kw_only=True, eq=False)
class LocalVenue:
    """Bitunix's public REST and socket protocol, served on loopback from a recording.

    ``recording`` is a name or a CSV file (see `load_path`), or ``seeded``. ``faults`` are described by `Faults`.
    ``start_ns`` is the venue's time when it starts, UTC; without it, the recording's own. From then on the venue's
    clock is the event loop's. With the same arguments, in virtual time, two venues send the same frames.

    Raises `FaultError` and ``ValueError`` for settings, `lab_recordings.RecordingError` for the recording.
    """

    recording: str = "btcusdt-ticks"
    symbol: str = "BTCUSDT"
    faults: str = ""
    seed: int = 0
    port: int = 0
    host: str = field(default="127.0.0.1", validator=_loopback)
    start_ns: int | None = None
    rest_url: str = field(init=False, default="")
    """``http://127.0.0.1:PORT``, once started."""
    ws_url: str = field(init=False, default="")
    """``ws://127.0.0.1:PORT/public/``, once started."""
    counters: Counters = field(init=False, factory=Counters)
    world: World = field(init=False)
    sockets: dict[VenueSocket, None] = field(init=False, factory=dict)
    began_s: float | None = field(init=False, default=None)
    """The loop's time at which the venue's clock shows ``start_ns``: when it starts, unless set before."""
    _began: float = field(init=False, default=0.0)
    _over: anyio.Event = field(init=False)
    _ended: anyio.Event = field(init=False)
    _servers: list[Server] = field(init=False, factory=list)
    _options: dict[str, Any] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        if not self.symbol.isalnum() or self.symbol != self.symbol.upper():
            raise ValueError(f"symbol = {self.symbol!r}: expected upper case, for example BTCUSDT")
        self.world = World.make(self.recording, self.symbol, Faults.parse(self.faults), self.seed, self.start_ns)

    def now_ns(self) -> int:
        """Return the venue's time."""
        return self.world.start_ns + round((anyio.current_time() - self._began) * SECOND_NS)

    def elapsed_s(self) -> float:
        """Return venue seconds since the start."""
        return anyio.current_time() - self._began

    def blackholed(self) -> bool:
        """Say whether bytes vanish at this moment."""
        return self.world.faults.active("blackhole", self.elapsed_s()) is not None

    async def start(self, tasks: TaskGroup) -> None:
        """Listen, and run in the task group until `stop` or its end. Raises ``OSError`` when the port is taken."""
        self._over, self._ended = anyio.Event(), anyio.Event()
        self._began = anyio.current_time() if self.began_s is None else self.began_s
        await tasks.start(self._live)

    async def stop(self) -> None:
        """End every connection at once and stop listening. Harmless when called twice, or before `start`."""
        if self._servers:
            self._over.set()
            await self._ended.wait()

    async def _live(self, *, task_status: TaskStatus[None]) -> None:
        refused: OSError | None = None
        try:
            async with anyio.create_task_group() as tasks:
                hub = Hub(self.world, self.counters, self.now_ns, tasks)
                gateway = Gateway(self.world, self.counters, self.now_ns, self._pause)
                dialogue = Dialogue(hub, Random(f"{self.seed}/storm"))
                self._options = {
                    "handler": dialogue.talk,
                    "process_request": gateway.handle,
                    "process_response": gateway.stamp,
                    "create_connection": partial(VenueSocket, venue=self),
                }
                try:
                    await self._listen(self.port)
                except OSError as error:  # callers handle it by its class, not inside a group
                    refused = error
                    raise
                for fault in self.world.faults:
                    if fault.kind in {"reset", "midframe", "refuse"}:
                        tasks.start_soon(self._strike, fault)
                task_status.started()
                await self._over.wait()
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup:
            if refused is None:
                raise
            raise refused from None
        finally:
            self._over.set()
            with anyio.CancelScope(shield=True):
                await self._close()
            self._ended.set()

    async def _listen(self, port: int) -> None:
        server = await serve(
            host=self.host,
            port=port,
            compression=None,
            ping_interval=None,
            open_timeout=None,
            close_timeout=2,
            logger=_quiet_logger(),
            **self._options,
        )
        self._servers.append(server)
        self.port = server.sockets[0].getsockname()[1]
        self.rest_url = f"http://{self.host}:{self.port}"
        self.ws_url = f"ws://{self.host}:{self.port}/public/"

    async def _close(self) -> None:
        with anyio.move_on_after(0.8):
            for server in self._servers:
                server.close(close_connections=False)
            for socket in list(self.sockets):
                socket.transport.abort()
            for server in self._servers:
                await server.wait_closed()

    async def _pause(self, seconds: float) -> None:
        """Wait until the time is over or the venue stops."""
        if seconds > 0:
            with anyio.move_on_after(min(seconds, _FOREVER_S)):
                await self._over.wait()

    async def _strike(self, fault: Fault) -> None:
        """Do what happens at a time, once or again and again."""
        at_s, now_s = fault.start_s, self.elapsed_s()
        if at_s < now_s - _LATE_S:  # the venue was started again: what was due before is over
            if fault.kind == "refuse":
                at_s = now_s
            elif fault.value is None:
                return
            else:
                at_s += fault.value * math.ceil((now_s - at_s) / fault.value)
        while at_s < fault.end_s:
            await anyio.sleep(max(0.0, at_s - self.elapsed_s()))
            self.counters.faults[fault.kind] += 1
            if fault.kind == "refuse":
                await self._refuse(fault)
                return
            if fault.kind == "midframe":
                half = text_frame(b"x" * 200)[:100]
                for socket in self.sockets:
                    socket.push(half, 0)
                await anyio.sleep(0.02)
            for socket in list(self.sockets):
                socket.cut("reset", reset=True)
            if fault.value is None:
                return
            at_s += fault.value

    async def _refuse(self, fault: Fault) -> None:
        self._servers[-1].close(close_connections=False)
        await anyio.sleep(min(max(0.0, fault.end_s - self.elapsed_s()), _FOREVER_S))
        await self._listen(self.port)
