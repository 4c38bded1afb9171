"""Reading ticks, candles made of them, and the endless path."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lab.domain.market import Quote, check_quote
from lab.domain.time import MINUTE_NS, SECOND_NS, parse_time
from lab_recordings import RecordingError, TickRecording, TickTrade, aggregate, read_ticks, recording

MS = 10**6
SMALL = TickRecording.from_ticks(
    [
        TickTrade(1000 * MS, 99.0, 9.0, "buy"),  # before the first quote: left out
        Quote("X", 1000 * MS, 10.0, 1.0, 11.0, 1.0),
        TickTrade(1010 * MS, 11.0, 0.5, "buy"),
        Quote("X", 1010 * MS, 11.0, 2.0, 12.0, 2.0),
        Quote("X", 1010 * MS, 12.0, 3.0, 13.0, 3.0),
        TickTrade(1030 * MS, 12.0, 0.25, "sell"),
        Quote("X", 1040 * MS, 13.0, 4.0, 14.0, 4.0),
    ]
)
LENGTH = 40 * MS
SHIPPED = TickRecording.load("btcusdt-ticks")


def test_the_shipped_ticks_are_typed_ascending_and_sound() -> None:
    ticks = [tick for batch in read_ticks(recording("btcusdt-ticks").path) for tick in batch]
    assert len(ticks) == 87_402
    assert ticks[0] == Quote("BTCUSDT", 1723161256313 * MS, 61800.2, 2.507, 61800.3, 2.51)
    assert ticks[1] == TickTrade(1723161256322 * MS, 61800.3, 0.006, "buy")
    assert all(earlier.time_ns <= later.time_ns for earlier, later in pairwise(ticks))
    assert all(check_quote(tick) is None for tick in ticks if isinstance(tick, Quote))


def test_a_file_of_quotes_alone_may_call_its_time_time(tmp_path: Path) -> None:
    path = tmp_path / "quotes.csv"
    path.write_text("time,bid,bid_size,ask,ask_size\n2024-01-01T00:00:00.5Z,1,2,3,4\n2024-01-01T00:00:00Z,2,2,3,4\n")
    held = parse_time("2024-01-01T00:00:00.5Z")
    assert list(map(list, read_ticks(path, "E"))) == [
        [Quote("E", held, 1.0, 2.0, 3.0, 4.0), Quote("E", held, 2.0, 2.0, 3.0, 4.0)]
    ]


@pytest.mark.behaviour("M2")
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1723161256313,quote,5,1,4,1,,,", "bid 5.0 above ask 4.0"),
        ("1723161256313,quote,nan,1,4,1,,,", "not prices"),
        ("1723161256313,quote,,1,4,1,,,", "bid '' is not a number"),
        ("1723161256313,trade,,,,,0,1,buy", "price 0.0, size 1.0: not a trade"),
        ("1723161256313,trade,,,,,7,1,both", "side 'both'; expected buy or sell"),
        ("1723161256313,deal,,,,,7,1,buy", "kind 'deal'; expected quote or trade"),
        ("never,quote,3,1,4,1,,,", "not a time: 'never'"),
    ],
)
def test_a_bad_tick_is_refused_with_its_line(tmp_path: Path, row: str, reason: str) -> None:
    path = tmp_path / "ticks.csv"
    header = "venue_ms,kind,bid,bid_size,ask,ask_size,price,size,side\n"
    path.write_text(f"{header}1723161256000,quote,3,1,4,1,,,\n{row}\n")
    with pytest.raises(RecordingError, match=rf"ticks.csv:3: .*{reason}"):
        list(read_ticks(path))


def test_where_a_quote_has_no_venue_time_the_time_of_receipt_stands_in(tmp_path: Path) -> None:
    path = tmp_path / "quotes.csv"
    header = "received_ns,venue_ms,bid,bid_size,ask,ask_size\n"
    begin = parse_time("2024-01-01")
    path.write_text(f"{header}{begin},,1,2,3,4\n{begin + 7},,2,2,3,4\n")
    assert [tick.time_ns for batch in read_ticks(path) for tick in batch] == [begin, begin + 7]
    path.write_text(f"{header}{begin},,1,2,3,4\n{begin + 7},{begin // MS + 5},2,2,3,4\n{begin + 9 * MS},,2,2,3,4\n")
    times = [tick.time_ns for batch in read_ticks(path) for tick in batch]
    assert times == [begin, begin + 5 * MS, begin + 9 * MS]
    path.write_text(f"received_ns,bid,bid_size,ask,ask_size\n{begin},1,2,3,4\n")
    assert [tick.time_ns for batch in read_ticks(path) for tick in batch] == [begin]
    path.write_text(f"{header}{begin},,1,2,3,4\n,,2,2,3,4\n")
    with pytest.raises(RecordingError, match=r"quotes.csv:3: not a time: ''"):
        list(read_ticks(path))
    path.write_text(f"{header}{begin},,1,2,3,4\n{begin},never,2,2,3,4\n")
    with pytest.raises(RecordingError, match=r"quotes.csv:3: not a time: 'never'"):
        list(read_ticks(path))


def test_only_whole_minutes_with_trades_become_candles() -> None:
    def trade(second: int, price: float) -> TickTrade:
        return TickTrade(second * SECOND_NS, price, 1.5, "buy")

    ticks = [trade(30, 1.0), trade(60, 5.0), trade(80, 7.0), trade(119, 6.0), trade(240, 8.0), trade(299, 9.0)]
    (candle,) = aggregate(ticks, MINUTE_NS, "X")  # minute 0 begins late, 2 and 3 are empty, 4 never ends
    assert candle == ("X", MINUTE_NS, 2 * MINUTE_NS, 5.0, 7.0, 5.0, 6.0, 4.5, "final")
    assert [one.open for one in aggregate([*ticks[1:], trade(300, 1.0)], MINUTE_NS)] == [5.0, 8.0]


def test_the_quote_in_force_follows_the_recording_forwards_then_backwards() -> None:
    forwards = [(0, 10), (9, 10), (10, 12), (39, 12)]
    backwards = [(40, 12), (69, 12), (70, 10), (79, 10), (80, 10)]
    for at, bid in forwards + backwards:
        for turn in (-4, 0, 2):
            assert SMALL.quote_at(at * MS + turn * LENGTH)[0] == bid, (at, turn)


def test_changes_and_trades_come_in_mirrored_order() -> None:
    seen = [(quote.offset_ns // MS, quote.bid) for quote in SMALL.quotes_between(0, 2 * LENGTH)]
    assert seen == [(0, 10), (10, 11), (10, 12), (40, 12), (70, 11), (70, 10)]
    trades = [(trade.offset_ns // MS, trade.price, trade.side) for trade in SMALL.trades_between(-LENGTH, LENGTH)]
    assert trades == [(-30, 12, "sell"), (-10, 11, "buy"), (10, 11, "buy"), (30, 12, "sell")]


def test_candles_of_the_path_take_the_trades_of_their_range() -> None:
    assert SMALL.candle(0, 40 * MS) == (11, 12, 11, 12, 0.75, 8.5)
    assert SMALL.candle(40 * MS, 40 * MS) == (12, 12, 11, 11, 0.75, 8.5)
    assert SMALL.candle(11 * MS, 10 * MS) == (11, 11, 11, 11, 0, 0)  # no trade: the last price before
    assert SMALL.candle(0, 0) == (11, 11, 11, 11, 0, 0)
    assert SMALL.candle(-4 * LENGTH, 8 * LENGTH) == (11, 12, 11, 11, 6.0, 68.0)


offsets = st.integers(-(10**15), 10**15)


LONG = TickRecording.from_ticks(
    [
        Quote("X", 0, 10.0, 1.0, 11.0, 1.0),
        *(TickTrade(at * MS, float(100 + at * 7919 % 613), 1.0, "buy") for at in range(1, 700)),
    ]
)


@given(st.integers(1, 699), st.integers(0, 698))
@example(129, 127)  # a whole block of those whose extremes are kept, and nothing beside it
@example(129, 255)
@example(1, 698)
def test_high_and_low_of_a_candle_are_those_of_its_trades_however_many(first: int, count: int) -> None:
    prices = [LONG.trades[row - 1][0] for row in range(first, min(first + count + 1, 699))]
    candle = LONG.candle(first * MS, (count + 1) * MS)
    if prices:
        assert candle.high >= max(prices)
        assert candle.low <= min(prices)
    if first + count < 698:
        assert (candle.high, candle.low) == (max(prices), min(prices))


@given(offsets)
def test_the_path_is_continuous_and_real_everywhere(at: int) -> None:
    for place in (at, at // SHIPPED.duration_ns * SHIPPED.duration_ns):
        before, after = SHIPPED.quote_at(place - 1), SHIPPED.quote_at(place)
        assert before[0] < before[2]
        assert abs(after[0] - before[0]) < 67.2  # the largest step in the recording is 67.1
    mirrored = -at
    assert SHIPPED.quote_at(at) == SHIPPED.quote_at(at + 2 * SHIPPED.duration_ns)
    assert SHIPPED.candle(at, MINUTE_NS).high == SHIPPED.candle(mirrored - MINUTE_NS + 1, MINUTE_NS).high


@given(offsets, st.integers(1, 3 * SECOND_NS), st.integers(1, 3 * SECOND_NS))
def test_ranges_join_without_loss_and_agree_with_the_quote_in_force(at: int, first: int, second: int) -> None:
    middle, end = at + first, at + first + second
    whole = SHIPPED.quotes_between(at, end)
    assert SHIPPED.quotes_between(at, middle) + SHIPPED.quotes_between(middle, end) == whole
    assert [quote.offset_ns for quote in whole] == sorted(quote.offset_ns for quote in whole)
    if whole:
        assert SHIPPED.quote_at(end - 1) == whole[-1][1:]
    trades = SHIPPED.trades_between(at, end)
    candle = SHIPPED.candle(at, first + second)
    if trades:
        prices = [trade.price for trade in trades]
        assert candle[:4] == (prices[0], max(prices), min(prices), prices[-1])
        assert candle.volume_base == pytest.approx(sum(trade.size for trade in trades))
        assert candle.turnover_quote == pytest.approx(sum(trade.size * trade.price for trade in trades))
    else:
        assert candle == (*[SHIPPED.price_before(at)] * 4, 0, 0)


def test_a_recording_without_trades_has_candles_of_middles() -> None:
    quotes = TickRecording.from_ticks([Quote("X", 1, 1.0, 1.0, 3.0, 1.0), Quote("X", 5, 2.0, 1.0, 4.0, 1.0)])
    assert quotes.candle(0, 5) == (2.0, 3.0, 2.0, 3.0, 0.0, 0.0)
    assert quotes.trades_between(-100, 100) == []


def test_loading_again_gives_the_same_object_and_bad_recordings_are_named(tmp_path: Path) -> None:
    assert TickRecording.load("btcusdt-ticks") is SHIPPED
    path = tmp_path / "one.csv"
    path.write_text("time,bid,bid_size,ask,ask_size\n2024-01-01,1,2,3,4\n")
    with pytest.raises(RecordingError, match=r"one.csv: all ticks at one moment"):
        TickRecording.load(path)
    with pytest.raises(RecordingError, match="no quote"):
        TickRecording.from_ticks([TickTrade(1, 1.0, 1.0, "buy")])


@pytest.mark.parametrize("before", [0, 1, 511, 512, 513])
@pytest.mark.parametrize("after", ["", "trade", "quote"])
def test_a_file_loads_as_the_recording_of_its_ticks(before: int, after: str, tmp_path: Path) -> None:
    trade, quote = "{},trade,,,,,10.{},2,buy", "{},quote,10.{},1,11,1,,,"
    kinds = ["trade"] * before + ["quote", "trade", "quote"] + [after] * (600 if after else 0)
    rows = [(trade if kind == "trade" else quote).format(10**12 + n, n % 9) for n, kind in enumerate(kinds)]
    path = tmp_path / "ticks.csv"
    path.write_text("\n".join(["time,kind,bid,bid_size,ask,ask_size,price,size,side", *rows]))
    loaded = TickRecording.load(path)
    made = TickRecording.from_ticks(tick for batch in read_ticks(path) for tick in batch)
    assert len(loaded.trades) == kinds[before:].count("trade")
    for name in ("start_ns", "duration_ns", "quotes", "quote_times", "trades", "trade_times"):
        assert getattr(loaded, name) == getattr(made, name)
    for open_ns in range(-700 * MS, 700 * MS, 7 * MS):
        assert loaded.candle(open_ns, 50 * MS) == made.candle(open_ns, 50 * MS)


def test_a_file_of_more_ticks_than_memory_is_meant_for_is_refused_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab_recordings.ticks.TICKS_MOST", 600)
    rows = [f"{10**12 + n},10,1,11,1" for n in range(601)]
    for count in (600, 601):
        path = tmp_path / f"{count}.csv"
        path.write_text("\n".join(["time,bid,bid_size,ask,ask_size", *rows[:count]]))
    assert len(TickRecording.load(tmp_path / "600.csv").quotes) == 600
    with pytest.raises(RecordingError, match=r"601.csv: more than 600 ticks; a path is made of fewer: cut the file"):
        TickRecording.load(tmp_path / "601.csv")
