"""Stops, targets, trailing stops, brackets and groups on candles: what comes first inside one candle."""

import pytest
from lab import Fill, OrderType, Side, Triggered
from paper import BUY, SELL, D, at, broker, candle, order, seen, send

NARROW = {"high": 101.0, "low": 99.0, "close": 100.0}


def filled(reports: object) -> Fill:
    (fill,) = [one for one in reports if isinstance(one, Fill)]  # type: ignore[attr-defined]
    return fill


# -- one stop --------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O7")
@pytest.mark.parametrize(("side", "stop", "opened"), [(SELL, "95", 93.0), (BUY, "107", 108.0)])
def test_a_stop_whose_level_the_open_has_passed_fills_at_the_open(side: Side, stop: str, opened: float) -> None:
    paper = broker()
    send(paper, order(side, stop=stop))
    assert paper.observe(candle(0, **NARROW)) == []
    reports = paper.observe(candle(60_000, opened=opened))
    assert reports[0] == Triggered("o-1", D(f"{float(stop)}"), D(repr(opened)))
    fill = filled(reports)
    assert (fill.rule, fill.price, fill.time_ns) == ("stop_open", D(repr(opened)), at(60_000))


@pytest.mark.behaviour("O7")
@pytest.mark.parametrize(("side", "stop"), [(SELL, "90"), (BUY, "110")])
def test_a_stop_that_a_candle_reaches_later_fills_at_its_level_less_the_slippage(side: Side, stop: str) -> None:
    paper = broker(slippage_bps=D(10))
    send(paper, order(side, stop=stop))
    fill = filled(paper.observe(candle(0)))  # low 90, high 110: touched
    # 10 bps × (1 + 0.5/50): 0.0909 of 90, 0.1111 of 110, rounded to the tick against the trader
    assert (fill.rule, fill.price) == ("stop_level", D("89.9") if side is SELL else D("110.2"))
    assert (fill.reference, fill.time_ns) == (D(stop), at(60_000))
    assert fill.worst is None  # the close is better
    missed = broker()
    send(missed, order(side, stop="89.9" if side is SELL else "110.1"))
    assert missed.observe(candle(0)) == []


def test_the_band_of_a_stop_shows_a_close_beyond_its_level() -> None:
    for side, stop, close in ((SELL, "95", 92.0), (BUY, "105", 108.0)):
        paper = broker()
        send(paper, order(side, stop=stop))
        assert filled(paper.observe(candle(0, close=close))).worst == D(repr(close))


@pytest.mark.parametrize(("side", "stop", "close"), [(SELL, "99", 98.0), (BUY, "101", 102.0)])
def test_of_a_candle_under_way_at_the_arrival_only_the_close_triggers_a_stop(
    side: Side, stop: str, close: float
) -> None:
    paper = broker()
    send(paper, order(side, stop=stop))
    assert paper.observe(candle(-1, close=100.0)) == []
    fill = filled(paper.observe(candle(-1, close=close)))
    assert (fill.rule, fill.price) == ("stop_close", D(repr(close)))


@pytest.mark.parametrize(("side", "stop"), [(SELL, "108"), (BUY, "92")])
def test_a_take_profit_is_reached_from_the_other_side(side: Side, stop: str) -> None:
    paper = broker()
    send(paper, order(side, stop=stop, kind=OrderType.TAKE_PROFIT))
    assert paper.observe(candle(0, **NARROW)) == []
    assert filled(paper.observe(candle(60_000))).price == D(stop)


@pytest.mark.parametrize(("side", "stop", "limit", "opened"), [(SELL, "95", "94", 93.0), (BUY, "105", "106", 107.0)])
def test_a_stop_limit_gapped_through_rests_and_is_filled_when_a_candle_trades_through_its_limit(
    side: Side, stop: str, limit: str, opened: float
) -> None:
    paper = broker()
    send(paper, order(side, stop=stop, limit=limit))
    paper.observe(candle(0, **NARROW))
    gap = candle(60_000, opened=opened, high=opened + 0.5, low=opened - 0.5, close=opened)
    assert seen(paper, gap) == ["o-1 triggered"]
    fill = filled(paper.observe(candle(120_000, opened=opened)))
    assert (fill.price, fill.liquidity, fill.rule) == (D(limit), "maker", "candle_through")
    level = broker()
    send(level, order(side, stop=stop, limit=limit))
    assert filled(level.observe(candle(0))).price == D(stop)


def test_a_stop_without_volume_is_triggered_and_fills_at_the_next_open() -> None:
    paper = broker()
    send(paper, order(oid="o-0"), order(SELL, stop="95"))
    paper.observe(candle(0, volume=9.0, **NARROW))
    assert seen(paper, candle(60_000, volume=0.0)) == ["o-1 triggered"]
    assert seen(paper, candle(120_000, opened=97.0)) == ["o-1 fill 1 @ 97"]


# -- trailing --------------------------------------------------------------------------------------------------------


@pytest.mark.behaviour("O7")
@pytest.mark.parametrize("side", list(Side))
def test_a_trailing_stop_uses_what_it_knew_up_to_the_candle_before(side: Side) -> None:
    def mirrored(opened: float, high: float, low: float, close: float) -> dict[str, float]:
        if side is SELL:
            return {"opened": opened, "high": high, "low": low, "close": close}
        return {"opened": 200 - opened, "high": 200 - low, "low": 200 - high, "close": 200 - close}

    paper = broker()
    send(paper, order(side, trail="5"))
    # From the open of its first candle, 100: level 95, though this candle's high is 104.
    assert paper.observe(candle(0, **mirrored(100.0, 104.0, 95.5, 99.5))) == []
    # The high of 104 makes 99 now: the high of 108 within this one does not count yet.
    assert paper.observe(candle(60_000, **mirrored(100.0, 108.0, 99.5, 107.0))) == []
    reports = paper.observe(candle(120_000, **mirrored(106.0, 107.0, 102.0, 104.0)))  # 108 - 5
    level = D("103.0") if side is SELL else D("97.0")
    assert reports[0] == Triggered("o-1", level, level)
    assert filled(reports).price == level


def test_a_trailing_stop_that_arrives_in_a_candle_under_way_begins_at_its_close() -> None:
    paper = broker()
    send(paper, order(SELL, trail="5"))
    assert paper.observe(candle(-1, close=100.0)) == []  # neither the low of 90 nor the high of 110 counts
    assert paper.observe(candle(60_000, high=101.0, low=95.1, close=99.0)) == []
    assert filled(paper.observe(candle(120_000, high=101.0, low=96.0, close=99.0))).price == 96  # 101 - 5


def test_a_trailing_stop_whose_level_the_next_open_has_passed_fills_at_that_open() -> None:
    paper = broker()
    send(paper, order(SELL, trail="5"))
    paper.observe(candle(0, high=110.0, low=99.0, close=102.0))
    fill = filled(paper.observe(candle(60_000, opened=102.0)))
    assert (fill.rule, fill.price) == ("stop_open", 102)
