"""Loops by speed, real sockets in scaled time, and the session's clock on each kind of loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import anyio
import httpx
import pytest
from lab.simulation.clocks import LoopClock, ScaledLoop, Speed, loop_factory
from lab.simulation.loop import SimLoop
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

if TYPE_CHECKING:
    from lab.ports import Clock

T = TypeVar("T")
START_NS = 1_700_000_000_123_456_789


def run(speed: Speed, main: Callable[[], Awaitable[T]]) -> T:
    return anyio.run(main, backend="asyncio", backend_options={"loop_factory": loop_factory(speed, seed=3)})


def test_at_speed_50_five_seconds_take_a_tenth() -> None:
    async def main() -> float:
        began = anyio.current_time()
        await anyio.sleep(5)
        return anyio.current_time() - began

    began = time.monotonic()
    slept = run(50, main)
    assert 0.1 <= time.monotonic() - began < 2.5  # never early; how late depends on the machine's load
    assert slept >= 5


def test_a_speed_below_one_slows_down() -> None:
    async def main() -> None:
        await anyio.sleep(0.05)

    began = time.monotonic()
    run(0.5, main)
    assert time.monotonic() - began >= 0.1


def test_timeouts_are_scaled_too() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError), anyio.fail_after(10):
            await anyio.sleep_forever()

    began = time.monotonic()
    run(100, main)
    assert 0.1 <= time.monotonic() - began < 5


def test_websockets_and_httpx_work_over_real_sockets_in_scaled_time() -> None:
    async def answer(connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Upgrade") == "websocket":
            return None
        return Response(200, "OK", Headers({"Content-Length": "2", "Connection": "close"}), b"ok")

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0, process_request=answer, ping_interval=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}", ping_interval=None, open_timeout=100) as client:
                for number in range(5):
                    await client.send(str(number))
                    assert await client.recv() == str(number)
                    await anyio.sleep(1)
            async with httpx.AsyncClient(trust_env=False, timeout=100) as http:
                assert (await http.get(f"http://127.0.0.1:{port}/")).text == "ok"

    run(50, main)


def test_each_speed_has_its_loop() -> None:
    assert loop_factory(1, seed=0) is None
    assert loop_factory(1.0, seed=0) is None
    for speed, kind in ((2.5, ScaledLoop), ("max", SimLoop)):
        factory = loop_factory(speed, seed=0)  # type: ignore[arg-type]
        assert factory is not None
        loop = factory()
        assert isinstance(loop, kind)
        loop.close()


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan"), True, "fast"])
def test_a_speed_that_makes_no_sense_is_refused_with_what_is_expected(speed: Speed) -> None:
    with pytest.raises(ValueError, match=r"speed = .*: expected a finite number above 0, or 'max'"):
        loop_factory(speed, seed=0)


def test_the_seed_reaches_the_simulated_network() -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        return loop.net.seed

    assert run("max", main) == 3


def test_the_clock_follows_virtual_time_to_the_nanosecond() -> None:
    async def main() -> None:
        await anyio.sleep(100)
        clock: Clock = LoopClock(START_NS)
        began = clock.monotonic()
        assert clock.wall_ns() == START_NS
        await anyio.sleep(600.25)
        assert clock.monotonic() - began == 600.25
        assert clock.wall_ns() == START_NS + 600_250_000_000

    run("max", main)


def test_the_clock_follows_scaled_time() -> None:
    async def main() -> tuple[int, float]:
        clock = LoopClock(START_NS)
        began = clock.monotonic()
        await anyio.sleep(5)
        return clock.wall_ns() - START_NS, clock.monotonic() - began

    elapsed_ns, elapsed_s = run(50, main)
    assert elapsed_ns >= 5_000_000_000
    assert 0 <= elapsed_s - elapsed_ns / 1e9 < 5


def test_the_clock_shows_the_machine_s_wall_clock_in_real_time_only() -> None:
    async def main() -> int:
        return LoopClock().wall_ns()

    before = time.time_ns()
    assert before <= run(1, main) <= time.time_ns()
    with pytest.raises(ValueError, match="start_wall_ns in virtual time"):
        run("max", main)
