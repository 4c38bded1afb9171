"""What the parts cost, one process a case: shipped engine, strategy, gates, broker, ledger, journal, from memory."""

import gc
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from lab.backtesting.runner import Batch, feed, prepare
from lab.domain.inputs import Input
from lab.domain.market import Quote
from lab.exit_codes import EndReason
from lab.journal.store import Journal
from lab_recordings import check_candles

from benchmarks.build import assembly
from benchmarks.measure import in_units

_BATCH: Final = 4096
_MINUTE_NS: Final = 60_000_000_000
_QUIET: Final = {"direction": "long", "atr_period": 1, "atr_min_percent": "99"}  # crossings are seen, none is traded
_FAR: Final = {"stop_percent": "90", "target_percent": "1000"}
_GUARDS: Final = 2  # a stop and a target


def rows(*, path: str, count: int, repeats: int) -> dict[str, Any]:
    """Return what a row of a CSV file of candles costs, read as columns and checked, nothing made of it."""

    def work() -> float:
        began = time.process_time_ns()
        read = check_candles(Path(path), _MINUTE_NS)
        took_ns = time.process_time_ns() - began
        if read != count:
            raise RuntimeError(f"{read} of {count} rows")
        return took_ns

    return {**_each(in_units(work, repeats), count), "rows": count, "repeats": repeats}


def candle(*, path: str, strategy: str, journal: bool, trades: bool, repeats: int) -> dict[str, Any]:
    """Return what a candle costs: in the engine alone, or by way of the backtest's loop into a journal in a file."""
    tables: dict[str, Any] = {"sma": _QUIET} if strategy == "sma" and not trades else {}
    events = _events(_batch(path, strategy, tables))
    count, last = len(events), [_batch(path, strategy, tables)]

    def work() -> float:
        batch = last[0] = _batch(path, strategy, tables)
        return _journalled(batch, events) if journal else _stepped(batch, events)

    found = _each(in_units(work, repeats), count)
    totals = last[0].engine.counters
    if totals.candles != count or bool(totals.orders) is not trades or (strategy == "sma" and not totals.decisions):
        raise RuntimeError(f"{totals.candles} of {count} candles, {totals.orders} orders: not the run that was meant")
    return {**found, "candles": count, "orders": totals.orders, "repeats": repeats}


def quote(*, path: str, count: int, repeats: int) -> dict[str, Any]:
    """Return what a quote costs while a position is held and its stop and target are watched; no candle among them."""
    tables = {"sma": _FAR}
    every = _events(_batch(path, "sma", tables))

    def work() -> float:
        batch = _batch(path, "sma", tables)
        engine = batch.engine
        engine.begin()
        number = 0
        ledger = engine.strategies[0].book.ledger
        while not (number > _BATCH and ledger.position("BTCUSDT").quantity and len(engine.state.working) == _GUARDS):
            engine.step(every[number])
            number += 1
        quotes = [event for event in every[number:] if isinstance(event, Quote)][:count]
        before, fills = engine.counters.quotes, engine.counters.fills
        took_ns = _timed(lambda: _step_all(engine.step, quotes))
        seen = engine.counters.quotes - before
        held = engine.strategies[0].book.ledger.positions["BTCUSDT"].quantity
        if seen != count or engine.counters.fills != fills or not held:
            raise RuntimeError(f"{seen} of {count} quotes, {engine.counters.fills - fills} fills, held {held}")
        return took_ns

    return {**_each(in_units(work, repeats), count), "quotes": count, "repeats": repeats}


def orders(*, path: str, count: int, journal: bool, repeats: int) -> dict[str, Any]:
    """Return what an order costs from request to booked fill: every second candle one, in and out in turn.

    The same candles go through with and without orders; the difference is theirs.
    """
    events = _events(_batch(path, "flipper", {}))[: 2 * count + 2]
    candles = len(events)

    def with_orders(wanted: int) -> Callable[[], float]:
        def work() -> float:
            batch = _batch(path, "flipper", {"flipper": {"every": 2, "orders": wanted}})
            took_ns = _journalled(batch, events) if journal else _stepped(batch, events)
            totals = batch.engine.counters
            if (totals.candles, totals.orders, totals.fills) != (candles, wanted, wanted):
                raise RuntimeError(f"{totals.fills} of {wanted} orders filled on {totals.candles} of {candles} candles")
            if bool(totals.fees_paid > Decimal(0)) is not bool(wanted):
                raise RuntimeError(f"fees of {totals.fees_paid} for {wanted} orders")
            return took_ns

        return work

    some, none = in_units(with_orders(count), repeats), in_units(with_orders(0), repeats)
    ns, u_ns = (some["ns"] - none["ns"]) / count, min(some["u_ns"], none["u_ns"])
    return {"ns": ns, "u_ns": u_ns, "u": ns / u_ns, "orders": count, "with": some, "without": none, "repeats": repeats}


def _batch(path: str, strategy: str, tables: Mapping[str, Mapping[str, Any]]) -> Batch:
    return prepare(assembly("replay", strategy, {"replay": {"file": path, "confirm_ms": 0}, **tables}))


def _events(batch: Batch) -> list[Input]:
    return [event for events in batch.batches for event in events]


def _timed(work: Callable[[], object]) -> int:
    """Return the CPU nanoseconds of some work, what is older out of the garbage collector's sight as in a backtest."""
    gc.collect()
    gc.freeze()
    began = time.process_time_ns()
    work()
    took_ns = time.process_time_ns() - began
    gc.unfreeze()
    return took_ns


def _step_all(step: Callable[[Any], object], events: Sequence[Input]) -> None:
    for event in events:
        step(event)


def _stepped(batch: Batch, events: Sequence[Input]) -> int:
    batch.engine.begin()
    return _timed(lambda: _step_all(batch.engine.step, events))


def _journalled(batch: Batch, events: Sequence[Input]) -> int:
    """Time the backtest's own loop, with everything its journal does until the file is complete."""
    batch.batches = iter([events[at : at + _BATCH] for at in range(0, len(events), _BATCH)])
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder), durable=False, labels={})
        journal.append(batch.engine.begin(), 0, 0)
        ends: list[tuple[int, EndReason, str]] = []

        def work() -> None:
            ends.append(feed(batch, journal))
            journal.commit()
            journal.index()

        took_ns = _timed(work)
        rows = journal.reader().count()
        journal.close()
    number, reason, error = ends[0]
    if (number, reason) != (len(events), EndReason.COMPLETED) or rows < 2 * batch.engine.counters.orders:
        raise RuntimeError(f"{number} of {len(events)} inputs, {rows} rows, ended with {reason.code} {error}")
    return took_ns


def _each(found: dict[str, float], count: int) -> dict[str, float]:
    return {key: value if key == "u_ns" else value / count for key, value in found.items()}
