"""What an order would bind beside what an account binds already: the figures of the gate ``margin``."""

from decimal import Decimal
from typing import Final, NamedTuple

from lab import Order, OrderRequest, OrderType, Side, View
from lab.domain.ledger import ZERO
from lab.domain.money import as_decimal

# Python 3.11 looks an enum's member up in 90 ns. And compiled code reads a name that is Final at once, where it looks
# any other up in its module.
_BUY: Final = Side.BUY
_ZERO: Final = ZERO
_as_decimal: Final = as_decimal
_LIMIT: Final = OrderType.LIMIT
_MARKET: Final = OrderType.MARKET


class Load:
    """The load of an order: ``offset`` is the quantity that closes, ``bound`` the notional held beside it."""

    __slots__ = ("bound", "offset", "price")

    def __init__(self, price: Decimal, offset: Decimal, bound: Decimal) -> None:
        self.price = price
        self.offset = offset
        self.bound = bound


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

    With isolated margin the profit of a position is its own, and free is what cash is not bound. Raises ``LookupError``
    before the first price.
    """
    load = load_of(request, view)
    leverage, equity = view.leverage, view.equity
    money = equity if view.margin_mode == "cross" else view.cash
    # Multiplied by the leverage instead of divided: exact.
    room = fraction * (money * leverage - load.bound)
    opening = request.quantity - load.offset
    notional = view.notional(request.symbol, opening, load.price)
    return None if notional <= room else Excess(load, equity, leverage, opening, notional, room)


def load_of(request: OrderRequest, view: View) -> Load:
    """Return the order's price, the quantity it closes, and the notional that is bound beside it.

    Of a shared account the orders of all strategies count. With cross margin its positions net, so that an order which
    opens a position of one strategy may close another's; with isolated margin each is bound at its entry.
    """
    symbol = request.symbol
    price = order_price(request, view)
    cross = view.margin_mode == "cross"
    held = view.account_position(symbol) if cross else view.position(symbol)
    left, bound = held.quantity, _ZERO
    for order in view.account_orders():
        if not order.reduce_only:
            known = price if order.symbol == symbol else None
            bound += view.notional(order.symbol, order.remaining, _working_price(order, view, known))
        elif order.symbol == symbol and order.type is _MARKET:  # what rests may never fill, and yields when all is gone
            if order.strategy == view.strategy:
                left = max(left - order.remaining, _ZERO) if left > _ZERO else min(left + order.remaining, _ZERO)
            elif cross:  # beside another's position, what closes one may leave more
                left += order.remaining if order.side is _BUY else -order.remaining
    offset = min(abs(left), request.quantity) if left and (left > _ZERO) is not (request.side is _BUY) else _ZERO
    stays = abs(left) - offset
    if cross:
        for other, quantity, mark in view.account_held():
            if other != symbol:
                bound += view.notional(other, quantity, mark)
            elif (quantity > _ZERO) is (left > _ZERO):
                bound += view.notional(symbol, stays, mark)
                stays = _ZERO
        if stays:  # what closes turns the net position
            bound += view.notional(symbol, stays, _mark(symbol, left, view))
    else:
        bound += view.margin_in_use * view.leverage
        if held.quantity:
            bound -= abs(held.cost) * (1 - stays / abs(held.quantity))
    return Load(price, offset, bound)


def _mark(symbol: str, quantity: Decimal, view: View) -> Decimal:
    """Return what a quantity would be valued at: a long at the bid, a short at the ask, without quotes at the close."""
    quote = view.quote(symbol)
    return view.mark(symbol) if quote is None else Decimal(repr(quote.bid if quantity > _ZERO else quote.ask))


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
    return _as_decimal(quote.ask if request.side is _BUY else quote.bid)
