"""The prices behind the venue."""

from pathlib import Path

import pytest
from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS, parse_time
from lab_bitunix.venue.faults import Faults
from lab_bitunix.venue.intervals import REST_INTERVALS
from lab_bitunix.venue.market import Contract, Market, load_path
from lab_bitunix.venue.text import number
from lab_bitunix.venue.world import World
from lab_recordings import RecordingError

HOUR_NS = 60 * MINUTE_NS
START_NS = parse_time("2026-10-05T12:00:20Z")
PLAIN = Contract(symbol="BTCUSDT", base="BTC")
CANDLES = """time,open,high,low,close,volume
2026-01-01T00:00:00Z,100,110,95,105,6
2026-01-01T00:01:00Z,105,106,90,91,3
2026-01-01T00:02:00Z,91,92,91,92,1
"""


def world(recording: str = "btcusdt-ticks", faults: str = "", seed: int = 0) -> World:
    return World.make(recording, "BTCUSDT", Faults.parse(faults), seed, START_NS)


@pytest.fixture
def candle_file(tmp_path: Path) -> Path:
    path = tmp_path / "prices.csv"
    path.write_text(CANDLES)
    return path


def test_the_recordings_minutes_are_the_venues_minutes() -> None:
    market = world().markets["BTCUSDT"]
    minute_ns = START_NS - 20 * SECOND_NS

    assert tuple(market.bar(minute_ns, minute_ns + MINUTE_NS)) == tuple(market.path.candle(0, MINUTE_NS))


def test_prices_go_on_where_the_history_ends() -> None:
    market = world().markets["BTCUSDT"]

    for hours in (-50, -1, 0, 1, 50):
        at_ns = START_NS + hours * HOUR_NS
        before, after = market.quote_at(at_ns - 1), market.quote_at(at_ns)
        assert before[0] < before[2]
        assert abs(after[0] - before[0]) < 20


def test_a_long_candle_is_made_of_its_minutes() -> None:
    market = world().markets["BTCUSDT"]
    begin_ns = START_NS - START_NS % HOUR_NS - 3 * HOUR_NS

    whole = market.bar(begin_ns, begin_ns + 2 * HOUR_NS)
    parts = [market.bar(begin_ns + k * MINUTE_NS, begin_ns + (k + 1) * MINUTE_NS) for k in range(120)]

    assert whole.open == parts[0].open
    assert whole.close == parts[-1].close
    assert (whole.high, whole.low) == (max(p.high for p in parts), min(p.low for p in parts))
    assert whole.coins == pytest.approx(sum(p.coins for p in parts), abs=1e-6)
    assert whole.turnover == pytest.approx(sum(p.turnover for p in parts), rel=1e-12)


def test_recorded_candles_come_back_as_they_are_forwards_and_backwards(candle_file: Path) -> None:
    path = load_path(str(candle_file), 0)
    market = Market(PLAIN, path, 0)

    bars = [market.bar(k * MINUTE_NS, (k + 1) * MINUTE_NS) for k in range(-1, 6)]

    assert [bar[:4] for bar in bars[1:4]] == [(100, 110, 95, 105), (105, 106, 90, 91), (91, 92, 91, 92)]
    assert [round(bar.coins, 6) for bar in bars] == [6, 6, 3, 1, 1, 3, 6]
    assert [bar[:4] for bar in bars[4:]] == [(92, 92, 91, 91), (91, 106, 90, 105), (105, 110, 95, 100)]
    assert bars[0][:4] == (105, 110, 95, 100)


def test_bid_and_ask_lie_a_tick_around_a_recorded_candles_path(candle_file: Path) -> None:
    bid, _, ask, _ = load_path(str(candle_file), 0).quote_at(0)

    assert (bid, ask) == (99.99, 100.01), "whole prices show no finer tick than 1, which is too coarse for them"


def _told(market: Market, at_ns: int) -> tuple[str, str]:
    bid, _, ask, _ = market.quote_at(at_ns)
    return number(bid, market.contract.price_digits), number(ask, market.contract.price_digits)


