"""What the venue's margin rules say of an order before it is placed, whatever the gates would allow."""

from collections.abc import Mapping
from decimal import Decimal

from lab.domain.ledger import ZERO
from lab.domain.money import as_decimal
from lab.domain.orders import Side
from lab.engine.state import Book, Market


def margin_problem(
    book: Book, market: Market, side: Side, quantity: Decimal, *, closes: bool, netted: bool
) -> tuple[str, Mapping[str, str]] | None:
    """Return why the venue would not take an order, with the figures, or ``None``.

    It takes none in a symbol whose position it liquidates, and none that would make a position larger than the tiers
    allow at the run's leverage. All that works on the order's side counts as filled. With ``netted`` the position and
    the working orders are those of all books of the account. The mark is the touch, or the close.
    """
    symbol = market.symbol
    held = book.ledger.position(symbol).quantity
    if symbol in book.closing:
        return "the position is being liquidated", {"position": str(held)}
    most = market.notional_most
    value = market.mark(side is not Side.BUY)
    if closes or most is None or not value:
        return None
    after = quantity
    for one in book.account.books if netted else (book,):
        held = one.ledger.position(symbol).quantity
        after += held if side is Side.BUY else -held
        for open_ in one.orders.values():
            order = open_.order
            if order.symbol == symbol and order.side is side and not order.reduce_only:
                after += open_.remaining
    mark = as_decimal(value)
    notional = market.instrument.notional(after, mark)
    if after <= ZERO or notional <= most:
        return None
    figures = {"notional_after": notional, "notional_most": most, "position_after": after, "mark": mark}
    return "larger than the margin tiers allow at this leverage", {
        name: f"{one.normalize():f}" for name, one in figures.items()
    }
