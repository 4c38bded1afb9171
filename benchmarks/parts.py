"""What a candle, a quote and an order cost in the engine and the journal, in u. CPU time, the best of several runs."""

from pathlib import Path
from typing import Any

from benchmarks.children import case
from benchmarks.suite import Suite
from benchmarks.table import row

_ORDERS_FEW = 400
_ORDERS_MANY = 40_000


def run(suite: Suite) -> None:
    """Measure each part in a process of its own."""
    cut = suite.folder / "parts"
    cut.mkdir()
    candles = _cut(suite, "candles", cut, 50_000)
    ticks = _cut(suite, "ticks", cut, 50_000)
    _candles(suite, candles)
    repeats = 3 if suite.quick else 7
    one = case("quote", path=str(ticks), count=20_000, repeats=repeats)
    note = "SMA strategy, position held, stop and target watched, no journal"
    _add(suite, "quote through the engine", one, 35, note, aim="aim 20")
    _orders(suite, cut)


def _candles(suite: Suite, path: Path) -> None:
    repeats = 3 if suite.quick else 7
    for what, strategy, journal, trades, most, aim, note in (
        ("empty candle", "idle", False, False, 15, "", "a strategy that asks for nothing; no journal"),
        ("SMA candle without an order", "sma", False, False, None, "", "nothing held, no journal"),
        ("SMA candle with journal", "sma", True, True, 70, "aim 45", "the backtest's loop, orders and fills among it"),
    ):  # fmt: skip
        one = case("candle", path=str(path), strategy=strategy, journal=journal, trades=trades, repeats=repeats)
        share = f"; {100 * one['orders'] / 2 / one['candles']:.2f} % of candles trade" if trades else ""
        _add(suite, what, one, most, note + share, aim=aim)


def _orders(suite: Suite, cut: Path) -> None:
    few_rows, many_rows = (_cut(suite, "candles", cut, 2 * count + 2) for count in (_ORDERS_FEW, _ORDERS_MANY))
    few = case("orders", path=str(few_rows), count=_ORDERS_FEW, journal=False, repeats=25)
    many = case("orders", path=str(many_rows), count=_ORDERS_MANY, journal=False, repeats=1 if suite.quick else 3)
    note = "gates, broker, ledger, half of them open and half close; no journal"
    _add(suite, f"order, submit to booked fill, {_ORDERS_FEW:,} in all", few, 300, note)
    note += f"; {many['u'] / few['u']:.2f} of what one of {_ORDERS_FEW:,} costs, which is to be 1"
    _add(suite, f"order, submit to booked fill, {_ORDERS_MANY:,} in all", many, 300, note)
    if suite.quick:
        return
    written = case("orders", path=str(many_rows), count=_ORDERS_MANY, journal=True, repeats=2)
    note = "the same by way of the backtest's loop: its rows hashed and written as well"
    _add(suite, f"order with journal, {_ORDERS_MANY:,} in all", written, None, note)


def _cut(suite: Suite, kind: str, folder: Path, rows: int) -> Path:
    """Return a file of the first ``rows`` rows of the largest file of this kind."""
    whole = max(suite.folder.glob(f"{kind}-*.csv"), key=lambda path: path.stat().st_size)
    path = folder / f"{kind}-{rows}.csv"
    with whole.open(encoding="ascii") as source, path.open("w", encoding="ascii") as file:
        file.writelines(line for _, line in zip(range(rows + 1), source, strict=False))
    return path


def _add(suite: Suite, what: str, one: dict[str, Any], most: float | None, note: str, *, aim: str = "") -> None:
    suite.units.append(one["u_ns"])
    target = "" if most is None else f"≤ {most:g} u{f', {aim}' if aim else ''}"
    figure = f"{one['ns'] / 1000:.2f} µs" if one["ns"] >= 10_000 else f"{one['ns']:.0f} ns"
    met = None if most is None else round(one["u"], 1) <= most
    suite.add(
        what, one, row(what, figure, u=one["u"], target=target, met=met, note=f"{note}; best of {one['repeats']}")
    )