@pytest.mark.parametrize(
    ("bid", "ask", "tick", "size_digits"),
    [("61800.21", "61800.22", 0.01, 4), ("0.00002139", "0.0000214", 1e-8, 0)],
)
def test_a_file_of_quotes_is_told_on_its_own_tick(
    tmp_path: Path, bid: str, ask: str, tick: float, size_digits: int
) -> None:
    path = tmp_path / "quotes.csv"
    rows = [f"{1704067200000 + 1000 * second},{bid},1,{ask},1" for second in range(200)]
    path.write_text("\n".join(["venue_ms,bid,bid_size,ask,ask_size", *rows]))
    markets = world(str(path)).markets

    main, second = markets["BTCUSDT"], markets["ETHUSDT"]
    assert _told(main, START_NS) == (bid, ask)
    assert (main.contract.tick, main.contract.size_digits) == (tick, size_digits)
    assert 0 < float(_told(second, START_NS)[0]) < float(_told(second, START_NS)[1])


def test_the_shipped_recordings_keep_their_steps() -> None:
    for name in ("btcusdt-ticks", "btcusd-1m"):
        contract = world(name).markets["BTCUSDT"].contract
        assert (contract.price_digits, contract.size_digits) == (1, 4)


def test_a_seeded_path_follows_from_its_seed() -> None:
    same, again, other = (world("seeded", seed=seed).markets["BTCUSDT"] for seed in (1, 1, 2))
    begin_ns = START_NS - START_NS % MINUTE_NS

    bar = same.bar(begin_ns, begin_ns + MINUTE_NS)
    assert bar == again.bar(begin_ns, begin_ns + MINUTE_NS)
    assert bar != other.bar(begin_ns, begin_ns + MINUTE_NS)
    assert bar.low <= bar.close <= bar.high
    assert bar.coins > 0


def test_an_unknown_recording_is_named_with_a_near_one() -> None:
    with pytest.raises(RecordingError, match="btcusdt-ticks"):
        world("btcusdt-tick")


def test_the_second_symbol_is_on_its_own_scale() -> None:
    bid, size, ask, _ = world().markets["ETHUSDT"].quote_at(START_NS)

    assert 2000 < bid < ask < 3000
    assert size > 0


def test_an_open_outside_the_range_stays_the_same_while_the_candle_forms() -> None:
    bent = world(faults="open_outside")
    minute = REST_INTERVALS["1m"]
    open_ns = minute.open_of(START_NS) - MINUTE_NS
    bar = bent.bar(bent.markets["BTCUSDT"], minute, open_ns, START_NS)

    assert not bar.low <= bar.open <= bar.high
    assert bar.low <= bar.close <= bar.high


def test_funding_stays_within_the_cap_and_ends_at_what_is_charged() -> None:
    made = world(seed=5)
    settlement_ns = parse_time("2026-10-05T16:00:00Z")

    assert made.estimated_percent(settlement_ns) == made.settled_percent(settlement_ns)
    before = made.estimated_percent(settlement_ns - MINUTE_NS)
    assert before == pytest.approx(made.settled_percent(settlement_ns), abs=1e-4)
    assert all(abs(made.estimated_percent(START_NS + k * HOUR_NS)) < 0.3 for k in range(100))


@pytest.mark.parametrize(
    ("name", "moment", "opening", "following"),
    [
        ("1m", "2026-10-05T12:00:20Z", "2026-10-05T12:00:00Z", "2026-10-05T12:01:00Z"),
        ("1w", "2026-10-07T12:00:00Z", "2026-10-05T00:00:00Z", "2026-10-12T00:00:00Z"),
        ("1M", "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("1d", "2026-10-05T00:00:00Z", "2026-10-05T00:00:00Z", "2026-10-06T00:00:00Z"),
    ],
)
def test_buckets_begin_where_the_calendar_says(name: str, moment: str, opening: str, following: str) -> None:
    interval = REST_INTERVALS[name]
    open_ns = interval.open_of(parse_time(moment))

    assert open_ns == parse_time(opening)
    assert interval.after(open_ns) == parse_time(following)
    assert interval.before(parse_time(following)) == open_ns


def test_the_day_is_rolling() -> None:
    made = world()
    market = made.markets["BTCUSDT"]

    day = made.day(market, START_NS)

    assert day.low < day.high
    assert day.coins == pytest.approx(market.bar(START_NS - DAY_NS, START_NS).coins)
