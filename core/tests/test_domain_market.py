"""Market data is immutable, is made of rows as it comes, and what cannot be true is named."""

from typing import Any

import pytest
from lab.domain.market import (
    BACKFILLED,
    FINAL,
    Candle,
    Depth,
    Quote,
    Trade,
    candle_from_row,
    check_candle,
    check_depth,
    check_quote,
    check_trade,
    quote_from_row,
)
from lab.domain.orders import Side

CANDLE = Candle("BTCUSDT", 0, 60_000_000_000, 101.0, 103.0, 99.0, 100.0, 5.0)
QUOTE = Quote("BTCUSDT", 0, 99.9, 1.0, 100.1, 2.0)
TRADE = Trade("BTCUSDT", 0, 100.0, 0.5, Side.BUY)
DEPTH = Depth("BTCUSDT", 0, ((99.9, 1.0), (99.8, 4.0)), ((100.1, 2.0), (100.2, 3.0)))
NAN, INFINITE = float("nan"), float("inf")


def test_rows_become_candles_and_quotes() -> None:
    row = ("BTCUSDT", 0, 60_000_000_000, 101.0, 103.0, 99.0, 100.0, 5.0, BACKFILLED)
    assert candle_from_row(row) == Candle(*row)
    assert isinstance(candle_from_row(row), Candle)
    assert quote_from_row(tuple(QUOTE)) == QUOTE
    assert isinstance(quote_from_row(tuple(QUOTE)), Quote)


def test_a_candle_is_final_unless_said_otherwise_and_never_changes() -> None:
    assert CANDLE.status == FINAL
    with pytest.raises(AttributeError):
        CANDLE.close = 1.0  # type: ignore[misc]


def test_true_figures_pass() -> None:
    assert check_candle(CANDLE) is None
    assert check_quote(QUOTE) is None
    assert check_quote(QUOTE._replace(bid=100.1, bid_size=0.0)) is None
    assert check_trade(TRADE) is None
    assert check_depth(DEPTH) is None
    assert check_depth(DEPTH._replace(bids=())) is None
    assert check_depth(DEPTH._replace(asks=())) is None
    assert check_depth(DEPTH._replace(bids=(), asks=())) is None
    assert check_depth(DEPTH._replace(bids=((100.1, 1.0),))) is None


@pytest.mark.parametrize("open_", [98.0, 104.0])
def test_an_open_outside_the_range_is_not_wrong(open_: float) -> None:
    assert check_candle(CANDLE._replace(open=open_)) is None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"open": 0.0}, "open 0.0 is not a price"),
        ({"high": NAN}, "high nan is not a price"),
        ({"low": -1.0}, "low -1.0 is not a price"),
        ({"close": INFINITE}, "close inf is not a price"),
        ({"close": 98.0}, "close 98.0 outside [99.0, 103.0]"),
        ({"close": 104.0}, "close 104.0 outside [99.0, 103.0]"),
        ({"high": 98.0}, "high 98.0 is below low 99.0"),
        ({"open": -0.000021}, "open -0.000021 is not a price"),
        ({"open": 1e300}, "open 1e+300 is not a price"),
        ({"low": 0.00002125, "high": 0.00002122}, "high 0.00002122 is below low 0.00002125"),
        ({"low": 0.00002122, "high": 0.00002125, "close": 0.000022}, "close 0.000022 outside [0.00002122, 0.00002125]"),
        ({"volume": -1.0}, "volume -1.0 is not a volume"),
        ({"volume": NAN}, "volume nan is not a volume"),
    ],
)
def test_a_candle_that_cannot_be_is_described(change: dict[str, Any], complaint: str) -> None:
    assert check_candle(CANDLE._replace(**change)) == complaint


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"bid": 0.0}, "bid 0.0, ask 100.1: not prices"),
        ({"ask": NAN}, "bid 99.9, ask nan: not prices"),
        ({"bid": 100.2}, "bid 100.2 above ask 100.1"),
        ({"bid_size": -1.0}, "sizes -1.0, 2.0: not sizes"),
        ({"ask_size": INFINITE}, "sizes 1.0, inf: not sizes"),
    ],
)
def test_a_quote_that_cannot_be_is_described(change: dict[str, Any], complaint: str) -> None:
    assert check_quote(QUOTE._replace(**change)) == complaint


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"price": 0.0}, "price 0.0 is not a price"),
        ({"price": NAN}, "price nan is not a price"),
        ({"price": 1e15}, "price 1000000000000000.0 is not a price"),
        ({"size": 0.0}, "size 0.0 is not a size"),
        ({"size": INFINITE}, "size inf is not a size"),
    ],
)
def test_a_trade_that_cannot_be_is_described(change: dict[str, Any], complaint: str) -> None:
    assert check_trade(TRADE._replace(**change)) == complaint


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"bids": ((0.0, 1.0),)}, "bid level 0.0 × 1.0 is not a price and a size"),
        ({"bids": ((NAN, 1.0),)}, "bid level nan × 1.0 is not a price and a size"),
        ({"asks": ((100.1, -1.0),)}, "ask level 100.1 × -1.0 is not a price and a size"),
        ({"asks": ((100.1, 0.0),)}, "ask level 100.1 × 0.0 is not a price and a size"),
        ({"asks": ((100.1, NAN),)}, "ask level 100.1 × nan is not a price and a size"),
        ({"bids": ((99.9, 1.0), (99.9, 1.0))}, "bid level 99.9 does not lie beyond 99.9"),
        ({"bids": ((99.8, 1.0), (99.9, 1.0))}, "bid level 99.9 does not lie beyond 99.8"),
        ({"asks": ((100.2, 1.0), (100.1, 1.0))}, "ask level 100.1 does not lie beyond 100.2"),
        ({"bids": ((100.2, 1.0),)}, "bid 100.2 above ask 100.1"),
    ],
)
def test_depth_that_cannot_be_is_described(change: dict[str, Any], complaint: str) -> None:
    assert check_depth(DEPTH._replace(**change)) == complaint
