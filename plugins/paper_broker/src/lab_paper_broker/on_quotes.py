"""How an order meets quotes, depth and trades. The rules:

``quote``          at the touch, then level by level behind it: a market order, or a limit order that is marketable when
                   it arrives; the touch in force at its arrival, or the first one after it where none was fresh
``stop``           the same, once the touch reached the level of a stop, trailing stop or take-profit
``limit_touched``  a resting limit, once the opposite touch reached it: at the limit, as maker
``limit_traded``   a resting limit, once trades at its price used up the queue before it: at the limit, as maker
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from lab import Ended, Fill, Trade, Triggered
from lab.domain.money import as_decimal
from lab.ports import Amended

from lab_paper_broker.answers import ahead_by, offered_by
from lab_paper_broker.book import DisplayedBook
from lab_paper_broker.making import make, take
from lab_paper_broker.models import Liquidity, Queue
from lab_paper_broker.resting import Resting
from lab_paper_broker.terms import Terms

Report = Fill | Ended | Triggered | Amended
Reports = list[Report]
_ZERO: Final = Decimal(0)


def meet_book(
    resting: Resting,
    book: DisplayedBook,
    time_ns: int,
    terms: Terms,
    liquidity: Liquidity | None,
    queue: Queue | None,
    later: float,
    reports: Reports,
) -> None:
    """Let an order that has arrived meet the book as it is displayed. ``later`` is the touch after it, 0: unknown."""
    quote = book.quote
    assert quote is not None, "only a book with a quote is met"
    buys = resting.buys
    touch = quote[4] if buys else quote[2]
    rule = "quote"
    if resting.waits:
        if not _reached(resting, touch):
            return
        resting.waits = False
        reports.append(Triggered(resting.id, as_decimal(resting.level), as_decimal(touch)))
    if resting.order.stop is not None or resting.trails:
        rule = "stop"
    if resting.takes:
        _take_levels(resting, book, time_ns, terms, liquidity, rule, later, reports)
    else:
        marketable = touch <= resting.limit if buys else touch >= resting.limit
        if not marketable:
            resting.crosses = False
            if resting.ahead is None:
                _begin_to_rest(resting, book, queue)
            else:
                _move_up(resting, book)
        elif not resting.first and not resting.crosses:
            _make_at_touch(resting, book, time_ns, terms, liquidity, reports)
        elif resting.order.post_only:
            reports.append(would_take(resting, touch))
        else:
            resting.crosses = True
            _take_levels(resting, book, time_ns, terms, liquidity, rule, later, reports)
    if resting.immediate and resting.left and not resting.ended:
        resting.ended = True
        kind = resting.order.time_in_force
        reports.append(Ended(resting.id, "cancelled", f"{kind}: nothing more was displayed within its price"))
    resting.first = False


def would_take(resting: Resting, price: float) -> Ended:
    """End a post-only order that would take: rejected, or cancelled where a part filled before it was amended."""
    resting.ended = True
    reason = f"post_only: it would take at {as_decimal(price):f}"
    return Ended(resting.id, "cancelled" if resting.done else "rejected", reason)


def _reached(resting: Resting, touch: float) -> bool:
    """Return whether the touch reached the level that an order waits for."""
    if resting.trails:
        resting.follow(touch)
    return touch >= resting.level if resting.rises else touch <= resting.level


def _take_levels(
    resting: Resting,
    book: DisplayedBook,
    time_ns: int,
    terms: Terms,
    liquidity: Liquidity | None,
    rule: str,
    later: float,
    reports: Reports,
) -> None:
    """Take what is displayed, level by level, up to the order's limit."""
    buys, limit = resting.buys, resting.limit
    quote = book.quote
    assert quote is not None, "only a book with a quote is met"
    levels = book.levels(buys)
    if resting.whole and not _is_enough(resting, book, levels, terms, liquidity):
        return
    spread = as_decimal(quote[4]) - as_decimal(quote[2])
    for price, size in levels:
        if not resting.left or (limit and (price > limit if buys else price < limit)):
            return
        quantity, displayed = _available(resting, book, price, size, terms, liquidity)
        if not quantity:
            continue
        reference = as_decimal(price)
        best, worst = _band(resting, price, later)
        book.take(price, size, buys, quantity)
        typical = 0.0 if displayed is None else float(displayed)
        reports.append(
            take(resting, quantity, reference, spread, typical, rule, time_ns, terms, displayed, best, worst)
        )


