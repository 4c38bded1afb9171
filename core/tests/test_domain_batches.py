"""Columns are checked as a whole and become the same events as rows would; trades become whole candles only."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab.domain.batches import CandleBuilder, CandleColumns, CheckedBatch, TickColumns
from lab.domain.market import BACKFILLED, Candle, Quote, Trade
from lab.domain.orders import Side
from lab.domain.time import MINUTE_NS
from lab.testing.builders import START_NS, candles, quotes

X = "BTCUSDT"
NAN = float("nan")


def columns(rows: Sequence[Candle], **changes: list[float]) -> CandleColumns:
    figures = {name: [getattr(row, name) for row in rows] for name in ("open", "high", "low", "close", "volume")}
    return CandleColumns([row.open_ns for row in rows], list({**figures, **changes}.values()))


def quote_columns(rows: Sequence[Quote]) -> list[list[Any]]:
    return [list(column) for column in list(zip(*rows, strict=True))[1:]]


ROWS = candles([100.0, 101.0, 99.0])


def test_a_batch_is_made_of_checked_columns_only() -> None:
    with pytest.raises(TypeError, match=r"made by CandleColumns\.candles\(\) or CandleBuilder\.take_columns\(\) only"):
        CheckedBatch([ROWS[0]])
    made = columns(ROWS).candles(X, MINUTE_NS)
    assert (type(made), made.symbol, list(made)) == (CheckedBatch, X, ROWS)
    assert CandleColumns([], [[]] * 5).candles(X, MINUTE_NS).symbol == ""


@pytest.mark.parametrize("even", [True, False])
def test_columns_become_the_candles_of_their_rows_dumped_and_loaded_or_not(even: bool) -> None:
    opens_ns: Sequence[int] = [row.open_ns for row in ROWS]
    if even:
        opens_ns = range(START_NS, START_NS + 3 * MINUTE_NS, MINUTE_NS)
    made = CandleColumns(opens_ns, columns(ROWS).figures)
    for one in (made, CandleColumns.loaded(made.dumped())):
        assert len(one) == 3
        assert list(one.candles(X, MINUTE_NS)) == ROWS
        assert [candle.status for candle in one.candles(X, MINUTE_NS, BACKFILLED)] == [BACKFILLED] * 3
        assert (one.lowest, one.highest, isinstance(one.opens_ns, range)) == (99.0, 101.0, even)
        assert one.dumped() == made.dumped()
    for wrong in (made.dumped() + bytes(8), made.dumped()[:-8]):
        with pytest.raises(ValueError, match="more or less than these columns"):
            CandleColumns.loaded(wrong)


def test_a_volume_of_minus_nothing_is_none() -> None:
    volumes = [0.0, -0.0, 1.0]
    assert [candle.volume for candle in columns(ROWS, volume=volumes).candles(X, MINUTE_NS)] == volumes
    with pytest.raises(ValueError, match="not all are candles"):
        columns(ROWS, volume=[0.0, -0.0, -5e-324])
    with pytest.raises(ValueError, match="not all are candles"):
        columns(ROWS, open=[1.0, -0.0, 1.0])


@pytest.mark.parametrize(
    "changes",
    [
        {"open": [1.0, 1.0]}, {"open": [0.0, 1.0, 1.0]}, {"open": [1e15, 1.0, 1.0]}, {"high": [100.0, 1e15, 101.0]},
        {"high": [99.0, 101.0, 101.0]}, {"low": [0.0, 100.0, 99.0]}, {"low": [100.0, 100.0, 99.5]},
        {"close": [100.0, NAN, 99.0]}, {"volume": [-1.0, 1.0, 1.0]}, {"volume": [1e18, 1.0, 1.0]},
    ],
)  # fmt: skip
def test_columns_of_which_one_row_is_no_candle_are_refused(changes: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="not all are candles"):
        columns(ROWS, **changes)


QUOTES = quotes([100.0, 101.0, 102.0])
TRADES = [Trade(X, quote.time_ns, 100.0, 1.0, Side.BUY) for quote in QUOTES]


def test_ticks_are_made_of_columns_of_quotes_and_of_trades_dumped_and_loaded_or_not() -> None:
    ticks = TickColumns(quote_columns(QUOTES), [[1, 2], [5.0, 6.0], [0.0, 1.0], [True, 0]])
    for one in (ticks, TickColumns.loaded(ticks.dumped())):
        assert len(one) == 5
        assert list(one.made(X)) == QUOTES
        assert [list(column) for column in one.trades] == [[1, 2], [5.0, 6.0], [0.0, 1.0], [1, 0]]
        assert (one.lowest, one.highest) == (ticks.lowest, ticks.highest)
        assert one.dumped() == ticks.dumped()


# -- ticks: extremes, and one wrong row -------------------------------------------------------------------------------

SOUND: list[list[Any]] = [[1, 2], [9.5, 9.0], [1.0, 1.0], [9.6, 10.0], [1.0, 1.0]]


def test_columns_say_their_lowest_and_highest_price() -> None:
    candles = CandleColumns(range(2), ([9.0, 9.0], [10.0, 11.0], [8.0, 7.0], [9.0, 9.0], [1.0, 1.0]))
    assert (candles.lowest, candles.highest) == (7.0, 11.0)
    ticks = TickColumns(SOUND)
    assert (ticks.lowest, ticks.highest) == (9.0, 10.0)
    assert list(ticks.made("BTCUSDT")) == [
        Quote("BTCUSDT", 1, 9.5, 1.0, 9.6, 1.0),
        Quote("BTCUSDT", 2, 9.0, 1.0, 10.0, 1.0),
    ]


def test_columns_without_a_quote_have_no_lowest_and_no_highest_price() -> None:
    ticks = TickColumns([[], [], [], [], []], [[1], [5.0], [0.0], [1]])
    assert (list(ticks.made(X)), ticks.lowest, ticks.highest) == ([], inf, 0.0)


@pytest.mark.parametrize(
    ("column", "figure"),
    [(1, 0.0), (1, -1.0), (1, 10.5), (2, -1.0), (2, 1e18), (3, 1e15), (3, inf), (4, -1.0), (4, inf)],
)
def test_columns_with_one_row_that_is_no_quote_are_refused(column: int, figure: float) -> None:
    columns = [list(one) for one in SOUND]
    columns[column][1] = figure
    with pytest.raises(ValueError, match="not all are quotes"):
        TickColumns(columns)
    with pytest.raises(ValueError, match="not all are quotes"):
        TickColumns([*SOUND[:4], [1.0]])


@pytest.mark.parametrize(
    ("column", "figure"),
    [(1, 0.0), (1, -1.0), (1, 1e15), (1, NAN), (2, -1.0), (2, 1e18), (2, NAN), (3, 2), (3, -1)],
)
def test_columns_with_one_row_that_is_no_trade_are_refused(column: int, figure: float) -> None:
    trades: list[list[Any]] = [[1, 2], [9.5, 9.0], [1.0, 1.0], [1, 0]]
    TickColumns(SOUND, trades)
    trades[column][1] = figure
    with pytest.raises(ValueError, match="not all are trades"):
        TickColumns(SOUND, trades)
    with pytest.raises(ValueError, match="not all are trades"):
        TickColumns(SOUND, [[1], [9.5], [1.0, 1.0], [1]])
    with pytest.raises(ValueError, match="not all are trades"):
        TickColumns(SOUND, [[1], [9.5], [1.0], [1, 0]])


# -- trades into candles ----------------------------------------------------------------------------------------------


def trade(second: float, price: float, size: float = 1.0) -> Trade:
    return Trade(X, START_NS + int(second * 10**9), price, size, Side.BUY)


def test_trades_become_a_candle_before_the_tick_that_closes_it() -> None:
    builder = CandleBuilder(X, MINUTE_NS)
    ticks = [trade(0, 100.0), trade(10, 103.0, 0.1), trade(20, 98.0, 0.2), trade(59, 101.0), QUOTES[0]]
    assert builder.take(ticks) == [QUOTES[0]]
    candle = Candle(X, START_NS, START_NS + MINUTE_NS, 100.0, 103.0, 98.0, 101.0, 2.3)
    assert builder.take([trade(60, 105.0), trade(130, 106.0)]) == [
        candle,
        Candle(X, START_NS + MINUTE_NS, START_NS + 2 * MINUTE_NS, 105.0, 105.0, 105.0, 105.0, 1.0),
    ]


def test_a_bucket_that_began_before_the_data_and_one_without_a_trade_give_no_candle() -> None:
    builder = CandleBuilder(X, MINUTE_NS)
    assert builder.take([trade(1, 100.0), trade(60, 101.0)]) == []
    quote = QUOTES[0]._replace(time_ns=START_NS + 3 * MINUTE_NS)
    assert [type(event) for event in builder.take([quote, trade(250, 100.0)])] == [Candle, Quote]


def test_trades_that_make_no_candle_are_refused_with_the_time() -> None:
    builder = CandleBuilder(X, MINUTE_NS)
    with pytest.raises(ValueError, match=f"the trades before {START_NS + MINUTE_NS} make no candle: open inf is not"):
        builder.take([trade(0, inf), trade(60, 1.0)])


def test_of_checked_columns_a_builder_makes_checked_batches_of_its_symbol() -> None:
    for symbol in (X, "ETHUSDT"):
        made = CandleBuilder(symbol, MINUTE_NS).take_columns(TickColumns(quote_columns(QUOTES)))
        assert type(made) is CheckedBatch
        assert list(made) == [quote._replace(symbol=symbol) for quote in QUOTES]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.integers(1, 1_000), st.sampled_from([0.1, 0.2, 1e9]))),
    st.lists(st.integers(0, 30), max_size=3),
    st.sampled_from([0, 1, 7 * 10**9, 60 * 10**9, 130 * 10**9]),
)
def test_columns_give_what_their_ticks_give_one_by_one_and_the_trades_between_where_they_are_wanted(
    steps: list[tuple[int, bool, int, float]], cuts: list[int], confirm_ns: int
) -> None:
    now, ticks = 0, []
    for step, quoted, price, size in steps:
        now += step
        one = trade(now, float(price), size)
        ticks.append(Quote(X, one.time_ns, one.price, 1.0, one.price, 1.0) if quoted else one)
    ticks.sort(key=lambda tick: (tick.time_ns, isinstance(tick, Quote)))
    one_by_one, at_once, with_trades = (CandleBuilder(X, MINUTE_NS, confirm_ns) for _ in range(3))
    expected = [event for tick in ticks for event in one_by_one.take([tick])]
    found: list[Any] = []
    whole: list[Any] = []
    bounds = [0, *sorted(cuts), len(ticks)]
    for begin, end in pairwise(bounds):
        part = ticks[begin:end]
        quotes = [one for one in part if isinstance(one, Quote)]
        trades = [(*one[1:4], one.side is Side.BUY) for one in part if isinstance(one, Trade)]
        columns = TickColumns(
            quote_columns(quotes) or [[]] * 5, [list(column) for column in zip(*trades, strict=True)] or [[]] * 4
        )
        found += at_once.take_columns(columns)
        whole += with_trades.take_columns(columns, trades_too=True)
    assert found == expected
    assert [event for event in whole if not isinstance(event, Trade)] == expected
    assert [event for event in whole if not isinstance(event, Candle)] == ticks
    assert [event.time_ns for event in whole] == sorted(event.time_ns for event in whole)


def test_a_candle_that_is_confirmed_late_comes_after_all_ticks_up_to_the_time_at_which_it_is_known() -> None:
    ticks = [
        trade(0, 100.0),
        *(quotes([100.0])[0]._replace(time_ns=START_NS + second * 10**9) for second in range(58, 66)),
    ]
    made = CandleBuilder(X, MINUTE_NS, 2 * 10**9).take(ticks)
    (place,) = (place for place, event in enumerate(made) if isinstance(event, Candle))
    assert (made[place].time_ns - START_NS) / 1e9 == 62
    columns = TickColumns(
        quote_columns([one for one in ticks if isinstance(one, Quote)]), [[START_NS], [100.0], [1.0], [1]]
    )
    assert list(CandleBuilder(X, MINUTE_NS, 2 * 10**9).take_columns(columns)) == made
    assert [(event.time_ns - START_NS) / 1e9 for event in made[place - 1 : place + 2]] == [62, 62, 63]
    assert made[place] == CandleBuilder(X, MINUTE_NS).take(ticks)[2]._replace(time_ns=made[place].time_ns)
    assert [type(event) for event in CandleBuilder(X, MINUTE_NS, 2 * 10**9).take(ticks[:-3])].count(Candle) == 0, (
        "nothing shows that the time at which it is known was reached"
    )


def test_a_trade_without_a_size_counts_in_the_candle_and_is_no_event() -> None:
    columns = TickColumns(
        [[START_NS + 90 * 10**9], [99.0], [1.0], [101.0], [1.0]],
        [[START_NS, START_NS + 1], [100.0, 102.0], [2.0, 0.0], [0, 1]],
    )
    candle = Candle(X, START_NS, START_NS + MINUTE_NS, 100.0, 102.0, 100.0, 102.0, 2.0)
    assert list(CandleBuilder(X, MINUTE_NS).take_columns(columns, trades_too=True)) == [
        Trade(X, START_NS, 100.0, 2.0, Side.SELL), candle, Quote(X, START_NS + 90 * 10**9, 99.0, 1.0, 101.0, 1.0),
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 1_000)), max_size=60))
def test_each_whole_bucket_with_a_trade_is_one_candle_of_its_trades(steps: list[tuple[int, int]]) -> None:
    now, trades = 0, []
    for step, price in steps:
        now += step
        trades.append(trade(now, float(price)))
    made = CandleBuilder(X, MINUTE_NS).take(trades)
    buckets: dict[int, list[float]] = {}
    for one in trades:
        buckets.setdefault(one.time_ns - one.time_ns % MINUTE_NS, []).append(one.price)
    if trades and trades[0].time_ns % MINUTE_NS:
        del buckets[min(buckets)]
    if buckets and trades[-1].time_ns - trades[-1].time_ns % MINUTE_NS in buckets:
        del buckets[max(buckets)]
    assert list(made) == [
        Candle(X, open_ns, open_ns + MINUTE_NS, p[0], max(p), min(p), p[-1], float(len(p)))
        for open_ns, p in sorted(buckets.items())
    ]
