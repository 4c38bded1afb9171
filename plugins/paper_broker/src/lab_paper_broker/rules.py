"""The fill rules, pure: each returns the fill of one order at one price, or ``None`` where the price is not met.

``quote``          at the touch, a buy pays the ask, a sell gets the bid: a market order, or a limit order that is
                   marketable on its first fresh quote
``limit_touched``  a resting limit, once the opposite touch reached it: at the limit, as maker
``candle_open``    without quotes: at the open ± slippage, on a candle that opened after the order arrived
``candle_close``   without quotes: at the close ± slippage, on a candle that was under way when the order arrived
``candle_through`` a resting limit that a candle traded strictly through: at the limit, as maker
"""

from decimal import Decimal
from typing import Final

from lab import Candle, Fill, Instrument, Order, OrderType, Quote, Side

# Python 3.11 looks an enum's member up in 90 ns: too long for every order.
_BUY: Final = Side.BUY
_SELL: Final = Side.SELL
_LIMIT: Final = OrderType.LIMIT
_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)


class Terms:
    """What trading one instrument costs: rates and slippages as fractions."""

    __slots__ = ("instrument", "maker", "quote_slippage", "slippage", "taker")

    def __init__(
        self, instrument: Instrument, maker: Decimal, taker: Decimal, slippage: Decimal, quote_slippage: Decimal
    ) -> None:
        self.instrument = instrument
        self.maker = maker
        self.taker = taker
        self.slippage = slippage
        self.quote_slippage = quote_slippage


def market_on_quote(order: Order, quote: Quote, terms: Terms) -> Fill:
    """Fill a market order, or a limit found marketable, at the touch."""
    # repr gives a float's shortest text, which is what the venue wrote: the decimal is exact.
    bid, ask = Decimal(repr(quote[2])), Decimal(repr(quote[4]))
    touch = ask if order.side is _BUY else bid
    if terms.quote_slippage or touch % terms.instrument.tick:
        return _take(order, touch, ask - bid, terms.quote_slippage, "quote", quote[1], terms)
    quantity, rate = order.quantity, terms.taker
    return Fill(
        order.id, quantity, touch, touch * quantity * rate, rate, "taker", "quote", touch, ask - bid, _ZERO, quote[1]
    )


def limit_on_quote(order: Order, limit: float, first: bool, quote: Quote, terms: Terms) -> Fill | None:
    """Fill a limit order that the opposite touch reaches: taker on its ``first`` fresh quote, else maker."""
    if not (quote[4] <= limit if order.side is _BUY else quote[2] >= limit):
        return None
    if first:
        return market_on_quote(order, quote, terms)
    spread = Decimal(repr(quote[4])) - Decimal(repr(quote[2]))
    return _make(order, spread, "limit_touched", quote[1], terms)


def market_on_candle(order: Order, eligible_ns: int, candle: Candle, terms: Terms) -> Fill:
    """Fill a market order at the open of a candle that opened after its arrival, else at the close."""
    _, open_ns, time_ns, price, _, _, close, _, _ = candle
    if open_ns >= eligible_ns:
        rule, time_ns = "candle_open", open_ns
    else:
        price, rule = close, "candle_close"
    return _take(order, Decimal(repr(price)), None, terms.slippage, rule, time_ns, terms)


def limit_on_candle(
    order: Order, eligible_ns: int, limit: float, first: bool, candle: Candle, terms: Terms
) -> Fill | None:
    """Fill a limit order: as taker if marketable on its ``first`` fresh price, else only if traded strictly through."""
    buy = order.side is _BUY
    whole = candle.open_ns >= eligible_ns
    if first:
        price = candle.open if whole else candle.close
        if price <= limit if buy else price >= limit:
            return market_on_candle(order, eligible_ns, candle, terms)
    if whole and (candle.low < limit if buy else candle.high > limit):
        return _make(order, None, "candle_through", candle.time_ns, terms)
    return None


def _take(
    order: Order, reference: Decimal, spread: Decimal | None, slippage: Decimal, rule: str, time_ns: int, terms: Terms
) -> Fill:
    """Take liquidity at the reference price ± slippage, on the tick, never beyond the order's limit."""
    buys = order.side is _BUY
    instrument = terms.instrument
    if buys:
        price = instrument.worse_price(reference * (_ONE + slippage), _BUY)
    else:
        price = instrument.worse_price(reference * (_ONE - slippage), _SELL)
        if not price:
            price = instrument.tick  # a price of 0 is none: even the worst sale gets a tick
    limit = order.limit
    if limit is not None and order.type is _LIMIT:
        price = min(price, limit) if buys else max(price, limit)
    quantity, rate = order.quantity, terms.taker
    cost = price - reference if buys else reference - price
    return Fill(
        order.id, quantity, price, price * quantity * rate, rate, "taker", rule, reference, spread, cost, time_ns
    )


def _make(order: Order, spread: Decimal | None, rule: str, time_ns: int, terms: Terms) -> Fill:
    """Make liquidity: at the limit, without slippage."""
    quantity, rate, price = order.quantity, terms.maker, order.limit
    assert price is not None, f"{order.id} rests without a limit"  # submit refuses one
    return Fill(order.id, quantity, price, price * quantity * rate, rate, "maker", rule, price, spread, _ZERO, time_ns)
