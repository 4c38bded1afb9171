"""How an order meets candles, where there are no quotes. The rules:

``candle_open``    at the open ± slippage, of a candle that counts whole (`counts_whole`)
``candle_close``   at the close ± slippage, of any other candle that was under way at the arrival; a limit order at its
                   limit, because the candle does not say when the price passed it
``candle_through`` a resting limit that a candle traded strictly through: at the limit, as maker
``stop_open``      a stop whose level the candle had passed when it opened: at the open ± slippage
``stop_level``     a stop whose level the candle reached later: at the level ± slippage
``stop_close``     a stop that arrived while the candle was under way, and whose level the close has passed, or that was
                   passed already when its entry filled inside the candle

Where a candle cannot tell at what price an order met the market, `Terms.fills` chooses: ``expected`` takes the open,
``pessimistic`` the worse of open and close, ``optimistic`` the better one; only an ``optimistic`` limit fills on a
candle that touched it. An order whose entry filled inside the same candle meets what is certain to have come later;
where that is not certain, a ``pessimistic`` stop is reached and an ``optimistic`` target is.
"""

from decimal import Decimal
from typing import Final

from lab import Candle, Ended, Triggered
from lab.domain.money import as_decimal

from lab_paper_broker.making import make, take, take_at_limit
from lab_paper_broker.on_quotes import Reports, would_take
from lab_paper_broker.resting import AT_CLOSE, AT_OPEN, INSIDE, Resting
from lab_paper_broker.terms import Terms

# Where in the candle an order was filled: a number of `lab_paper_broker.resting`, 0 where it was not.
_NOWHERE: Final = 0
_as_decimal: Final = as_decimal  # compiled code reads a name that is Final at once, and looks any other up
_ZERO: Final = Decimal(0)


def counts_whole(resting: Resting, candle: Candle) -> bool:
    """Return whether all of a candle counts for an order's prices, its open, low and high included.

    It does where the candle opened at or after their arrival, and where it opened at or after the decision and they
    were on their way for less than the candle lasted: an order decided at a close meets the next candle's open.
    """
    open_ns, sent_ns, since_ns = candle[1], resting.sent_ns, resting.since_ns
    return open_ns >= since_ns or (open_ns >= sent_ns and since_ns - sent_ns < candle[2] - open_ns)


def is_quiet(resting: Resting, candle: Candle) -> bool:
    """Return whether nothing can happen to an order on a candle: what rests, or guards a position, far from its price.

    Nearly every candle is quiet for every order, so this costs a few comparisons.
    """
    if not resting.left:
        return True
    if resting.first or resting.crosses or resting.trails:
        return False
    if resting.takes and not resting.waits:
        return False
    price = resting.level if resting.waits else resting.limit
    if resting.rises if resting.waits else not resting.buys:
        return candle[4] < price and candle[3] < price  # the open may lie outside low and high
    return candle[5] > price and candle[3] > price


def meets_open(resting: Resting, candle: Candle) -> bool:
    """Return whether an order that works meets the open of a candle, and not what came after it."""
    if not resting.left:
        return False
    if not (resting.awake_at == AT_OPEN if resting.woke_in == candle[1] else counts_whole(resting, candle)):
        return False
    opened = candle[3]
    if resting.waits:
        return bool(resting.level) and (opened >= resting.level if resting.rises else opened <= resting.level)
    return resting.takes or (opened <= resting.limit if resting.buys else opened >= resting.limit)


def meet_candle(
    resting: Resting, candle: Candle, most: Decimal | None, typical: float, terms: Terms, reports: Reports
) -> int:
    """Let an order meet a candle; return where in it a fill was.

    ``most`` is what the candle's volume still gives, ``None`` where that is not known; ``typical`` the volume that a
    candle usually has, 0 where that is not known.
    """
    where = resting.awake_at if resting.woke_in == candle[1] else _NOWHERE
    if where == AT_CLOSE:
        return _NOWHERE
    inside = where == INSIDE
    whole = not inside and (where == AT_OPEN or counts_whole(resting, candle))
    quantity = resting.left
    if most is not None and most < quantity:
        quantity = terms.instrument.floor_quantity(most) if most > _ZERO else _ZERO
    found = _NOWHERE
    if resting.waits:
        found = _meet_level(resting, candle, whole, inside, quantity, typical, terms, reports)
    elif resting.takes:
        if quantity:
            found = _take(resting, candle, whole, quantity, typical, terms, reports)
    elif quantity or resting.first or resting.crosses:
        found = _meet_limit(resting, candle, whole, inside, quantity, typical, terms, reports)
    if resting.immediate and resting.left and not resting.ended:
        resting.ended = True
        kind = resting.order.time_in_force
        reports.append(Ended(resting.id, "cancelled", f"{kind}: nothing more was to be had within its price"))
    resting.first = False
    if resting.trails and resting.waits:
        extreme = candle[6] if not whole else candle[5] if resting.buys else candle[4]
        resting.follow(extreme)
    return found


def _take(
    resting: Resting,
    candle: Candle,
    whole: bool,
    quantity: Decimal,
    typical: float,
    terms: Terms,
    reports: Reports,
) -> int:
    """Fill a market order: at the open of a candle that counts whole, else at the close."""
    if resting.whole and quantity < resting.left:
        return _NOWHERE
    if not whole or not resting.first:
        # What is left of an order that took a candle's volume meets the next one as it comes: at its open, if whole.
        price = candle[6] if not whole else candle[3]
        rule, time_ns, where = (
            ("candle_close", candle[2], AT_CLOSE) if not whole else ("candle_open", candle[1], AT_OPEN)
        )
        reference = _as_decimal(price)
        reports.append(take(resting, quantity, reference, None, typical, rule, time_ns, terms))
        return where
    inside = _price_inside(resting.buys, candle, terms)
    reference = _as_decimal(inside)
    best, worst = _band(resting.buys, inside, candle)
    time_ns = max(candle[1], resting.eligible_ns)
    reports.append(take(resting, quantity, reference, None, typical, "candle_open", time_ns, terms, None, best, worst))
    return AT_OPEN


