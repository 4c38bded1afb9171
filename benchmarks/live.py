"""Latency and throughput of a live session over a real socket from another process."""

from typing import Any, Final

from benchmarks.children import case, server
from benchmarks.measure import median
from benchmarks.suite import Suite
from benchmarks.table import row

RATE: Final = 500


def run(suite: Suite) -> None:
    """Measure latency at an even rate, then how many messages a second are taken in."""
    _latency(suite)
    _flood(suite)


def _latency(suite: Suite) -> None:
    count = RATE * (5 if suite.quick else 12)
    with server("--rate", str(RATE), "--count", str(count)) as port:
        runs = [case("latency", port=port, count=count) for _ in range(1 if suite.quick else 3)]
    middle = sorted(runs, key=lambda one: float(one["p99_us"]))[len(runs) // 2]
    core = 100 * middle["cpu_s"] / middle["seconds"]
    note = (
        f"sent → on_quote, tape and journal on; median run of {len(runs)} by p99; of {count:,} quotes "
        f"{middle['decided']:,} reached the strategy, {middle['conflated']} were replaced by a newer one before; "
        f"the first tenth left out; most {middle['most_us'] / 1000:.1f} ms; the session took {core:.0f} % of a core"
    )
    figure = f"p50 {middle['p50_us'] / 1000:.2f} ms, p99 {middle['p99_us'] / 1000:.2f} ms"
    target, met = "p99 < 10 ms, aim 1 ms", middle["p99_us"] < 10_000
    suite.add("latency", runs, row(f"message to decision, {RATE}/s", figure, target=target, met=met, note=note))


def _flood(suite: Suite) -> None:
    count = 20_000 if suite.quick else 100_000
    raw: dict[str, list[dict[str, Any]]] = {"bare": [], "bare json": [], "bare turns": [], "shipped": [], "turns": []}
    with server("--rate", "0", "--count", str(count)) as port:
        for _ in range(1 if suite.quick else 3):
            for key, runs in raw.items():
                if key.startswith("bare"):
                    decoder = "json" if key == "bare json" else "typed"
                    runs.append(case("bare", port=port, count=count, decoder=decoder, turns=key == "bare turns"))
                else:
                    runs.append(case("flood", port=port, count=count, turns=key == "turns"))
    for key, what in (
        ("bare", "as the provider decodes (msgspec, typed)"),
        ("bare turns", "the same, and a turn of the event loop after each message"),
        ("bare json", "json.loads"),
    ):
        note = f"{count:,} messages received and decoded, nothing else; {_busy(raw[key])}"
        suite.add(key, raw[key], row(f"bare `websockets`, {what}", _rate(raw[key]), note=note))
    how = "the reader goes on while frames wait"
    _pipeline(suite, "live pipeline as shipped, flooded", raw, "shipped", "bare", how, 80)
    how = "the event loop has a turn after each message, in the bare loop too"
    _pipeline(suite, "live pipeline, every message to the strategy", raw, "turns", "bare turns", how, 60)


def _pipeline(
    suite: Suite, what: str, raw: dict[str, list[dict[str, Any]]], key: str, beside: str, how: str, least: int
) -> None:
    """Show a pipeline beside a bare loop, compared by CPU time a message: other processes do not change that much."""
    runs = raw[key]
    shares = {name: 100 * _cpu_us(raw[name]) / _cpu_us(runs) for name in ("bare", "bare turns", "bare json")}
    one = runs[0]
    plain = "" if beside == "bare" else f", {shares['bare']:.0f} % of the one without turns"
    note = (
        f"received, decoded and checked all {one['messages']:,}; to engine and strategy {one['decided']:,}, replaced "
        f"by a newer one before {one['conflated']:,}: {how}; {shares[beside]:.0f} % of the bare loop{plain}, "
        f"{shares['bare json']:.0f} % of the one with json.loads; tape and journal on; {_busy(runs)}"
    )
    u = median(_cpu_us(runs) * 1000 / each["u_ns"] for each in runs)
    suite.add(
        f"pipeline {key}", runs,
        row(what, _rate(runs), u=u, target=f"≥ {least} % of bare", met=shares[beside] >= least, note=note),
    )  # fmt: skip


def _rate(runs: list[dict[str, Any]]) -> str:
    return f"{median(one['per_second'] for one in runs):,.0f} messages/s"


def _cpu_us(runs: list[dict[str, Any]]) -> float:
    return median(one["busy"] / one["per_second"] for one in runs) * 1e6


def _busy(runs: list[dict[str, Any]]) -> str:
    """Say how much of the time the receiver computed: well below 100 % it waited, for the load or for a processor."""
    return f"{_cpu_us(runs):.1f} µs CPU each, busy {100 * median(one['busy'] for one in runs):.0f} % of the time"
