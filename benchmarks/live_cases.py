"""Live sessions against the load, one process a case: shipped session, shipped provider, a real socket."""

import asyncio
import json
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

import anyio
import lab_bitunix.sockets
import websockets.asyncio.client
from lab.live.launch import run_live
from lab.live.signals import Interrupts
from lab_bitunix.frames import FrameConnection, Pinged, Take
from lab_bitunix.wire import DepthFrame, decode_frame

from benchmarks.build import assembly
from benchmarks.measure import percentile, unit_ns
from benchmarks.offers import Stamps


def latency(*, port: int, count: int) -> dict[str, Any]:
    """Return how long quotes took from the send in the other process to the strategy, the first tenth left out."""
    result = _session(port, count)
    settled = [delay_ns / 1000 for delay_ns in Stamps.delays_ns[len(Stamps.delays_ns) // 10 :]]
    points = {name: percentile(settled, percent) for name, percent in (("p50", 50), ("p99", 99), ("most", 100))}
    return {**result, **{f"{name}_us": value for name, value in points.items()}, "samples": len(settled)}


def flood(*, port: int, count: int, turns: bool) -> dict[str, Any]:
    """Return how many messages a second a session takes in.

    As shipped, the reader goes on while frames wait, so that a newer quote replaces the one before. With ``turns`` the
    event loop has a turn after each message: every quote then goes through the engine and to the strategy.
    """
    if turns:
        setattr(lab_bitunix.sockets, "FrameConnection", _FrameTurns)  # noqa: B010 - it is not exported
    result = _session(port, count)
    if turns and result["decided"] < 0.99 * count:
        raise RuntimeError(f"only {result['decided']} of {count} quotes reached the strategy")
    (began_ns, cpu_began_ns), (ended_ns, cpu_ended_ns) = Stamps.first, Stamps.last
    busy = (cpu_ended_ns - cpu_began_ns) / (ended_ns - began_ns)
    return {**result, "per_second": count / (ended_ns - Stamps.sent_ns) * 1e9, "busy": busy}


class _Turns(websockets.asyncio.client.ClientConnection):
    """A connection whose receiver lets everybody else go on after each message."""

    async def recv(self, decode: bool | None = None) -> Any:
        message = await super().recv(decode)
        await asyncio.sleep(0)
        return message


class _FrameTurns(FrameConnection):
    """The provider's connection; everybody else goes on after each message, and reading waits until all are taken."""

    async def hand_to(self, take: Take, pinged: Pinged | None = None) -> None:
        waiting: deque[tuple[bytes, float]] = deque()

        def keep(message: bytes, now: float) -> None:
            waiting.append((message, now))
            if len(waiting) == 1:
                self.transport.pause_reading()
                self.loop.call_soon(give)

        def give() -> None:
            take(*waiting.popleft())
            if waiting:
                self.loop.call_soon(give)
            else:
                self.transport.resume_reading()

        await super().hand_to(keep, pinged)


def _session(port: int, count: int) -> dict[str, Any]:
    """Run a session until its last quote. Raises ``RuntimeError`` unless every quote sent is accounted for."""
    tables = {
        "bitunix": {"rest_url": f"http://127.0.0.1:{port}", "ws_url": f"ws://127.0.0.1:{port}/public/", "depth": "0"},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        tables["run"] = {"state_dir": folder, "minutes": "1"}
        made = assembly("bitunix", "clocked", tables)
        before = unit_ns()
        began, cpu = time.perf_counter(), time.process_time()
        report = run_live(made, wall_ns=time.time_ns, interrupts=Interrupts(), quiet=True).report
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
        tape = sum(path.stat().st_size for path in Path(folder).glob("runs/*/tape-*"))
    counters = report.counters
    decided, conflated = len(Stamps.delays_ns), counters.conflated_quotes
    if report.reason != "stopped" or counters.malformed or not tape:
        raise RuntimeError(f"the session failed: {report.reason}: {report.error}, {counters}, tape of {tape} bytes")
    if decided + conflated != count or not decided <= report.quotes <= decided + 1:
        raise RuntimeError(f"{count} sent, {decided} decided on, {conflated} conflated, {report.quotes} in the engine")
    return {
        "messages": count, "decided": decided, "conflated": conflated, "cpu_s": cpu_s, "seconds": seconds,
        "u_ns": min(before, unit_ns()),
    }  # fmt: skip


def bare(*, port: int, count: int, decoder: str, turns: bool) -> dict[str, Any]:
    """Receive and decode the same flood, nothing behind it: ``json`` to dicts, or ``typed`` as the provider does."""
    kind = _Turns if turns else None
    decode: Any = json.loads if decoder == "json" else decode_frame

    async def main() -> tuple[int, int, float]:
        received, began, cpu = 0, 0.0, 0.0
        connect = websockets.asyncio.client.connect
        url = f"ws://127.0.0.1:{port}/public/"
        options: dict[str, Any] = {"compression": None, "ping_interval": None, "max_size": 256 * 1024, "proxy": None}
        async with connect(url, create_connection=kind, **options) as socket:
            await socket.send('{"op":"subscribe","args":[{"symbol":"BTCUSDT","ch":"depth_book1"}]}')
            while True:
                message = decode(await socket.recv(decode=False))
                if isinstance(message, DepthFrame):
                    sent, left = message.data.b[0].size, message.data.a[0].size
                elif isinstance(message, dict) and message.get("ch") == "depth_book1":
                    sent, left = (float(message["data"][side][0][1]) for side in "ba")
                else:
                    continue
                received += 1
                if received == 1:
                    began, cpu = time.perf_counter(), time.process_time()
                if not left:
                    now_ns = time.monotonic_ns()
                    busy = (time.process_time() - cpu) / (time.perf_counter() - began)
                    return received, now_ns - int(sent), busy

    received, took_ns, busy = anyio.run(main)
    if received != count:
        raise RuntimeError(f"{received} of {count} messages received")
    return {"messages": received, "per_second": received / took_ns * 1e9, "busy": busy, "u_ns": unit_ns()}
