"""An asyncio event loop in virtual time.

When nothing is left to do, time jumps to the next timer; connections are made in memory (`lab.simulation.network`).
Unmodified asyncio code runs in it: websockets, httpx, anyio. The same seed gives the same run, in another
process too.

Times and order are reproducible, but not every byte: websockets masks frames with keys from
`secrets`, always of the same length, and stamps its answers with the real date.
"""

import asyncio
import itertools
import math
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from lab.simulation.link import SimulationError, SimulationUnsupported
from lab.simulation.network import SimNetwork, refuse_extras
from lab.simulation.server import ProtocolFactory, SimServer
from lab.simulation.transport import SimTransport

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

FaultScript = Callable[[SimNetwork], Coroutine[Any, Any, None]]
"""What causes faults: a coroutine function started beside the program, with the network to act on."""

FREE_TURNS = 10_000
"""Turns of the loop without waiting that cost no time."""
TURN_S = 1e-5
"""What each further turn costs, so that code that spins until a timer fires ends as it would in real time."""
MOST_TURNS = 2_000_000
"""Turns without waiting after which the run is given up."""
CLEANUP_S = 600.0
"""Virtual seconds that cancelled tasks get to end, after the limit was reached."""


class SimulationDeadlock(SimulationError):
    """No timer is set and nothing can happen any more, or tasks spin without ever waiting. Names the pending tasks."""


class SimulationLimit(SimulationError):
    """The limit of virtual time was reached. Names the pending tasks."""


class SimLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when idle, with a network in memory (``net``).

    ``start`` is the first value of ``time()``; after ``limit_s`` virtual seconds `SimulationLimit` ends the run.
    Signals work as in a real loop. Threads, processes, real sockets and TLS raise `SimulationUnsupported`.
    """

    # Of asyncio.BaseEventLoop, in CPython 3.11 to 3.14.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _thread_id: int | None

    def __init__(
        self, seed: int = 0, start: float = 0.0, fault_script: FaultScript | None = None, *, limit_s: float = math.inf
    ) -> None:
        self._now = start
        self._limit = start + limit_s
        self._turns = 0
        self._fault: BaseException | None = None
        self._abandoned: BaseException | None = None
        self._cancelled_by_scope: dict[asyncio.Handle, int] = {}
        super().__init__(_JumpingSelector(self))
        self._set_now(start)
        self._numbers = itertools.count()
        self.set_task_factory(self._make_task)
        self.net = SimNetwork(self, seed)
        if fault_script is not None:
            self.create_task(fault_script(self.net), name="fault_script").add_done_callback(self._fault_script_ended)

    # Time

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now

    def before_select(self) -> None:
        """Do what comes before each look at the descriptors: raise what went wrong outside of tasks, order wake-ups."""
        if self._fault is not None:
            fault, self._fault = self._fault, None
            self._abandoned = None
            raise fault
        if self._cancelled_by_scope:
            self._order_cancellations()

    def idle(self, timeout: float | None) -> None:
        """Let time pass, as no descriptor is ready: up to the next timer if nothing else waits to run."""
        if timeout is None:
            raise SimulationDeadlock(f"nothing can happen any more at {self._now:.3f} s:{self._describe_pending()}")
        if timeout > 0:
            self._turns = 0
            self._jump(self._scheduled[0].when())
            return
        self._turns += 1
        if self._turns > FREE_TURNS:
            self._set_now(self._now + TURN_S)
        if self._turns > MOST_TURNS:
            self._turns = 0
            raise SimulationDeadlock(f"tasks spin without waiting at {self._now:.3f} s:{self._describe_pending()}")

    def _jump(self, when: float) -> None:
        if when > self._limit:
            self._set_now(self._limit)
            self._limit += CLEANUP_S
            raise SimulationLimit(f"virtual time reached its limit of {self._now:.3f} s:{self._describe_pending()}")
        self._set_now(when)

    def _set_now(self, now: float) -> None:
        self._now = now
        # A timer runs when it is due within the resolution: it must be above what a float can tell at this time.
        self._clock_resolution = max(1e-9, 2 * math.ulp(now))

    def abandon(self, error: BaseException) -> None:
        """End the run with an error at the loop's next turn, whatever its tasks do.

        Python warns of coroutines that never began: a task that has not begun begins first, and what would make
        another one until then raises the error.
        """
        self._abandoned = error
        self.call_soon(setattr, self, "_fault", error)

    def stall(self, seconds: float) -> None:
        """Let time pass in which nothing runs, as when a step is slow or the process is stopped."""
        self._set_now(self._now + seconds)

    # Tasks

    def _make_task(self, _loop: Any, coroutine: Any, **options: Any) -> "SimTask":
        if self._abandoned is not None:
            coroutine.close()
            raise self._abandoned
        return SimTask(coroutine, next(self._numbers), loop=self, **options)

    def cancelled_by_scope(self, order: int, ready_before: int) -> None:
        """Note the wake-ups that cancelling a task queued, with the task's age."""
        for place in range(ready_before, len(self._ready)):
            self._cancelled_by_scope.setdefault(self._ready[place], order)

    def _order_cancellations(self) -> None:
        """Sort wake-ups that anyio queued while it cancelled a scope by age of task.

        anyio walks over sets, whose order is that of memory addresses: the only place where anyio isn't reproducible.
        """
        orders, self._cancelled_by_scope = self._cancelled_by_scope, {}
        ordered: list[asyncio.Handle] = []
        for cancelled, stretch in itertools.groupby(self._ready, orders.__contains__):
            handles = list(stretch)
            ordered += sorted(handles, key=orders.__getitem__) if cancelled else handles
        self._ready.clear()
        self._ready.extend(ordered)

    def _fault_script_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            self._fault = task.exception()

    def _describe_pending(self) -> str:
        tasks = [task for task in asyncio.all_tasks(self) if isinstance(task, SimTask)]
        lines = [f"\n  {task.get_name().rpartition('.')[2]}: {_where(task)}" for task in sorted(tasks, key=hash)]
        return "".join(lines) or " no task is pending"

    # Network

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: ProtocolFactory,
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: Any = None,
        sock: Any = None,
        **_options: Any,
    ) -> tuple[SimTransport, asyncio.BaseProtocol]:
        """Connect in memory. Options that only real sockets have are ignored; TLS raises `SimulationUnsupported`."""
        refuse_extras("create_connection", ssl=ssl, sock=sock)
        if host is None or port is None:
            raise ValueError("host and port was not specified and no sock specified")
        return await self.net.connect(protocol_factory, host, port)

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: ProtocolFactory,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        ssl: Any = None,
        sock: Any = None,
        start_serving: bool = True,
        **_options: Any,
    ) -> SimServer:
        """Listen in memory; port 0 or ``None`` takes a free one."""
        refuse_extras("create_server", ssl=ssl, sock=sock)
        hosts = [host] if host is None or isinstance(host, str) else host
        return self.net.listen(protocol_factory, hosts, port or 0, start=start_serving)

    async def getaddrinfo(  # type: ignore[override]
        self, host: str | bytes | None, port: str | int | None, **_options: Any
    ) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int]]]:
        """Resolve in memory: every name has an address, unless ``net.refuse(host, kind="dns")``."""
        name = host.decode() if isinstance(host, bytes) else host
        address = self.net.resolve(name, int(port or 0))
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """Return address and port as text."""
        return str(sockaddr[0]), str(sockaddr[1])

    # Threads

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        """Call at once, on the loop's thread: another thread would race virtual time."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call in the next turn. From another thread it ends the run with `SimulationUnsupported`."""
        if self._thread_id not in (None, threading.get_ident()):
            name = threading.current_thread().name
            self._fault = SimulationUnsupported(f"thread {name!r} took part in virtual time, which it would race")
        return super().call_soon_threadsafe(callback, *args, context=context)

    def close(self) -> None:
        """Close the loop and its network."""
        super().close()
        self.net.close()


