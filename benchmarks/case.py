"""One measured run in a process of its own: ``python -m benchmarks.case NAME JSON`` prints one line of JSON."""

import gc
import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import anyio
from lab.session.batch import prepare, run_batch

from benchmarks.build import SMA, assembly
from benchmarks.measure import best_ns, percentile, unit_ns

_NEVER_STOPPED: Final = {"usd": "1000000000"}


def backtest(*, path: str, count: int, strategy: str, journal: bool, quotes: bool = False) -> dict[str, Any]:
    """Run a whole backtest as ``lab backtest`` does, from the columns to the report."""
    tables: dict[str, Any] = {
        "walk": {"path": path, "count": count, "quotes": quotes},
        "max_daily_loss": _NEVER_STOPPED,
    }
    if strategy == "sma":
        tables["sma"] = dict(SMA)
    with tempfile.TemporaryDirectory() as folder:
        run = {"no_write": not journal, "state_dir": Path(folder), "equity": "100000"}
        made = assembly("walk", strategy, run=run, tables=tables)
        before = unit_ns()
        began, cpu = time.perf_counter(), time.process_time()
        report = run_batch(made, wall_ns=time.time_ns, seconds=time.perf_counter).report
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {
        "inputs": count, "seconds": seconds, "cpu_seconds": cpu, "u_ns": min(before, unit_ns()),
        **_outcome(report), "peak_mib": _peak_mib(),
    }  # fmt: skip


def csv(*, path: str) -> dict[str, Any]:
    """Backtest a file of real one-minute candles, reading it included."""
    with tempfile.TemporaryDirectory() as folder:
        tables: dict[str, Any] = {"replay": {"file": path}, "sma": dict(SMA), "max_daily_loss": _NEVER_STOPPED}
        made = assembly("replay", "sma", run={"state_dir": Path(folder), "equity": "100000"}, tables=tables)
        before = unit_ns()
        began, cpu = time.perf_counter(), time.process_time()
        report = run_batch(made, wall_ns=time.time_ns, seconds=time.perf_counter).report
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {
        "inputs": report["candles"],
        "seconds": seconds,
        "cpu_seconds": cpu,
        "u_ns": min(before, unit_ns()),
        **_outcome(report),
        "peak_mib": _peak_mib(),
    }


def _outcome(report: Any) -> dict[str, Any]:
    if report["exit_code"] != 0:
        raise RuntimeError(f"the measured run failed: {report['reason']}: {report['error']}")
    return {key: report[key] for key in ("candles", "quotes", "orders", "trades", "refusals")}


def orders(*, path: str, count: int, repeats: int) -> dict[str, Any]:
    """Return what an order costs from request to booked fill: engine, gates, broker, ledger; no journal.

    The same candles are stepped with and without orders; the difference is theirs.
    """
    candles = 2 * count

    def stepped(wanted: int) -> float:
        tables: dict[str, Any] = {
            "walk": {"path": path, "count": candles},
            "flipper": {"every": 2, "orders": wanted},
            "max_daily_loss": _NEVER_STOPPED,
        }
        run = {"no_write": True, "equity": "1000000"}
        batch = prepare(assembly("walk", "flipper", run=run, tables=tables))
        events = [event for events in batch.batches for event in events]
        batch.engine.begin()
        step = batch.engine.step
        gc.collect()
        gc.freeze()
        began = time.process_time_ns()
        for event in events:
            step(event)
        took_ns = time.process_time_ns() - began
        gc.unfreeze()
        if batch.engine.totals.trades < wanted - 1:
            raise RuntimeError(f"{batch.engine.totals.trades} of {wanted} orders were filled")
        return took_ns

    before = unit_ns()
    with_orders = min(stepped(count) for _ in range(repeats))
    without = min(stepped(0) for _ in range(repeats))
    return {"orders": count, "ns_each": (with_orders - without) / count, "u_ns": min(before, unit_ns())}


def step(*, path: str, count: int, strategy: str) -> dict[str, Any]:
    """Return what one candle costs in the engine alone, and what making it from columns costs."""
    tables: dict[str, Any] = {"walk": {"path": path, "count": count}, "max_daily_loss": _NEVER_STOPPED}
    if strategy == "sma":
        tables["sma"] = {**SMA, "direction": "long", "atr_period": 1, "atr_min_percent": 99}
    best = float("inf")
    for _ in range(5):
        batch = prepare(assembly("walk", strategy, run={"no_write": True}, tables=tables))
        events = [event for events in batch.batches for event in events]
        batch.engine.begin()
        call = batch.engine.step
        gc.collect()
        gc.freeze()
        began = time.process_time_ns()
        for event in events:
            call(event)
        best = min(best, time.process_time_ns() - began)
        gc.unfreeze()
    provider = prepare(assembly("walk", strategy, run={"no_write": True}, tables=tables)).assembly.provider.component
    making = best_ns(lambda: sum(map(len, provider.batches((), seed=0) or ())), 3)
    return {"ns_each": best / count, "making_ns": making / count, "u_ns": unit_ns()}