def _meet_level(
    resting: Resting,
    candle: Candle,
    whole: bool,
    inside: bool,
    quantity: Decimal,
    typical: float,
    terms: Terms,
    reports: Reports,
) -> int:
    """Trigger an order whose level a candle reached, and fill it at the worse of level and open."""
    opened, close = candle[3], candle[6]
    if resting.trails and not resting.best:
        resting.follow(opened if whole else close)
    level, rises = resting.level, resting.rises
    if whole and (opened >= level if rises else opened <= level):
        price, rule, where, time_ns = opened, "stop_open", AT_OPEN, max(candle[1], resting.eligible_ns)
    elif (whole and _touched(candle, level, rises)) or (inside and _reached_after(resting, candle, level, terms)):
        price, rule, where, time_ns = level, "stop_level", INSIDE, candle[2]
        if level < candle[5] if rises else level > candle[4]:  # passed before its entry filled
            price, rule, where = close, "stop_close", AT_CLOSE
    elif not whole and not inside and (close >= level if rises else close <= level):
        price, rule, where, time_ns = close, "stop_close", AT_CLOSE, candle[2]
    else:
        return _NOWHERE
    resting.waits = False
    reference = _as_decimal(price)
    reports.append(Triggered(resting.id, _as_decimal(level), reference))
    within = resting.takes or (price <= resting.limit if resting.buys else price >= resting.limit)
    if not within or not quantity:
        return _NOWHERE  # a stop-limit order rests from here on
    worst = _as_decimal(close) if (close > price if resting.buys else close < price) else None
    reports.append(take(resting, quantity, reference, None, typical, rule, time_ns, terms, None, None, worst))
    return where


def _meet_limit(
    resting: Resting,
    candle: Candle,
    whole: bool,
    inside: bool,
    quantity: Decimal,
    typical: float,
    terms: Terms,
    reports: Reports,
) -> int:
    """Fill a limit order: as taker if marketable on its first candle, else where a candle traded through it.

    It is filled better than its limit only where it was marketable at the open.
    """
    buys, limit = resting.buys, resting.limit
    price = candle[3] if whole else candle[6]
    marketable = price <= limit if buys else price >= limit
    if (resting.first or resting.crosses) and not inside and marketable:
        resting.crosses = True
        if resting.order.post_only:
            reports.append(would_take(resting, price))
            return _NOWHERE
        if not quantity or (resting.whole and quantity < resting.left):
            return _NOWHERE
        if not whole:
            reports.append(take_at_limit(resting, quantity, _as_decimal(price), "candle_close", candle[2], terms))
            return AT_CLOSE
        price = _price_inside(buys, candle, terms)
        price = min(price, limit) if buys else max(price, limit)
        time_ns = max(candle[1], resting.eligible_ns)
        reports.append(take(resting, quantity, _as_decimal(price), None, typical, "candle_open", time_ns, terms))
        return AT_OPEN
    resting.crosses = False
    if resting.immediate or not quantity:
        return _NOWHERE
    if inside:
        reached = _through(resting, candle, terms) and _reached_after(resting, candle, limit, terms)
    else:
        reached = whole and _through(resting, candle, terms)
    if not reached:
        return _NOWHERE
    time_ns, where = candle[2], INSIDE
    if resting.leaves:
        time_ns, where = max(candle[1], resting.eligible_ns), AT_OPEN
    reports.append(make(resting, quantity, None, "candle_through", time_ns, terms))
    return where


def _touched(candle: Candle, level: float, rises: bool) -> bool:
    return candle[4] >= level if rises else candle[5] <= level


def _through(resting: Resting, candle: Candle, terms: Terms) -> bool:
    """Return whether a candle traded through a limit; an ``optimistic`` one need only touch it."""
    extreme, limit = candle[5] if resting.buys else candle[4], resting.limit
    if resting.leaves:
        extreme = candle[3]
    if terms.fills == "optimistic" and extreme == limit:
        return True
    return extreme < limit if resting.buys else extreme > limit


def _reached_after(resting: Resting, candle: Candle, level: float, terms: Terms) -> bool:
    """Return whether a level was reached after the entry filled inside the candle.

    It was where the price went on in the direction in which it came to the entry, and where the close lies beyond the
    level. Otherwise the candle cannot tell: a stop is reached in pessimistic fills, a target in optimistic ones.
    """
    rises = resting.rises if resting.waits else not resting.buys
    if not _touched(candle, level, rises):
        return False
    if rises is resting.entry_rises or (candle[6] >= level if rises else candle[6] <= level):
        return True
    return terms.fills == ("pessimistic" if resting.waits else "optimistic")


def _price_inside(buys: bool, candle: Candle, terms: Terms) -> float:
    """Return the price that a taker is assumed to meet inside a candle that counts whole."""
    opened, close = candle[3], candle[6]
    if terms.fills == "expected":
        return opened
    higher = buys is (terms.fills == "pessimistic")
    return max(opened, close) if higher else min(opened, close)


def _band(buys: bool, price: float, candle: Candle) -> tuple[Decimal | None, Decimal | None]:
    """Return open or close where it would have been better than the price that is assumed, and where worse."""
    other = candle[6] if price == candle[3] else candle[3]
    if other == price:
        return None, None
    exact = _as_decimal(other)
    return (exact, None) if (other < price) is buys else (None, exact)
