"""Run whole programs in virtual time, with the network in memory and faults on request.

Example::

    async def session() -> int:
        async with serve(handler, "127.0.0.1", 9000), connect("ws://127.0.0.1:9000") as client:
            await anyio.sleep(600)         # takes no time
            current_net().reset_all()      # every connection gets ConnectionResetError
            ...

    def test_the_session_survives_a_reset() -> None:
        assert simulate(session, seed=7, limit_s=3600) == 42

Not covered: TLS, threads and processes. They raise `SimulationUnsupported`.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import anyio

from lab.simulation.clocks import LoopClock as LoopClock
from lab.simulation.clocks import ScaledLoop as ScaledLoop
from lab.simulation.clocks import loop_factory as loop_factory
from lab.simulation.link import SimulationError as SimulationError
from lab.simulation.link import SimulationUnsupported as SimulationUnsupported
from lab.simulation.loop import FaultScript as FaultScript
from lab.simulation.loop import SimLoop as SimLoop
from lab.simulation.loop import SimulationDeadlock as SimulationDeadlock
from lab.simulation.loop import SimulationLimit as SimulationLimit
from lab.simulation.network import Refusal as Refusal
from lab.simulation.network import SimNetwork as SimNetwork

T = TypeVar("T")
Args = TypeVarTuple("Args")


def simulate(
    main: Callable[[*Args], Awaitable[T]],
    *args: *Args,
    seed: int = 0,
    start: float = 0.0,
    limit_s: float = 7 * 86_400.0,
    fault_script: FaultScript | None = None,
) -> T:
    """Run an async function in virtual time and return its result.

    ``fault_script`` is a coroutine function started beside ``main`` with the network; it is cancelled at the end, and
    what it raises ends the run. Raises what ``main`` raises, `SimulationDeadlock` when nothing can happen any more, and
    `SimulationLimit` after ``limit_s`` virtual seconds.
    """
    options = {"loop_factory": lambda: SimLoop(seed, start, fault_script, limit_s=limit_s)}
    return anyio.run(main, *args, backend="asyncio", backend_options=options)


def current_net() -> SimNetwork:
    """Return the network of the running `SimLoop`. RuntimeError on any other loop."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, SimLoop):
        raise RuntimeError(f"current_net() needs a SimLoop; the running loop is {type(loop).__name__}")
    return loop.net


class Trace:
    """What happened, in order, with its virtual time: two runs are the same if their digests are.

    Note only what a seed decides: no memory addresses, no real dates, no frames as websockets masked them.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, *what: object) -> None:
        """Add a line: the running loop's time, then ``what`` as text."""
        self.lines.append(" ".join(map(str, (asyncio.get_running_loop().time(), *what))))

    def digest(self) -> str:
        """Return the SHA-256 of all lines."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()
