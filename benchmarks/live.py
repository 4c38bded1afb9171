"""Latency and throughput of a live session over a real socket from another process."""

from typing import Any, Final

from benchmarks.children import case, server
from benchmarks.measure import median
from benchmarks.suite import Suite
from benchmarks.table import alone, judged, row

RATE: Final = 500
_P99_MS: Final = 0.5
_SHARES: Final = {"shipped": 80, "turns": 60}
_BARE: Final = {
    "bare": ("typed", False, "as the provider decodes (msgspec, typed)"),
    "bare turns": ("typed", True, "the same, and a turn of the event loop after each message"),
    "bare json": ("json", False, "json.loads"),
}


def run(suite: Suite) -> None:
    """Measure latency at an even rate, then how many messages a second are taken in."""
    _latency(suite)
    _flood(suite)


def _latency(suite: Suite) -> None:
    count = RATE * (5 if suite.quick else 12)
    runs: dict[str, list[dict[str, Any]]] = {form.name: [] for form in suite.both()}
    with server("--rate", str(RATE), "--count", str(count)) as port:
        for number in range(1 if suite.quick else 3):
            for form in suite.both() if not number else [suite.first]:  # plain once: a run takes as long as it takes
                runs[form.name].append(case(form, "latency", port=port, count=count))
    middle = {
        name: sorted(each, key=lambda one: float(one["p99_us"]))[len(each) // 2] for name, each in runs.items()
    }  # fmt: skip
    one = middle[suite.first.name]
    core = 100 * one["cpu_s"] / one["seconds"]
    note = (
        f"sent → on_quote, tape and journal on; median run of {len(runs[suite.first.name])} by p99; of {count:,} "
        f"quotes {one['decided']:,} reached the strategy, {one['conflated']} were replaced by a newer one before; "
        f"the first tenth left out; most {one['most_us'] / 1000:.1f} ms; the session took {core:.0f} % of a core"
    )
    figures = {
        name: f"p99 {each['p99_us'] / 1000:.2f} ms, p50 {each['p50_us'] / 1000:.2f} ms" for name, each in middle.items()
    }  # fmt: skip
    targets = [judged(f"p99 ≤ {_P99_MS} ms", one["p99_us"] <= _P99_MS * 1000)]
    suite.add("latency", runs, row(f"message to decision, {RATE}/s", figures, targets=targets, note=note))


def _flood(suite: Suite) -> None:
    """Flood the bare loops and the sessions of each form, in turn."""
    count = 20_000 if suite.quick else 100_000
    raw: dict[str, list[dict[str, Any]]] = {key: [] for key in _BARE}
    with server("--rate", "0", "--count", str(count)) as port:
        for _ in range(1 if suite.quick else 3):
            for key, (decoder, turns, _) in _BARE.items():
                raw[key].append(case(suite.first, "bare", port=port, count=count, decoder=decoder, turns=turns))
            for form in suite.both():
                for key, turns in (("shipped", False), ("turns", True)):
                    runs = raw.setdefault(f"{key} {form.name}", [])
                    runs.append(case(form, "flood", port=port, count=count, turns=turns))
    for key, (_, _, what) in _BARE.items():
        note = f"{count:,} messages received and decoded, nothing else; {_busy(raw[key])}"
        suite.add(key, raw[key], row(f"bare `websockets`, {what}", alone(_rate(raw[key])), note=note))
    how = "the reader goes on while frames wait"
    _pipeline(suite, "live pipeline as shipped, flooded", raw, "shipped", "bare", how)
    how = "the event loop has a turn after each message, in the bare loop too"
    _pipeline(suite, "live pipeline, every message to the strategy", raw, "turns", "bare turns", how)


def _pipeline(suite: Suite, what: str, raw: dict[str, list[dict[str, Any]]], key: str, beside: str, how: str) -> None:
    """Show a pipeline beside a bare loop, compared by CPU time a message: other processes do not change that much."""
    of_form = {form.name: raw[f"{key} {form.name}"] for form in suite.both()}
    runs = of_form[suite.first.name]
    shares = {name: 100 * _cpu_us(raw[name]) / _cpu_us(runs) for name in _BARE}
    one = runs[0]
    other = "" if beside == "bare" else f"{shares['bare']:.0f} % of the bare loop without turns, "
    note = (
        f"received, decoded and checked all {one['messages']:,}; to engine and strategy {one['decided']:,}, replaced "
        f"by a newer one before {one['conflated']:,}: {how}; {other}{shares['bare json']:.0f} % of the one with "
        f"json.loads; tape and journal on; {_busy(runs)}"
    )
    figures = {
        name: f"{100 * _cpu_us(raw[beside]) / _cpu_us(each):.0f} % of bare: {_rate(each)}"
        for name, each in of_form.items()
    }
    u = median(_cpu_us(runs) * 1000 / each["u_ns"] for each in runs)
    targets = [judged(f"≥ {_SHARES[key]} % of bare", shares[beside] >= _SHARES[key])]
    suite.add(f"pipeline {key}", of_form, row(what, figures, u=u, targets=targets, note=note))


def _rate(runs: list[dict[str, Any]]) -> str:
    return f"{median(one['per_second'] for one in runs):,.0f} messages/s"


def _cpu_us(runs: list[dict[str, Any]]) -> float:
    return median(one["busy"] / one["per_second"] for one in runs) * 1e6


def _busy(runs: list[dict[str, Any]]) -> str:
    """Say how much of the time the receiver computed: well below 100 % it waited, for the load or for a processor."""
    return f"{_cpu_us(runs):.1f} µs CPU each, busy {100 * median(one['busy'] for one in runs):.0f} % of the time"
