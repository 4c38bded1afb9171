"""Candles that are in memory, as columns: of a pandas or polars frame, of a mapping of columns, of candles.

Neither pandas nor polars is imported: a frame is known by what it can do.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from math import isfinite
from typing import Any, Final

from attrs import frozen

from lab.domain.batches import CandleColumns
from lab.domain.market import Candle, check_candle
from lab.domain.spacing import intervals_of
from lab.domain.time import SECOND_NS, format_interval, format_time, parse_interval, parse_time
from lab.errors import ConfigError, text_of

_TIMES: Final = ("time", "timestamp", "datetime", "date", "open_time", "ts", "t")
_SYMBOLS: Final = frozenset({"symbol", "ticker", "pair", "instrument", "market", "tic", "asset", "code"})
_FIGURES: Final = ("open", "high", "low", "close", "volume")
_SHORT: Final = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume", "vol": "volume"}
_BLOCK: Final = 4096
_UNIT_NS: Final = {"s": SECOND_NS, "ms": 10**6, "us": 10**3, "ns": 1}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class HeldCandles:
    """Candles of one symbol in memory: checked columns, ascending, in blocks; their interval, and what they came in."""

    blocks: Sequence[CandleColumns]
    interval_ns: int
    name: str
    has_volume: bool


def candles_of(data: object, interval: str | None) -> HeldCandles:
    """Return the candles of a frame, a mapping of columns, or an iterable of `Candle`.

    Columns are found by name, in any case: a time of opening (or the frame's index of times), open, high, low, close
    and, optionally, volume. Times are UTC: datetimes, ISO 8601 text, or numbers of s, ms, µs or ns. The interval is the
    most common distance of neighbours; ``interval`` is that of one candle alone, and says which of two lengths is meant
    where days may be missing. Raises `ConfigError` naming row,
    column and cure.
    """
    name, columns = _columns(data)
    opens_ns = _opens(name, columns)
    figures = [_floats(name, key, columns[key]) if key in columns else [0.0] * len(opens_ns) for key in _FIGURES]
    lengths = {"time": len(opens_ns)} | {key: len(one) for key, one in zip(_FIGURES, figures, strict=True)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise ConfigError(f"{name}: its columns are not of one length: {shown}")
    interval_ns = _interval(name, opens_ns, interval)
    _check_times(name, opens_ns, interval_ns)
    blocks = []
    for begin in range(0, len(opens_ns), _BLOCK):
        part = slice(begin, begin + _BLOCK)
        try:
            blocks.append(CandleColumns(_spaced(opens_ns[part], interval_ns), [column[part] for column in figures]))
        except ValueError:
            raise ConfigError(_why_not(name, opens_ns, figures, begin)) from None
    return HeldCandles(blocks, interval_ns, name, "volume" in columns)


def is_by_symbol(data: object) -> bool:
    """Return whether data is a mapping of symbols to their prices, and not one of columns."""
    if not isinstance(data, Mapping) or not data:
        return False
    names = {str(key).strip().lower() for key in data}
    return not names & {*_TIMES, *_FIGURES, *_SHORT}


def _columns(data: object) -> tuple[str, dict[str, Any]]:
    """Return what the data is called in messages, and its columns by our names for them."""
    if isinstance(data, Mapping):
        return "the columns", _named("the columns", {str(key): value for key, value in data.items()}, None)
    kind = f"{type(data).__module__.partition('.')[0]} {type(data).__name__}"
    if hasattr(data, "collect") and hasattr(data, "lazy"):
        raise ConfigError(f"data is a {kind}, which is not computed yet; give frame.collect()")
    if hasattr(data, "column_names") and hasattr(data, "to_pydict"):  # of pyarrow
        return f"the {kind}", _named(
            f"the {kind}", {str(key): column for key, column in data.to_pydict().items()}, None
        )
    if hasattr(data, "columns") and hasattr(data, "__getitem__"):
        name = f"the {kind}"
        keys = list(data.columns)
        twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
        if twice is not None:
            raise ConfigError(f"{name}: has two columns {twice!r:.40}; drop one")
        if keys == list(range(len(keys))) and len(keys) > len(_FIGURES):  # without a header, as exchanges give them
            return name, dict(zip(("time", *_FIGURES), map(data.__getitem__, keys), strict=False))
        by_name = {_flat(name, key, keys): data[key] for key in keys}
        return name, _named(name, by_name, getattr(data, "index", None))
    if isinstance(data, Iterable) and not isinstance(data, str | bytes):
        return "the candles", _of_candles(data)
    raise ConfigError(
        f"data is {_kind(data)}; expected a path, a recording's name, a frame, a mapping of columns or candles"
    )


def _flat(name: str, key: object, keys: Iterable[object]) -> str:
    """Return a column's name; of yfinance's pairs of figure and ticker the figure, where there is one ticker."""
    if not isinstance(key, tuple):
        return str(key)
    tickers = {one[1:] for one in keys if isinstance(one, tuple)}
    if len(tickers) > 1:
        some = ", ".join(sorted({str(one[0]) for one in tickers if one})[:5])
        cure = "give one: frame.xs(SYMBOL, axis=1, level=1)"
        raise ConfigError(f"{name}: its columns are of several symbols, {some}; {cure}")
    return str(key[0])


def _named(name: str, by_name: Mapping[str, Any], index: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, column in by_name.items():
        low = key.strip().lower().replace(" ", "_")
        known = "time" if low in _TIMES else _SHORT.get(low, low)
        if known == "time" and known in found:
            continue  # the first one counts, as in a file
        if known in {"time", *_FIGURES}:
            if known in found:
                raise ConfigError(f"{name}: has two columns {known}; drop one")
            found[known] = column
    if "time" not in found and index is not None and _is_of_times(index):
        found["time"] = index
    _check_one_symbol(name, by_name)
    has = ", ".join(map(str, islice(by_name, 12)))[:80] or "none"
    if "time" not in found:
        expected = "expected time, timestamp, date or an index of times"
        raise ConfigError(f"{name}: no column of times; {expected}; it has {has}")
    missing = [key for key in _FIGURES[:4] if key not in found]
    if missing:
        raise ConfigError(f"{name}: no column {missing[0]}; it has {has}")
    return found


def _check_one_symbol(name: str, by_name: Mapping[str, Any]) -> None:
    for key, column in by_name.items():
        if str(key).strip().lower() in _SYMBOLS:
            symbols = list(dict.fromkeys(map(str, _listed(column))))
            if len(symbols) > 1:
                some = ", ".join(symbols[:5])[:60]
                raise ConfigError(
                    f"{name}: several symbols ({some}) in the column {key}; give each its own: "
                    "{symbol: part for symbol, part in frame.groupby('" + str(key)[:20] + "')}"
                )


def _of_candles(data: Iterable[object]) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {key: [] for key in ("time", *_FIGURES)}
    adds = [column.append for column in columns.values()]
    for number, one in enumerate(data):
        if isinstance(one, Candle):
            row: Sequence[Any] = (one.open_ns, *one[3:8])
        elif isinstance(one, list | tuple) and len(one) > len(_FIGURES):
            row = one[:6]  # time, open, high, low, close, volume, as exchanges give them
        else:
            expected = "expected lab.Candle, or [time, open, high, low, close, volume]"
            raise ConfigError(f"the candles: number {number} is {_kind(one)}; {expected}")
        for add, value in zip(adds, row, strict=True):
            add(value)
    return columns


def _is_of_times(index: Any) -> bool:
    first = next(iter(index), None)
    return isinstance(first, date | str) or "datetime64" in str(getattr(index, "dtype", ""))


def _opens(name: str, columns: Mapping[str, Any]) -> list[int]:
    column = columns["time"]
    if getattr(column, "tz", None) is not None and hasattr(column, "tz_localize"):
        column = _as_days(column)
    whole = getattr(column, "asi8", None)  # of a pandas index of times: quick
    if whole is not None:
        unit = _UNIT_NS.get(str(getattr(column, "unit", "ns")), 1)
        values: list[Any] = [value * unit for value in whole.tolist()]
        least = -(2**62)
        if values and min(values) < least:
            raise ConfigError(f"{name}: row {values.index(min(values))} has no time (NaT); drop it: frame.dropna()")
        return values
    values = _listed(column)
    if values and all(type(value) is int and 10**17 <= value < 2**63 for value in values):
        return values
    opens_ns = []
    for row, value in enumerate(values):
        try:
            opens_ns.append(_time_ns(value))
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"{name}: row {row}: {error}") from None
    return opens_ns


def _as_days(index: Any) -> Any:
    """Return an index of an exchange's days as days of UTC, as a file's are read; any other as it is."""
    local = index.tz_localize(None)
    return local if len(local) and (local == local.normalize()).all() else index


def _time_ns(value: Any) -> int:
    if isinstance(value, datetime):
        if value != value:
            raise ValueError("has no time (NaT); drop it: frame.dropna()")
        moment = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        whole = getattr(value, "nanosecond", 0)  # pandas' own class has them
        return (moment - _EPOCH) // timedelta(microseconds=1) * 1000 + int(whole)
    if isinstance(value, date):
        return _time_ns(datetime(value.year, value.month, value.day, tzinfo=UTC))
    return parse_time(value)


def _listed(column: Any) -> list[Any]:
    for call in ("tolist", "to_list", "to_pylist"):
        if hasattr(column, call):
            return list(getattr(column, call)())
    return list(column)


def _floats(name: str, key: str, column: Any) -> list[float]:
    values = _listed(column)
    if all(type(value) is float for value in values):
        return values
    floats = []
    for row, value in enumerate(values):
        try:
            if isinstance(value, bool):
                raise TypeError
            floats.append(float(value))  # exchanges give prices as text
        except (TypeError, ValueError, ArithmeticError):
            raise ConfigError(f"{name}: row {row}: {key} is {_kind(value)}; expected a number") from None
    return floats


def _interval(name: str, opens_ns: Sequence[int], interval: str | None) -> int:
    if len(opens_ns) == 1 and interval is not None:
        try:
            return parse_interval(interval)
        except (ValueError, AttributeError, TypeError) as error:
            raise ConfigError(f"interval: {error}") from None
    if len(opens_ns) < 2:
        has = "no candle" if not opens_ns else "one candle only, so its interval can't be inferred; give interval"
        raise ConfigError(f"{name}: holds {has}")
    found = intervals_of(opens_ns[:_BLOCK])
    if found[0] <= 0:
        _check_times(name, opens_ns, 1)
    if len(found) > 1:
        lengths = [format_interval(one) for one in found]
        if interval not in lengths:
            what = f"none of its candles is of a weekend: of {lengths[1]}, or of {lengths[0]} and some are missing"
            raise ConfigError(f'{name}: {what}; give interval="{lengths[0]}" or interval="{lengths[1]}"')
        return found[lengths.index(interval)]
    return max(found[0], 1)


def _check_times(name: str, opens_ns: Sequence[int], interval_ns: int) -> None:
    if not opens_ns:
        raise ConfigError(f"{name}: holds no candle")
    if not 0 <= opens_ns[0] < 1 << 62:
        raise ConfigError(f"{name}: row 0 opens at {opens_ns[0]} ns; expected a time from 1970 on")
    for row, (earlier, later) in enumerate(pairwise(opens_ns), 1):
        if later <= earlier:
            how = "again: keep one of them" if later == earlier else "before the row above it: sort by time"
            raise ConfigError(f"{name}: row {row} opens at {format_time(later)}, {how}; times must ascend, each once")
    phase = opens_ns[0] % interval_ns  # of an exchange that opens at half past, candles do too
    length = format_interval(interval_ns) if interval_ns % SECOND_NS == 0 else f"{interval_ns} ns"
    for row, open_ns in enumerate(opens_ns):
        if open_ns % interval_ns != phase:
            raise ConfigError(
                f"{name}: row {row} opens at {format_time(open_ns)}, which is not a whole number of {length} candles "
                "after row 0; give candles of one interval only"
            )


def _spaced(opens_ns: Sequence[int], interval_ns: int) -> Sequence[int]:
    """Return openings as a range where none is missing: eight bytes a candle less."""
    if len(opens_ns) > 1 and opens_ns[-1] - opens_ns[0] == (len(opens_ns) - 1) * interval_ns:
        return range(opens_ns[0], opens_ns[-1] + interval_ns, interval_ns)
    return opens_ns


def _why_not(name: str, opens_ns: Sequence[int], figures: Sequence[Sequence[float]], begin: int) -> str:
    for row in range(begin, min(begin + _BLOCK, len(opens_ns))):
        values = [column[row] for column in figures]
        if not all(map(isfinite, values)):
            key = _FIGURES[[isfinite(value) for value in values].index(False)]
            cure = "leave the column out" if key == "volume" else "drop such rows: frame.dropna()"
            return f"{name}: row {row}: {key} is {values[_FIGURES.index(key)]}; {cure}"
        price, high, low, close, volume = values
        problem = check_candle(Candle("", 0, 0, price, high, low, close, volume))
        if problem is not None:
            return f"{name}: row {row}: {problem}"
    return f"{name}: rows {begin} to {begin + _BLOCK} are no candles"


def _kind(value: object) -> str:
    """Return a value and its class for a message."""
    return f"{type(value).__name__} {text_of(repr, value, 60)}"[:80]
