"""The fill rules, pure: each returns the fill of one order at one price, or ``None`` where the price is not met.

``quote``          at the touch, a buy pays the ask, a sell gets the bid: a market order, or a limit order that is
                   marketable on its first fresh quote
``limit_touched``  a resting limit, once the opposite touch reached it: at the limit, as maker
``candle_open``    without quotes: at the open ± slippage, of a candle that counts whole (`counts_whole`)
``candle_close``   without quotes: at the close ± slippage, of any other candle that was under way at the arrival;
                   a limit order at its limit, because the candle does not say when the price passed it
``candle_through`` a resting limit that a candle traded strictly through: at the limit, as maker

Where a candle cannot tell at what price an order met the market, `Terms.fills` chooses: ``expected`` takes the open,
``pessimistic`` the worse of open and close, ``optimistic`` the better one; and only an ``optimistic`` limit fills on a
candle that touched it.
"""

from decimal import Decimal
from typing import Final

from lab import Candle, Fill, Instrument, Order, OrderType, Quote, Side
from lab.domain.money import as_decimal

# Python 3.11 looks an enum's member up in 90 ns: too long for every order.
_BUY: Final = Side.BUY
_SELL: Final = Side.SELL
_LIMIT: Final = OrderType.LIMIT
_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)


class Terms:
    """What trading one instrument costs: rates and slippages as fractions; and which ``fills`` are assumed."""

    __slots__ = ("fills", "instrument", "maker", "quote_slippage", "slippage", "taker")

    def __init__(
        self,
        instrument: Instrument,
        maker: Decimal,
        taker: Decimal,
        slippage: Decimal,
        quote_slippage: Decimal,
        fills: str = "expected",
    ) -> None:
        self.fills = fills
        self.instrument = instrument
        self.maker = maker
        self.taker = taker
        self.slippage = slippage
        self.quote_slippage = quote_slippage


def market_on_quote(order: Order, quote: Quote, terms: Terms) -> Fill:
    """Fill a market order, or a limit found marketable, at the touch."""
    bid, ask = as_decimal(quote[2]), as_decimal(quote[4])
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
    spread = as_decimal(quote[4]) - as_decimal(quote[2])
    return _make(order, spread, "limit_touched", quote[1], terms)


def counts_whole(order: Order, eligible_ns: int, candle: Candle) -> bool:
    """Return whether all of a candle counts for an order, its open, low and high included.

    It does where the candle opened at or after the order's arrival, and where it opened at or after the decision and
    the order was on its way for less than the candle lasted: an order decided at a close meets the next candle's open.
    """
    open_ns = candle[1]
    if open_ns >= eligible_ns:
        return True
    return open_ns >= order.placed_ns and eligible_ns - order.placed_ns < candle[2] - open_ns


def market_on_candle(order: Order, eligible_ns: int, candle: Candle, terms: Terms) -> Fill:
    """Fill a market order: at the open of a candle that counts whole, else at the close."""
    if counts_whole(order, eligible_ns, candle):
        price = _price_inside(order, candle, terms)
        return _take(order, as_decimal(price), None, terms.slippage, "candle_open", max(candle[1], eligible_ns), terms)
    return _take(order, as_decimal(candle[6]), None, terms.slippage, "candle_close", candle[2], terms)


def limit_on_candle(
    order: Order, eligible_ns: int, limit: float, first: bool, candle: Candle, terms: Terms
) -> Fill | None:
    """Fill a limit order: as taker if marketable on its ``first`` candle, else where a candle traded through it.

    It is filled better than its limit only where it was marketable at the open.
    """
    buy = order.side is _BUY
    whole = counts_whole(order, eligible_ns, candle)
    price = candle.open if whole else candle.close
    if first and (price <= limit if buy else price >= limit):
        if not whole:
            return _at_limit(order, as_decimal(price), candle.time_ns, terms)
        price = _price_inside(order, candle, terms)
        price = min(price, limit) if buy else max(price, limit)
        return _take(
            order, as_decimal(price), None, terms.slippage, "candle_open", max(candle.open_ns, eligible_ns), terms
        )
    if not whole:
        return None
    reached = candle.low < limit if buy else candle.high > limit
    if not reached and terms.fills == "optimistic":
        reached = candle.low == limit if buy else candle.high == limit
    return _make(order, None, "candle_through", candle.time_ns, terms) if reached else None


def _price_inside(order: Order, candle: Candle, terms: Terms) -> float:
    """Return the price that a taker is assumed to meet inside a candle that counts whole."""
    opened, close = candle[3], candle[6]
    if terms.fills == "expected":
        return opened
    higher = (order.side is _BUY) is (terms.fills == "pessimistic")
    return max(opened, close) if higher else min(opened, close)


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
        order.id,
        quantity,
        price,
        instrument.notional(quantity, price) * rate,
        rate,
        "taker",
        rule,
        reference,
        spread,
        cost,
        time_ns,
    )


def _at_limit(order: Order, reference: Decimal, time_ns: int, terms: Terms) -> Fill:
    """Take liquidity at the limit itself, though the reference price is better."""
    quantity, rate, price = order.quantity, terms.taker, order.limit
    assert price is not None, f"{order.id} has no limit"  # submit refuses one
    lost = abs(price - reference)
    fee = terms.instrument.notional(quantity, price) * rate
    return Fill(order.id, quantity, price, fee, rate, "taker", "candle_close", reference, None, lost, time_ns)


def _make(order: Order, spread: Decimal | None, rule: str, time_ns: int, terms: Terms) -> Fill:
    """Make liquidity: at the limit, without slippage."""
    quantity, rate, price = order.quantity, terms.maker, order.limit
    assert price is not None, f"{order.id} rests without a limit"  # submit refuses one
    fee = terms.instrument.notional(quantity, price) * rate
    return Fill(order.id, quantity, price, fee, rate, "maker", rule, price, spread, _ZERO, time_ns)
