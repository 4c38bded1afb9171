"""What a run was fed, read again from its tape or from the CSV it was made of: (kind, fields), numbered from 1."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Input = tuple[str, list[Any]]


def of_tape(lines: Iterable[bytes]) -> Iterator[Input]:
    """Read the lines of a tape."""
    for line in lines:
        kind, fields = json.loads(line)
        yield kind, fields


def of_csv(path: Path, symbol: str, interval_ns: int, funding: Path | None = None) -> Iterator[Input]:
    """Read a file of candles or ticks as a backtest is fed with it, with the rates of a second file between."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        rows = csv.DictReader(file)
        inputs = (
            _ticks(rows, symbol, interval_ns)
            if "bid" in (rows.fieldnames or ())
            else _candles(rows, symbol, interval_ns)
        )
        yield from inputs if funding is None else _funded(inputs, funding, symbol)


def _time_ns(text: str) -> int:
    if text.isdigit():
        return int(text) * 10 ** (19 - len(text))  # seconds have 10 digits, milliseconds 13
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def _candles(rows: Iterable[dict[str, str]], symbol: str, interval_ns: int) -> Iterator[Input]:
    for row in rows:
        open_ns = _time_ns(row["datetime"] if "datetime" in row else row["time"])
        figures = [float(row[name]) for name in ("open", "high", "low", "close", "volume")]
        yield "candle", [symbol, open_ns, open_ns + interval_ns, *figures, "final"]


def _ticks(
    rows: Iterable[dict[str, str]], symbol: str, interval_ns: int, late_ns: int = 2070 * 10**6
) -> Iterator[Input]:
    """Trades, then the quotes of one time, as far as they are read together: 512 rows at once.

    A whole candle of trades comes after all up to the time when it is known.
    """
    newest_ns, bucket, whole, trades = 0, -1, False, list[tuple[float, float]]()
    closed, same = list[list[Any]](), list[Input]()
    for n, row in enumerate(rows):
        time_ns = max(newest_ns, int(row["venue_ms"] or int(row["received_ns"]) // 10**6) * 10**6)
        if time_ns > newest_ns or n % 512 == 0:
            yield from sorted(same, key=lambda one: one[0] == "quote")
            same.clear()
        newest_ns = time_ns
        if newest_ns // interval_ns != bucket:
            if whole and trades:
                prices, volume = [price for price, _ in trades], 0.0
                for _, size in trades:
                    volume += size
                figures = [prices[0], max(prices), min(prices), prices[-1], round(volume, 8)]
                end_ns = (bucket + 1) * interval_ns
                closed.append([symbol, end_ns - interval_ns, end_ns + late_ns, *figures, "final"])
            whole, bucket, trades = bucket >= 0 or newest_ns % interval_ns == 0, newest_ns // interval_ns, []
        while closed and closed[0][2] < newest_ns:
            yield "candle", closed.pop(0)
        if row["kind"] == "quote":
            figures = [float(row[name]) for name in ("bid", "bid_size", "ask", "ask_size")]
            same.append(("quote", [symbol, newest_ns, *figures]))
        else:
            trades.append((float(row["price"]), float(row["size"])))
            if trades[-1][1]:
                same.append(("trade", [symbol, newest_ns, *trades[-1], row["side"]]))
    yield from sorted(same, key=lambda one: one[0] == "quote")


def _funded(inputs: Iterable[Input], path: Path, symbol: str) -> Iterator[Input]:
    """Each rate comes before the first event of its time or later; those before the first event do not come."""
    with path.open() as file:
        rates = [
            (_time_ns(row["time"]), float(row["rate"]), float(row.get("mark") or 0)) for row in csv.DictReader(file)
        ]
    begun = False
    for kind, fields in inputs:
        time_ns = fields[2 if kind == "candle" else 1]
        while rates and rates[0][0] <= time_ns:
            due_ns, rate, mark = rates.pop(0)
            if begun:
                yield "funding", [symbol, due_ns, rate, due_ns, mark]
        begun = True
        yield kind, fields
