"""The engine's own rules for requests: what no broker is asked to do. Each returns a reason with its figures."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from lab.domain.instrument import Instrument
from lab.domain.ledger import ZERO
from lab.domain.money import as_decimal
from lab.domain.orders import Feature, OrderRequest, OrderType, Side, TimeInForce
from lab.engine.bound_broker import BoundBroker
from lab.engine.state import Market

Numbers = Mapping[str, str]
Problem = tuple[str, Numbers]
Fields = tuple[Any, ...]
"""All fields of a request, in their order."""

# Python 3.11 looks an enum's member up in 90 ns: too long for every order.
_MARKET: Final = OrderType.MARKET
_LIMITED: Final = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_STOPPED: Final = (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT)
_TRAILING: Final = OrderType.TRAILING_STOP
TRIGGERED_TYPES: Final = (*_STOPPED, _TRAILING)
"""The types that fill only once the price has reached a level."""
_AT_ONCE: Final = (OrderType.MARKET, OrderType.LIMIT)
_BUY: Final = Side.BUY
_GTC: Final = TimeInForce.GTC
_IMMEDIATE: Final = (TimeInForce.IOC, TimeInForce.FOK)


def is_plain(fields: Fields) -> bool:
    """Return whether a request is a market order without anything beside its quantity."""
    (
        _, _, _, kind, limit, _, _, _, _, stop, trail, stop_loss, take_profit, post_only, time_in_force, expires_ns,
        group,
    ) = fields  # fmt: skip
    return (
        kind is _MARKET
        and limit is None
        and stop is None
        and trail is None
        and stop_loss is None
        and take_profit is None
        and time_in_force is _GTC
        and expires_ns is None
        and not post_only
        and not group
    )


def quantity_problem(instrument: Instrument, request: OrderRequest, quantity: Decimal, held: Decimal) -> Problem | None:
    """Return why the instrument forbids a quantity; ``quantity`` is what lot and reduce-only left of the request."""
    if quantity < instrument.quantity_min or not quantity:
        if request.quantity <= ZERO:
            return "the quantity must be above 0", {"quantity": str(request.quantity)}
        if request.reduce_only and quantity <= ZERO:
            adds = held > ZERO if request.side is _BUY else held < ZERO
            why = "a reduce-only order may not add to the position" if adds else "nothing left to reduce"
            return why, {"position": str(held), "quantity": str(request.quantity)}
        if quantity <= ZERO or quantity != held.copy_abs():
            return "below the minimum quantity", {
                "quantity": str(request.quantity),
                "floored_to_lot": str(quantity),
                "quantity_min": str(instrument.quantity_min),
                "lot": str(instrument.lot),
            }
    most = instrument.quantity_max
    if most is not None and quantity > most:
        return "above the maximum quantity", {"quantity": str(quantity), "quantity_max": str(most)}
    return None


def terms_problem(market: Market, request: OrderRequest, broker: BoundBroker, now_ns: int) -> Problem | None:
    """Return why type, prices, time in force or features of a request do not fit together or the broker."""
    kind = request.type
    if kind not in broker.types:
        can = ", ".join(sorted(broker.types)) or "none"
        return f"broker {broker.name} takes no {kind} orders; it takes {can}", {"type": kind.value}
    instrument = market.instrument
    for name, wanted in (("limit", kind in _LIMITED), ("stop", kind in _STOPPED), ("trail", kind is _TRAILING)):
        problem = _price_problem(name, wanted, getattr(request, name), request, instrument)
        if problem is not None:
            return problem
    problem = _time_problem(request, now_ns)
    if problem is None and request.post_only and (kind is not OrderType.LIMIT or request.time_in_force in _IMMEDIATE):
        problem = "post_only is for limit orders that may rest", {
            "type": kind.value, "time_in_force": request.time_in_force.value
        }  # fmt: skip
    if problem is None:
        problem = bracket_problem(market, request)
    return _feature_problem(request, broker) if problem is None else problem


def _price_problem(
    name: str, wanted: bool, value: Decimal | None, request: OrderRequest, instrument: Instrument
) -> Problem | None:
    kind = request.type
    if not wanted:
        if value is None:
            return None
        return f"a {kind} order takes no {name}", {"type": kind.value, name: str(value)}
    price = None
    if value is not None:
        price = on_tick(name, value, request.side, instrument)
    if price is None or price <= ZERO:
        return f"a {kind} order needs a {name} above 0", {name: str(value), "tick": str(instrument.tick)}
    return None


def on_tick(name: str, price: Decimal, side: Side, instrument: Instrument) -> Decimal:
    """Return an order's price on the tick.

    A limit and the price of a take-profit are no worse for their owner; a stop is reached sooner, so that no more is
    lost than was planned: all three lie lower for a buy and higher for a sell. A trailing distance is no longer.
    """
    if name == "trail":
        return price // instrument.tick * instrument.tick
    return instrument.passive_price(price, side)


def _time_problem(request: OrderRequest, now_ns: int) -> Problem | None:
    time_in_force, expires_ns = request.time_in_force, request.expires_ns
    if time_in_force in _IMMEDIATE and request.type not in _AT_ONCE:
        return f"{time_in_force} is for market and limit orders", {"type": request.type.value}
    if time_in_force is not TimeInForce.GTD:
        if expires_ns is None:
            return None
        return f"a {time_in_force} order does not expire; use TimeInForce.GTD", {"expires_ns": str(expires_ns)}
    if expires_ns is None or expires_ns <= now_ns:
        return "a gtd order needs expires_ns later than now", {"expires_ns": str(expires_ns), "now_ns": str(now_ns)}
    return None


def bracket_problem(market: Market, request: OrderRequest) -> Problem | None:
    """Return why a stop loss or target does not stand on its side of the price at which the order would fill.

    A limit that is marketable fills between the touch and its limit: its stop is held against the one, its target
    against the other.
    """
    stop_loss, take_profit = request.stop_loss, request.take_profit
    if stop_loss is None and take_profit is None:
        return None
    if request.reduce_only:
        return "an order that only reduces has no stop_loss and no take_profit", {
            "stop_loss": str(stop_loss), "take_profit": str(take_profit)
        }  # fmt: skip
    buys, instrument = request.side is _BUY, market.instrument
    closing = Side.SELL if buys else _BUY
    entry = request.limit if request.limit is not None else request.stop
    touch = _touch(market, buys)
    own = best = touch if entry is None else instrument.passive_price(entry, request.side)
    if request.type is OrderType.LIMIT and own is not None and touch is not None:
        best = min(own, touch) if buys else max(own, touch)
    for name, level, above, price in (
        ("stop_loss", stop_loss, not buys, best), ("take_profit", take_profit, buys, own),
    ):  # fmt: skip
        if level is None:
            continue
        placed = instrument.passive_price(level, closing)
        sound = placed > ZERO and (price is None or (placed > price if above else placed < price))
        if not sound:
            where = "above" if above else "below"
            return f"the {name} of a {request.side} lies {where} its price, and above 0", {
                name: str(level), "price": str(price), "tick": str(instrument.tick)
            }  # fmt: skip
    return None


def _touch(market: Market, buys: bool) -> Decimal | None:
    price = market.mark(not buys)  # a buy pays the ask, which a short is valued at
    return as_decimal(price) if price else None


def _feature_problem(request: OrderRequest, broker: BoundBroker) -> Problem | None:
    time_in_force = request.time_in_force
    wanted = [Feature(time_in_force.value)] if time_in_force is not _GTC else []
    if request.post_only:
        wanted.append(Feature.POST_ONLY)
    if request.group:
        wanted.append(Feature.GROUP)
    if request.stop_loss is not None or request.take_profit is not None:
        wanted.append(Feature.BRACKET)
        needed = (OrderType.STOP, request.stop_loss), (OrderType.LIMIT, request.take_profit)
        for kind, price in needed:
            if price is not None and kind not in broker.types:
                can = ", ".join(sorted(broker.types)) or "none"
                return f"broker {broker.name} takes no {kind} orders; it takes {can}", {"type": kind.value}
    missing = [one for one in wanted if one not in broker.features]
    if not missing:
        return None
    can = ", ".join(sorted(broker.features)) or "none"
    return f"broker {broker.name} cannot do {', '.join(missing)}; it can do {can}", {"missing": ", ".join(missing)}