def live(*, port: int, seconds: float, quotes_wanted: int = 0) -> dict[str, Any]:
    """Run a whole live session of the bitunix provider against the load; the strategy notes each quote's age."""
    from lab.session.interrupts import Interrupts
    from lab.session.live import run_live

    from benchmarks.offers import Stamps

    urls = {"rest_url": f"http://127.0.0.1:{port}", "ws_url": f"ws://127.0.0.1:{port}/public/"}
    clocked = {**SMA, "until_sent": 1 if quotes_wanted else 0}
    with tempfile.TemporaryDirectory() as folder:
        run = {"state_dir": Path(folder), "minutes": seconds / 60, "equity": "100000"}
        made = assembly("bitunix", "clocked", run=run, tables={"bitunix": urls, "clocked": clocked})
        before = unit_ns()
        began, cpu = time.perf_counter(), time.process_time()
        report = run_live(made, wall_ns=time.time_ns, interrupts=Interrupts(), quiet=True).report
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
    if report["exit_code"] not in {0, 3}:
        raise RuntimeError(f"the measured session failed: {report['reason']}: {report['error']}")
    delays = [delay / 1000 for delay in Stamps.delays_ns]
    conflated = int(report["counters"].get("conflated_quotes", 0))
    result = {
        "quotes_decided": len(Stamps.delays_ns), "conflated": conflated, "cpu_seconds": cpu, "seconds": took,
        "u_ns": min(before, unit_ns()), "peak_mib": _peak_mib(),
    }  # fmt: skip
    if quotes_wanted:
        if len(Stamps.delays_ns) + conflated != quotes_wanted:
            raise RuntimeError(
                f"{quotes_wanted} quotes sent, {len(Stamps.delays_ns)} decided on, {conflated} conflated"
            )
        span_ns = Stamps.last_ns - Stamps.first_ns
        return {**result, "messages": quotes_wanted, "per_second": quotes_wanted / span_ns * 1e9}
    settled = delays[len(delays) // 10 :]
    points = {name: percentile(settled, p) for name, p in (("p50_us", 50), ("p99_us", 99), ("max_us", 100))}
    return {**result, **points, "samples": len(settled)}


def bare(*, port: int, decoder: str) -> dict[str, Any]:
    """Receive and decode the same flood, nothing behind it: ``json`` to dicts, or ``typed`` as the provider does."""
    from lab_bitunix.wire import DepthFrame, decode_frame
    from websockets.asyncio.client import connect

    decode: Callable[[bytes], Any] = json.loads if decoder == "json" else decode_frame

    async def main() -> tuple[int, int]:
        count = 0
        async with connect(f"ws://127.0.0.1:{port}/public/", compression=None, ping_interval=None, proxy=None) as ws:
            await ws.send('{"op":"subscribe","args":[{"symbol":"BTCUSDT","ch":"depth_book1"}]}')
            while True:
                frame = await ws.recv(decode=False)
                message = decode(frame)
                if isinstance(message, DepthFrame):
                    size, began_ns = message.data.b[0].size, message.data.a[0].size
                elif isinstance(message, dict) and message.get("ch") == "depth_book1":
                    size, began_ns = (float(message["data"][side][0][1]) for side in "ba")
                else:
                    continue
                count += 1
                if size == 1:
                    return count, time.monotonic_ns() - int(began_ns)

    count, took_ns = anyio.run(main)
    return {"messages": count, "per_second": count / took_ns * 1e9, "u_ns": unit_ns()}


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


CASES: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "backtest": backtest, "csv": csv, "orders": orders, "step": step, "live": live, "bare": bare,
}  # fmt: skip


if __name__ == "__main__":
    if threading.active_count() != 1 or not os.environ.get("PYTHONHASHSEED"):
        raise SystemExit("benchmarks.case is started by python -m benchmarks")
    print(json.dumps(CASES[sys.argv[1]](**json.loads(sys.argv[2]))))
