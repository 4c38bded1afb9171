"""What a row of CSV, a candle, a quote and an order cost in themselves: CPU time, the best of several runs, in u too.

The forms take turns: each part is measured in one, then in the other.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.children import case
from benchmarks.forms import COMPILED
from benchmarks.suite import Suite
from benchmarks.table import judged, row

_ORDERS_FEW: Final = 400
_ORDERS_MANY: Final = 40_000
_ROWS_S: Final = 3_000_000
_QUOTES_S: Final = 1_500_000
_ORDER_US: Final = 12.0

Found = Mapping[str, Mapping[str, Any]]


def run(suite: Suite) -> None:
    """Measure each part in a process of its own."""
    cut = suite.folder / "parts"
    cut.mkdir()
    _csv(suite, cut)
    _candles(suite, cut)
    ticks = _cut(suite, "quotes", cut, 50_000)
    found = _each(suite, "quote", path=str(ticks), count=20_000, repeats=3 if suite.quick else 7)
    note = "SMA strategy, position held, stop and target watched, no journal"
    _add(suite, "quote through the engine", found, 35, note, least_s=_QUOTES_S)
    _orders(suite, cut)


def _each(suite: Suite, name: str, **given: Any) -> dict[str, dict[str, Any]]:
    return {form.name: case(form, name, **given) for form in suite.both()}


def _csv(suite: Suite, cut: Path) -> None:
    count = 100_000 if suite.quick else 500_000
    path = _cut(suite, "candles", cut, count)
    found = _each(suite, "rows", path=str(path), count=count, repeats=3 if suite.quick else 5)
    _add(suite, "row of CSV, candles", found, None, "read as columns and checked", least_s=_ROWS_S)


def _candles(suite: Suite, cut: Path) -> None:
    path = _cut(suite, "candles", cut, 50_000)
    repeats = 3 if suite.quick else 7
    for what, strategy, journal, trades, most, note in (
        ("empty candle", "idle", False, False, 15, "a strategy that asks for nothing; no journal"),
        ("SMA candle without an order", "sma", False, False, None, "nothing held, no journal"),
        ("SMA candle with journal", "sma", True, True, 70, "the backtest's loop, orders and fills among it"),
    ):  # fmt: skip
        given = {"strategy": strategy, "journal": journal, "trades": trades}
        found = _each(suite, "candle", path=str(path), repeats=repeats, **given)
        one = found[suite.first.name]
        share = f"; {100 * one['orders'] / 2 / one['candles']:.2f} % of candles trade" if trades else ""
        _add(suite, what, found, most, note + share)


def _orders(suite: Suite, cut: Path) -> None:
    few_rows, many_rows = (_cut(suite, "candles", cut, 2 * count + 2) for count in (_ORDERS_FEW, _ORDERS_MANY))
    many_times = 1 if suite.quick else 3
    few = _each(suite, "orders", path=str(few_rows), count=_ORDERS_FEW, journal=False, repeats=25)
    many = _each(suite, "orders", path=str(many_rows), count=_ORDERS_MANY, journal=False, repeats=many_times)
    note = "gates, broker, ledger, half of them open and half close; no journal"
    _add(suite, f"order, submit to booked fill, {_ORDERS_FEW:,} in all", few, 300, note)
    first = suite.first.name
    note += f"; {many[first]['u'] / few[first]['u']:.2f} of what one of {_ORDERS_FEW:,} costs, which is to be 1"
    _add(suite, f"order, submit to booked fill, {_ORDERS_MANY:,} in all", many, 300, note)
    if suite.quick:
        return
    written = _each(suite, "orders", path=str(many_rows), count=_ORDERS_MANY, journal=True, repeats=2)
    note = "the same by way of the backtest's loop: its rows hashed and written as well"
    _add(suite, f"order with journal, {_ORDERS_MANY:,} in all", written, None, note, most_us=_ORDER_US)


def _cut(suite: Suite, kind: str, folder: Path, rows: int) -> Path:
    """Return a file of the first ``rows`` rows of the largest file of this kind."""
    whole = max(suite.folder.glob(f"{kind}-*.csv"), key=lambda path: path.stat().st_size)
    path = folder / f"{kind}-{rows}.csv"
    with whole.open(encoding="ascii") as source, path.open("w", encoding="ascii") as file:
        file.writelines(line for _, line in zip(range(rows + 1), source, strict=False))
    return path


def _add(
    suite: Suite, what: str, found: Found, most: float | None, note: str, *, least_s: float = 0, most_us: float = 0
) -> None:
    """Show a part. The targets are of the compiled form: ``most`` u, ``least_s`` a second, ``most_us`` microseconds."""
    suite.units += [one["u_ns"] for one in found.values()]
    first = next(iter(found.values()))
    targets = []
    if (one := found.get(COMPILED)) is not None:
        targets += [judged(f"≥ {least_s:,}/s", 1e9 / one["ns"] >= least_s)] if least_s else []
        targets += [judged(f"≤ {most_us:g} µs", one["ns"] <= most_us * 1000)] if most_us else []
        targets += [judged(f"≤ {most:g} u", round(one["u"], 1) <= most)] if most else []
    figures = {name: _figure(one["ns"], bool(least_s)) for name, one in found.items()}
    note = f"{note}; best of {first['repeats']}"
    suite.add(what, found, row(what, figures, u=first["u"], targets=targets, note=note))


def _figure(ns: float, with_rate: bool) -> str:
    shown = f"{ns / 1000:.2f} µs" if ns >= 10_000 else f"{ns:.0f} ns"
    return f"{1e9 / ns:,.0f}/s ({shown})" if with_rate else shown
