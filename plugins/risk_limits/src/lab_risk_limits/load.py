"""What an order would bind beside what a book binds already: the figures of the gate ``margin``."""

from decimal import Decimal
from typing import Final, NamedTuple

from lab import Order, OrderRequest, OrderType, Side, View
from lab.domain.ledger import ZERO
from lab.domain.money import as_decimal

# Python 3.11 looks an enum's member up in 90 ns.
_BUY: Final = Side.BUY
_LIMIT: Final = OrderType.LIMIT
_MARKET: Final = OrderType.MARKET


class Load(NamedTuple):
    """The load of an order: ``offset`` is the quantity that closes, ``bound`` the notional held beside it."""

    price: Decimal
    offset: Decimal
    bound: Decimal


class Excess(NamedTuple):
    """How an order exceeds what is free: ``notional`` of the quantity that opens is more than ``room``."""

    load: Load
    equity: Decimal
    leverage: Decimal
    opening: Decimal
    notional: Decimal
    room: Decimal


def excess_of(request: OrderRequest, view: View, fraction: Decimal) -> Excess | None:
    """Return by how much an order exceeds a fraction of what is free; ``None`` where it fits.

    Raises ``LookupError`` before the first price.
    """
    load = load_of(request, view)
    leverage, equity = view.leverage, view.equity
    # Multiplied by the leverage instead of divided: exact.
    room = fraction * (equity * leverage - load.bound)
    opening = request.quantity - load.offset
    notional = view.notional(request.symbol, opening, load.price)
    return None if notional <= room else Excess(load, equity, leverage, opening, notional, room)


def load_of(request: OrderRequest, view: View) -> Load:
    """Return the order's price, the quantity it closes, and the notional that is bound beside it."""
    symbol = request.symbol
    price = order_price(request, view)
    held = view.position(symbol).quantity
    left, bound = abs(held), ZERO
    for order in view.orders():
        if not order.reduce_only:
            known = price if order.symbol == symbol else None
            bound += view.notional(order.symbol, order.remaining, _working_price(order, view, known))
        elif order.symbol == symbol and order.type is _MARKET:
            left -= min(left, order.remaining)  # what rests may never fill, and yields where the position is gone
    offset = min(left, request.quantity) if left and (held > ZERO) is not (request.side is _BUY) else ZERO
    for other, quantity, mark in view.held():
        bound += view.notional(other, left - offset if other == symbol else quantity, mark)
    return Load(price, offset, bound)


def _working_price(order: Order, view: View, price: Decimal | None) -> Decimal:
    """Return the price at which a working order counts: its limit, else the price now, or its stop where higher."""
    if order.limit is not None:
        return order.limit
    if price is None:
        price = view.mark(order.symbol)
    return price if order.stop is None else max(order.stop, price)


def order_price(request: OrderRequest, view: View) -> Decimal:
    """Return the price the order would fill at now: the touch, or its limit where that is not marketable.

    A stop counts at the worse of its level and the touch, the higher one: its notional is then the largest. Raises
    ``LookupError`` before the first price.
    """
    price = touch(request, view)
    if request.type is _LIMIT and request.limit is not None:
        return min(request.limit, price) if request.side is _BUY else max(request.limit, price)
    if request.stop is None:
        return price
    return max(price, request.stop, request.stop if request.limit is None else request.limit)


def touch(request: OrderRequest, view: View) -> Decimal:
    """Return what a market order of the request's side would fill at now: the ask for a buy, the bid for a sell.

    Without quotes the mark stands for it. Raises ``LookupError`` before the first price.
    """
    quote = view.quote(request.symbol)
    if quote is None:
        return view.mark(request.symbol)
    return as_decimal(quote.ask if request.side is _BUY else quote.bid)
