"""Rows that no reporter can read as they should be: torn, of the wrong shape, and nearly right."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from lab.ports import Record
from lab.testing.sample_runs import SampleRun

_BODIES: Final = (
    b"", b"{", b"null", b"[]", b"{}", b"7", b'"x"', b"\xff\xfe", b'{"a":1}', b"[1,2,3]", b"[" * 2_000, b"NaN",
)  # fmt: skip
_FIGURES: Final[tuple[object, ...]] = (None, "NaN", "1e999999", [], -1)
KINDS: Final = (
    "run_started", "run_ended", "candle", "quote", "funding", "trading_state", "symbol_state",
    "notice", "timer", "command", "deposit", "signal",
    "order_accepted", "order_refused", "order_filled", "order_ended", "strategy_stopped", "candle_ignored", "gap",
)  # fmt: skip


def broken_rows(run: SampleRun, kind: str) -> Iterator[Record]:
    """Yield rows of a kind that are torn, of the wrong shape, and nearly right."""
    for body in _BODIES:
        yield Record(0, 0, kind, body)
    good = next((record.body for record in run.records if record.kind == kind), None)
    if good is not None:
        yield Record(0, 10**30, kind, good)
        yield Record(0, 0, kind, good[:-1])
        for bad in _FIGURES:
            for spoilt in _spoilt(msgspec.json.decode(good), bad):
                yield Record(0, 0, kind, msgspec.json.encode(spoilt))


def _spoilt(value: object, bad: object) -> Iterator[object]:
    """Yield copies of a body, each with one of its figures replaced."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from ({**value, key: one} for one in _spoilt(inner, bad))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from ([*value[:place], one, *value[place + 1 :]] for one in _spoilt(inner, bad))
    else:
        yield bad


def numbered(records: Iterable[Record]) -> list[Record]:
    """Return the rows numbered in their order, from 1."""
    return [Record(number, one.time_ns, one.kind, one.body) for number, one in enumerate(records, start=1)]
