"""Events that are packed come back as they were, and as checked as they were."""

import pytest
from lab.domain.batches import CandleColumns, CheckedBatch, trusted
from lab.domain.market import BACKFILLED, Candle, Funding, Quote, Trade
from lab.domain.orders import Side
from lab.domain.packed import dump_events, load_events, part_of
from lab.domain.time import MINUTE_NS
from lab.testing.builders import START_NS, candles, quotes

X = "BTCUSDT"
TRADES = [Trade(X, START_NS, 100.0, 2.0, Side.BUY), Trade(X, START_NS + 1, 99.5, 1.0, Side.SELL)]
OLD = candles([100.0])[0]._replace(status=BACKFILLED)
MIXED = (OLD, *quotes([100.0, 101.0]), TRADES[0], *candles([102.0, 103.0]), TRADES[1], *quotes([104.0]))
TWO = (OLD, *quotes([2.0], symbol="ETHUSDT"), OLD._replace(symbol="ETHUSDT"), *quotes([100.0]), TRADES[0])


@pytest.mark.parametrize("events", [MIXED, TWO, tuple(candles([1.0, 2.0])), tuple(quotes([1.0])), tuple(TRADES), ()])
def test_events_come_back_in_their_order_and_a_checked_batch_is_one_again(events: tuple[object, ...]) -> None:
    for given, kind in ((events, tuple), (trusted(events), CheckedBatch)):  # type: ignore[arg-type]
        packed = dump_events(given)
        assert packed is not None
        back = load_events(memoryview(bytearray(packed)))
        assert (type(back), list(back)) == (kind, list(events))
        assert list(map(type, back)) == list(map(type, events))


def test_what_columns_gave_is_packed_to_less_than_a_quarter_of_a_candle_in_memory() -> None:
    rows = candles([100.0 + place for place in range(1000)])
    figures = [[getattr(row, name) for row in rows] for name in ("open", "high", "low", "close", "volume")]
    batch = CandleColumns([row.open_ns for row in rows], figures).candles(X, MINUTE_NS)
    packed = dump_events(batch)
    assert packed is not None
    assert len(packed) < 70 * len(rows)
    assert load_events(packed) == batch


def test_a_part_of_a_checked_batch_is_one() -> None:
    assert part_of(MIXED, 1, 3) == MIXED[1:3]
    assert (type(part_of(trusted(MIXED), 1, 3)), part_of(trusted(MIXED), 1, 3)) == (CheckedBatch, MIXED[1:3])


@pytest.mark.parametrize(
    "events",
    [
        [Funding(X, 1, 0.0, 2, 1.0)],
        [OLD._replace(close="1")],
        [OLD._replace(status="new")],
        ["text"],
    ],
    ids=["another kind", "a text", "a status", "no event"],
)
def test_what_has_no_columns_is_not_packed(events: list[Candle | Quote]) -> None:
    assert dump_events(events) is None