class SimTask(asyncio.Task[Any]):
    """A task that hashes by its age, so that sets of tasks have the same order in every process."""

    def __init__(self, coroutine: Any, order: int, *, loop: SimLoop, **options: Any) -> None:
        self._order = order
        self._sim_loop = loop
        super().__init__(coroutine, loop=loop, **options)

    def __hash__(self) -> int:
        return self._order

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel; see ``SimLoop.cancelled_by_scope``."""
        loop = self._sim_loop
        before = len(loop._ready)  # noqa: SLF001
        done = super().cancel(msg)
        if isinstance(msg, str) and msg.startswith("Cancelled via cancel scope"):
            loop.cancelled_by_scope(self._order, before)
        return done

    def add_done_callback(self, callback: Callable[..., object], *, context: Context | None = None) -> None:
        """Add a callback. A worker thread's own, as `anyio.to_thread` adds it, raises `SimulationUnsupported`."""
        if isinstance(getattr(callback, "__self__", None), threading.Thread):
            callback(self)  # which stops the thread
            raise SimulationUnsupported("anyio.to_thread in virtual time, which a thread would race: call the function")
        super().add_done_callback(callback, context=context)


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits. Still looks at the descriptors each time: signals arrive through one."""

    def __init__(self, loop: SimLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.before_select()
        events = super().select(0)
        if not events:
            self._loop.idle(timeout)
        return events


def _where(task: "asyncio.Task[Any]") -> str:
    """Return where a task stands: its coroutines, from the outermost to the one that waits."""
    places = []
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            name = frame.f_code.co_qualname.rpartition("<locals>.")[2]
            places.append(f"{name} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return " > ".join(places)


def _unsupported(name: str) -> Callable[..., Any]:
    def call(self: SimLoop, *_args: Any, **_options: Any) -> Any:
        raise SimulationUnsupported(f"loop.{name}() in virtual time: only create_connection and create_server work")

    return call


for _name in (
    "add_reader", "add_writer", "connect_accepted_socket", "connect_read_pipe", "connect_write_pipe",
    "create_datagram_endpoint", "create_unix_connection", "create_unix_server", "sendfile", "sock_accept",
    "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall",
    "sock_sendfile", "sock_sendto", "start_tls", "subprocess_exec", "subprocess_shell",
):  # fmt: skip
    setattr(SimLoop, _name, _unsupported(_name))
