"""Requests and events: immutable, and with a key where a thing can happen only once."""

from decimal import Decimal

import pytest
from lab.domain.events import (
    CandleIgnored,
    Deposited,
    EntriesHalted,
    Fill,
    GapFound,
    GateFailed,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    Signal,
    StrategyStopped,
)
from lab.domain.market import Candle
from lab.domain.orders import PASS, OrderRequest, OrderType, Pass, Side
from lab.journal.chain import key_of

ONE = Decimal(1)
REQUEST = OrderRequest.buy("BTCUSDT", ONE)
FILL = Fill("o", ONE, ONE, ONE, ONE, "taker", "simple", ONE, None, ONE, 0)


def test_buying_and_selling_have_short_names() -> None:
    assert OrderRequest("BTCUSDT", Side.BUY, ONE) == REQUEST
    limit = OrderRequest.sell("BTCUSDT", ONE, type=OrderType.LIMIT, limit=Decimal(9), reduce_only=True)
    assert (limit.side, limit.type, limit.limit, limit.reduce_only) == (Side.SELL, OrderType.LIMIT, Decimal(9), True)


def test_requests_and_verdicts_never_change() -> None:
    with pytest.raises(AttributeError):
        REQUEST.quantity = ONE  # type: ignore[misc]
    assert Pass() == PASS


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (
            OrderAccepted("o", "s", "BTCUSDT", Side.BUY, OrderType.MARKET, ONE, None, False, "", ONE, 0, 0),
            "order:o",
        ),
        (OrderRefused("o", "s", REQUEST, "margin", "too much", {}), "order:o"),
        (OrderFilled("o.1", "s", "BTCUSDT", Side.BUY, ONE, ONE, FILL, ()), "fill:o.1"),
        (OrderEnded("o", "s", "BTCUSDT", "expired", "late", ONE), "end:o"),
        (Candle("BTCUSDT", 60, 120, 1.0, 1.0, 1.0, 1.0, 1.0), "candle:BTCUSDT:60"),
        (Deposited("s", ONE, ()), "deposit:s"),
        (StrategyStopped("s", "ValueError: no"), "stopped:s"),
        (GateFailed("margin", "on_fill", "ValueError: no"), "failed:margin"),
        (EntriesHalted("sma", "max_daily_loss", "enough"), "halted:sma:max_daily_loss"),
    ],
)
def test_what_happens_once_has_a_key(event: object, key: str) -> None:
    assert key_of(event) == key


@pytest.mark.parametrize(
    "event",
    [
        OrderRefused("o", "s", REQUEST, "duplicate", "sent before", {}),
        Signal("s", REQUEST, "no_orders"),
        CandleIgnored("BTCUSDT", 0, "differs"),
        GapFound("BTCUSDT", 0, 60, 2),
    ],
)
def test_what_may_happen_again_has_none(event: object) -> None:
    assert key_of(event) is None
