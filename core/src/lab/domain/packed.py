"""Batches of candles, quotes and trades as bytes, and back: for processes that share prices instead of copying them."""

from collections.abc import Sequence
from itertools import repeat
from struct import Struct, error, pack
from typing import Any, Final

from lab.domain.batches import CheckedBatch, trusted
from lab.domain.market import (
    BACKFILLED,
    FINAL,
    UNCONFIRMED,
    Candle,
    Quote,
    Trade,
    candle_from_row,
    quote_from_row,
    trade_from_row,
)
from lab.domain.orders import Side

_HEAD: Final = Struct("=qqqqq")  # checked, bytes of symbols, candles, quotes, trades; then symbols, kinds and columns
_BETWEEN: Final = "\n"  # no symbol has it
_KINDS: Final = (Candle, Quote, Trade)
_MAKERS: Final = (candle_from_row, quote_from_row, trade_from_row)
_FORMS: Final = ("qqdddddq", "qdddd", "qddq")
_WORDS: Final[tuple[tuple[str, ...], ...]] = ((FINAL, UNCONFIRMED, BACKFILLED), (), (Side.SELL, Side.BUY))
"""What the last column of a kind may hold, where that is no number."""


def dump_events(events: Sequence[Any]) -> bytes | None:
    """Return candles, quotes and trades as packed columns, for `load_events`.

    Returns ``None`` for events that are none of these, or with a value of another type.
    """
    try:
        kinds = bytes(map(_KINDS.index, map(type, events)))
        symbols = list(dict.fromkeys(event.symbol for event in events))
        names = _BETWEEN.join(symbols).encode()
        parts = [names, kinds]
        for kind, form, words in zip(range(3), _FORMS, _WORDS, strict=True):
            rows = [event for event, of in zip(events, kinds, strict=True) if of == kind]
            columns = list(zip(*rows, strict=True))
            if columns and words:
                columns[-1] = tuple(map(words.index, columns[-1]))
            if columns and len(symbols) > 1:
                columns[0] = tuple(map(symbols.index, columns[0]))
            else:
                columns = columns[1:]
            codes = form if len(symbols) < 2 else f"q{form}"
            parts += [pack(f"{len(rows)}{code}", *column) for code, column in zip(codes, columns, strict=False)]
    except (ValueError, error):
        return None
    checked = events.__class__ is CheckedBatch
    return b"".join((_HEAD.pack(checked, len(names), *map(kinds.count, range(3))), *parts))


def load_events(data: "bytes | memoryview[Any]") -> Sequence[Any]:
    """Return the events that `dump_events` gave these very bytes for: a `CheckedBatch` again where it was one."""
    view = memoryview(data)
    checked, length, *counts = _HEAD.unpack_from(view)
    start = _HEAD.size + length
    symbols = bytes(view[_HEAD.size : start]).decode().split(_BETWEEN)
    kinds = bytes(view[start : start + sum(counts)])
    start += len(kinds)
    made = []
    for make, form, words, rows in zip(_MAKERS, _FORMS, _WORDS, counts, strict=True):
        columns: list[Sequence[Any]] = []
        for code in form if len(symbols) < 2 else f"q{form}":
            columns.append(view[start : start + 8 * rows].cast(code))  # type: ignore[call-overload]  # it is q or d
            start += 8 * rows
        if words:
            columns[-1] = list(map(words.__getitem__, columns[-1]))
        names = map(symbols.__getitem__, columns.pop(0)) if len(symbols) > 1 else repeat(symbols[0], rows)
        made.append(map(make, zip(names, *columns, strict=True)))
    events = map(next, map(made.__getitem__, kinds))
    return trusted(events) if checked else tuple(events)


def part_of(events: Sequence[Any], begin: int, end: int) -> Sequence[Any]:
    """Return the events from one place to another: a `CheckedBatch` of a `CheckedBatch`."""
    part = events[begin:end]
    return trusted(part) if events.__class__ is CheckedBatch else part
