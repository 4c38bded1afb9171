"""How much to order: helpers for strategies. Each returns a quantity on the lot that is over no limit, or 0.

The limits are the instrument's largest order and the notional that the account's equity carries:
``equity × leverage``, or ``most_notional`` where that is less. A quantity below the instrument's minimum is 0.

Of a linear contract a quantity is coins, and money the quote currency; of an inverse one contracts, and coins.
"""

from decimal import ROUND_FLOOR, Decimal, localcontext
from typing import Final

from lab.domain.instrument import Instrument
from lab.domain.ledger import EXACT_DIGITS, ZERO
from lab.domain.money import as_decimal
from lab.domain.orders import Side
from lab.engine.view import View

_ONE: Final = Decimal(1)


def size_fixed(view: View, symbol: str, quantity: Decimal, *, most_notional: Decimal | None = None) -> Decimal:
    """Return a fixed quantity, less where a limit demands it."""
    return _within_limits(view, symbol, quantity, _price(view, symbol, Side.BUY), most_notional)


def size_by_equity(
    view: View, symbol: str, side: Side, fraction: Decimal, *, most_notional: Decimal | None = None
) -> Decimal:
    """Return the quantity whose notional is a fraction of the account's equity; 1 is all of it."""
    price = _price(view, symbol, side)
    with localcontext(prec=EXACT_DIGITS):
        wanted = view.equity * fraction / view.instrument(symbol).notional(_ONE, price)
    return _within_limits(view, symbol, wanted, price, most_notional)


def size_by_risk(
    view: View,
    symbol: str,
    side: Side,
    fraction: Decimal,
    stop: Decimal,
    *,
    slippage: Decimal = ZERO,
    fee_rate: Decimal | None = None,
    most_notional: Decimal | None = None,
) -> Decimal:
    """Return the quantity that loses a fraction of the account's equity when it is stopped out, costs included.

    Lost are the way from the price it would fill at now to the stop, ``slippage`` (a fraction) and up to a tick at both
    ends, and the fee for both (the instrument's taker rate where no ``fee_rate`` is given). A stop that is not on the
    losing side of the price raises ``ValueError``.
    """
    price = _price(view, symbol, side)
    loss = loss_per_unit(view.instrument(symbol), side, price, stop, slippage, fee_rate)
    with localcontext(prec=EXACT_DIGITS):
        return _within_limits(view, symbol, view.equity * fraction / loss, price, most_notional)


def size_by_volatility(
    view: View, symbol: str, side: Side, fraction: Decimal, move: Decimal, *, most_notional: Decimal | None = None
) -> Decimal:
    """Return the quantity that loses a fraction of the account's equity on a move of the price against it.

    ``move`` is in the quote currency, such as an average true range; 0 or less raises ``ValueError``, and so does one
    that would take the price of an inverse contract to 0.
    """
    price, instrument = _price(view, symbol, side), view.instrument(symbol)
    moved = price - move if side is Side.BUY else price + move
    if not move > ZERO or (instrument.contract == "inverse" and not moved > ZERO):
        raise ValueError(
            f"move is {move}; expected more than 0, and less than the price {price} of an inverse contract"
        )
    with localcontext(prec=EXACT_DIGITS):
        loss = move if instrument.contract == "linear" else abs(instrument.worth(price) - instrument.worth(moved))
        wanted = view.equity * fraction / loss
    return _within_limits(view, symbol, wanted, price, most_notional)


def loss_per_unit(
    instrument: Instrument,
    side: Side,
    price: Decimal,
    stop: Decimal,
    slippage: Decimal = ZERO,
    fee_rate: Decimal | None = None,
) -> Decimal:
    """Return what a coin, or an inverse contract, loses between a price and a stop.

    With slippage, ticks and fees, as `size_by_risk` says.
    """
    buys = side is Side.BUY
    if not stop > ZERO or (stop >= price if buys else stop <= price):
        where = "below" if buys else "above"
        raise ValueError(f"stop is {stop}; expected a price {where} {price}, where a {side} would be stopped out")
    rate = instrument.taker_fee_rate if fee_rate is None else fee_rate
    out = Side.SELL if buys else Side.BUY
    away = slippage if buys else -slippage
    with localcontext(prec=EXACT_DIGITS):
        entered = instrument.worse_price(price * (_ONE + away), side)
        left = instrument.worse_price(instrument.passive_price(stop, out) * (_ONE - away), out)
        lost = abs(instrument.worth(entered) - instrument.worth(left))
        return lost + (instrument.notional(_ONE, entered) + instrument.notional(_ONE, left)) * rate


def _price(view: View, symbol: str, side: Side) -> Decimal:
    """Return the price an order would fill at now: the touch, or the close where there are no quotes."""
    quote = view.quote(symbol)
    if quote is None:
        return view.mark(symbol)
    return as_decimal(quote.ask if side is Side.BUY else quote.bid)


def _within_limits(view: View, symbol: str, wanted: Decimal, price: Decimal, most_notional: Decimal | None) -> Decimal:
    instrument = view.instrument(symbol)
    carries = view.equity * view.leverage
    notional = carries if most_notional is None else min(carries, most_notional)
    if not wanted > ZERO or not notional > ZERO:
        return ZERO
    with localcontext(prec=EXACT_DIGITS, rounding=ROUND_FLOOR):
        quantity = min(wanted, notional / instrument.notional(_ONE, price))
    if instrument.quantity_max is not None:
        quantity = min(quantity, instrument.quantity_max)
    floored = instrument.floor_quantity(quantity)
    return floored if floored >= instrument.quantity_min else ZERO