def _band(resting: Resting, price: float, later: float) -> tuple[Decimal | None, Decimal | None]:
    """Return the touch it was decided on, where that was better, and the one that followed, where that was worse.

    What rested, or waited for its level, was decided on long before: it has no better one.
    """
    buys = resting.buys
    decided_at = resting.decided_at if resting.first and resting.order.stop is None and not resting.trails else 0.0
    best = worst = None
    if decided_at and (decided_at < price if buys else decided_at > price):
        best = as_decimal(decided_at)
    if later and (later > price if buys else later < price):
        worst = as_decimal(later)
    return best, worst


def _available(
    resting: Resting, book: DisplayedBook, price: float, size: float, terms: Terms, liquidity: Liquidity | None
) -> tuple[Decimal, Decimal | None]:
    """Return what an order gets of a level, on the lot, and what the level displayed before it.

    The last is ``None`` where that is not known, and where a model gives more than is displayed.
    """
    displayed = book.left(price, size, resting.buys)
    most = displayed if liquidity is None else offered_by(liquidity, resting.order, displayed)
    if most is None or most >= resting.left:
        quantity = resting.left
    else:
        quantity = terms.instrument.floor_quantity(most) if most > _ZERO else _ZERO
    if liquidity is not None and displayed is not None and quantity > displayed:
        displayed = None
    return quantity, displayed


def _is_enough(
    resting: Resting,
    book: DisplayedBook,
    levels: Sequence[tuple[float, float]],
    terms: Terms,
    liquidity: Liquidity | None,
) -> bool:
    """Return whether a fill-or-kill order fills whole."""
    found, buys, limit = _ZERO, resting.buys, resting.limit
    for price, size in levels:
        if limit and (price > limit if buys else price < limit):
            break
        found += _available(resting, book, price, size, terms, liquidity)[0]
    return found >= resting.left


def _make_at_touch(
    resting: Resting, book: DisplayedBook, time_ns: int, terms: Terms, liquidity: Liquidity | None, reports: Reports
) -> None:
    """Fill a resting limit that the opposite touch reached, with what is displayed there."""
    quote, buys = book.quote, resting.buys
    assert quote is not None, "only a book with a quote is met"
    price, size = book.levels(buys)[0]
    if price > resting.limit if buys else price < resting.limit:
        return  # a newer depth says that the touch is gone
    quantity, displayed = _available(resting, book, price, size, terms, liquidity)
    if quantity:
        book.take(price, size, buys, quantity)
        spread = as_decimal(quote[4]) - as_decimal(quote[2])
        reports.append(make(resting, quantity, spread, "limit_touched", time_ns, terms, displayed))


def _begin_to_rest(resting: Resting, book: DisplayedBook, queue: Queue | None) -> None:
    """Take a place in the queue: behind all that is displayed at the limit, once that is known."""
    displayed = book.displayed_at(resting.limit, resting.buys)
    if queue is not None:
        resting.ahead = ahead_by(queue, resting.order, displayed)
    else:
        resting.ahead = displayed or _ZERO
        resting.unseen = displayed is None
    resting.queue = None if resting.unseen else resting.ahead


def _move_up(resting: Resting, book: DisplayedBook) -> None:
    """Shorten the queue to what is displayed at the touch, where the order rests there: some before it have left.

    Where the level was never displayed before, all that is displayed now may have been there first.
    """
    quote, ahead = book.quote, resting.ahead
    assert quote is not None, "only a book with a quote is met"
    price, size = (quote[2], quote[3]) if resting.buys else (quote[4], quote[5])
    if price != resting.limit or not size:
        return
    if resting.unseen:
        resting.unseen = False
        resting.ahead = resting.queue = as_decimal(size)
    elif ahead and as_decimal(size) < ahead:
        resting.ahead = as_decimal(size)


def meet_trade(resting: Resting, trade: Trade, left: Decimal, terms: Terms, reports: Reports) -> Decimal:
    """Let a resting limit meet a trade of which ``left`` did not go to this run's orders; return what is left after it.

    A trade at the limit shortens the queue first, and says nothing while nobody knows how long that is; one beyond it
    says that the queue is gone. Only trades whose taker comes from the other side count.
    """
    ahead, limit, price = resting.ahead, resting.limit, trade.price
    if ahead is None or (price > limit if resting.buys else price < limit):
        return left
    if price == limit:
        if resting.unseen:
            return left
        used = min(ahead, left)
        resting.ahead = ahead - used
        offered = left - used
    else:
        resting.ahead = _ZERO
        resting.unseen = False
        offered = left
    quantity = resting.left if offered >= resting.left else terms.instrument.floor_quantity(offered)
    if quantity:
        reports.append(make(resting, quantity, None, "limit_traded", trade.time_ns, terms, as_decimal(trade.size)))
    return left - quantity
