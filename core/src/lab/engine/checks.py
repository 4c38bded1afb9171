"""Checks the values that components return, once, by class and by bounds.

A value of another class is refused, never taken for something else: a side as text would compare equal to a side and
still not be one. Each check raises ``TypeError`` or ``ValueError`` naming the field, what it is and what was expected.

What is checked is ``Any`` here: a compiled module would otherwise check a declared class itself, in its own words.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any, Final

from msgspec.structs import astuple

from lab.domain.events import Fill
from lab.domain.ledger import ZERO
from lab.domain.orders import (
    PRICE_FIELDS,
    Accepted,
    Amended,
    AmendRequest,
    CancelRequest,
    Ended,
    OrderRequest,
    OrderType,
    Rejected,
    Side,
    TimeInForce,
    Triggered,
)
from lab.engine.protocols import Action, describe_value
from lab.errors import text_of

_AT_ONCE: Final = 100
_MOST: Final = Decimal(10**15)
_LEAST: Final = Decimal(-(10**15))
_FEE_MOST: Final = Decimal(10**30)
_FEE_LEAST: Final = Decimal(-(10**30))
_ONE: Final = Decimal(1)
_MINUS_ONE: Final = -_ONE
_TEXT_MOST: Final = 500
_NUMBERS_MOST: Final = 20
_LONG_FIGURE: Final = 40
_LEG: Final = re.compile(r"[A-Za-z0-9_.:+-]{1,32}").fullmatch
_LEGS: Final = frozenset({"entry", "exit"})  # the usual ones, which no pattern need look at
_TYPES: Final = tuple(OrderType)
_GTC: Final = TimeInForce.GTC
# Compiled code reads a name that is Final at once, where it looks any other up in its module.
_ACCEPTED: Final = Accepted
_DECIMAL: Final = Decimal
_FILL: Final = Fill
_REQUEST: Final = OrderRequest
_SIDE: Final = Side
_TIME_IN_FORCE: Final = TimeInForce
_TYPE: Final = OrderType
_astuple: Final = astuple
_ENDS: Final = frozenset({"expired", "rejected", "cancelled"})


def validated_actions(actions: Iterable[object]) -> list[Action]:
    """Exhaust and validate a decision's actions before acting on any, so that one that raises leaves none behind."""
    try:
        taken: list[Any] = list(islice(actions, _AT_ONCE + 1))
    except TypeError:
        if isinstance(actions, Iterable):  # it failed while it gave them
            raise
        what = type(actions).__name__
        raise TypeError(f"a decision is {what}; expected a list or tuple of requests: return [request]") from None
    if len(taken) > _AT_ONCE:
        raise ValueError(f"more than {_AT_ONCE} requests in one decision")
    for action in taken:
        if type(action) is _REQUEST:
            _check_request(action)
        elif type(action) is CancelRequest:
            _check_texts("CancelRequest", action, "order_id", "reason")
        elif type(action) is AmendRequest:
            _check_amendment(action)
        else:
            raise TypeError(
                f"a strategy gives OrderRequest, CancelRequest or AmendRequest, not {type(action).__name__}"
            )
    return taken


def _check_amendment(request: Any) -> None:
    _check_texts("AmendRequest", request, "order_id", "reason")
    for name in ("quantity", "limit", "stop"):
        value = getattr(request, name)
        if value is not None:
            _check_amount("AmendRequest", name, value)


def _check_request(request: Any) -> None:
    """Check every field; nearly every request is sound, which takes one expression."""
    # All fields in one call: a look-up of each costs twice as much.
    (
        symbol, side, quantity, kind, limit, reduce_only, reason, leg, decided_ns,
        stop, trail, stop_loss, take_profit, post_only, time_in_force, expires_ns, group,
    ) = _astuple(request)  # fmt: skip
    try:
        if (
            type(side) is _SIDE
            and type(kind) is _TYPE
            and type(reduce_only) is bool
            and type(post_only) is bool
            and type(time_in_force) is _TIME_IN_FORCE
            and type(symbol) is type(leg) is type(reason) is type(group) is str
            and symbol.isascii()
            and len(symbol) <= _TEXT_MOST
            and reason.isascii()
            and len(reason) <= _TEXT_MOST
            and (not leg or leg in _LEGS or _LEG(leg))
            and (not group or _LEG(group))
            and type(quantity) is _DECIMAL
            and _LEAST < quantity < _MOST
            and decided_ns is None
            and expires_ns is None
            and (limit is None or (type(limit) is _DECIMAL and _LEAST < limit < _MOST))
            and (stop is None or (type(stop) is _DECIMAL and _LEAST < stop < _MOST))
            and (trail is None or (type(trail) is _DECIMAL and _LEAST < trail < _MOST))
            and (stop_loss is None or (type(stop_loss) is _DECIMAL and _LEAST < stop_loss < _MOST))
            and (take_profit is None or (type(take_profit) is _DECIMAL and _LEAST < take_profit < _MOST))
        ):
            return
    except InvalidOperation:
        pass  # a NaN is neither above nor below anything
    _check_each_field(request)


def _check_each_field(request: Any) -> None:
    """Raise for the first field that is wrong."""
    if type(request.side) is not Side:
        raise TypeError(f"OrderRequest.side is {request.side!r:.60}; expected Side.BUY or Side.SELL")
    if type(request.type) is not OrderType:
        known = ", ".join(f"OrderType.{one.name}" for one in _TYPES)
        raise TypeError(f"OrderRequest.type is {request.type!r:.60}; expected one of {known}")
    for name in ("reduce_only", "post_only"):
        value = getattr(request, name)
        if type(value) is not bool:
            raise TypeError(f"OrderRequest.{name} is {value!r:.60}; expected True or False")
    if type(request.time_in_force) is not TimeInForce:
        known = ", ".join(f"TimeInForce.{one.name}" for one in TimeInForce)
        raise TypeError(f"OrderRequest.time_in_force is {request.time_in_force!r:.60}; expected one of {known}")
    _check_text("OrderRequest.symbol", request.symbol)
    _check_text("OrderRequest.reason", request.reason)
    for name in ("leg", "group"):
        value = getattr(request, name)
        if type(value) is not str or (value and not _LEG(value)):
            raise TypeError(f"OrderRequest.{name} is {value!r:.60}; expected 1 to 32 letters, digits or _ . : + -")
    _check_amount("OrderRequest", "quantity", request.quantity)
    for name in PRICE_FIELDS:
        price = getattr(request, name)
        if price is not None:
            _check_amount("OrderRequest", name, price)
    for name in ("decided_ns", "expires_ns"):
        value = getattr(request, name)
        if value is not None and (type(value) is not int or not 0 <= value < 2**63):
            raise TypeError(f"OrderRequest.{name} is {value!r:.60}; expected nanoseconds as int, or None")


def _check_amount(owner: str, name: str, value: object) -> None:
    """Refuse a figure that is not exact money: a float or a NaN would otherwise be noticed only after it did harm."""
    if type(value) is not Decimal or not value.is_finite():
        raise TypeError(f"{owner}.{name} is {value!r:.60}; expected a finite Decimal{_as_exact(value)}")
    if not _LEAST < value < _MOST:
        raise ValueError(f"{owner}.{name} is {value}; expected less than {_MOST}")


def _as_exact(value: object) -> str:
    """Return how a number of another class is said, or nothing where the value has no number's text."""
    text = text_of(str, value, _LONG_FIGURE)
    try:
        figure = Decimal(text)
    except InvalidOperation:
        return ""
    if not figure.is_finite() or len(text) == _LONG_FIGURE:
        return ""
    return f': say Decimal("{figure}"), or Decimal(str(x)) of a number x'


def _check_text(name: str, value: object) -> None:
    """Refuse a text that the journal cannot hold: not a string, too long, or with half of a surrogate pair."""
    if type(value) is not str:
        raise TypeError(f"{name} is {value!r:.60}; expected text")
    if len(value) > _TEXT_MOST:
        raise ValueError(f"{name} has {len(value)} characters; expected at most {_TEXT_MOST}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name} is {value!a:.60}; expected text that can be written as UTF-8") from None


def _check_texts(owner: str, value: object, *names: str) -> None:
    """Refuse fields that are no text, by name: a compiled module would check a declared field in its own words."""
    for name in names:
        _check_text(f"{owner}.{name}", getattr(value, name))


def figures(numbers: object) -> dict[str, str]:
    """Return a verdict's numbers as a fresh dictionary of text to text."""
    if not isinstance(numbers, Mapping):
        raise TypeError(f"numbers is {describe_value(numbers)}; expected a mapping of text to text")
    if len(numbers) > _NUMBERS_MOST:
        raise ValueError(f"numbers has {len(numbers)} entries; expected at most {_NUMBERS_MOST}")
    taken = dict(numbers)
    for name, value in taken.items():
        _check_text("a name in numbers", name)
        _check_text(f"numbers[{name!r}]", value)
    return taken


def checked_reason(reason: Any) -> str:
    """Return a verdict's reason."""
    _check_text("reason", reason)
    return str(reason)


def check_answer(answer: Any, now_ns: int) -> None:
    """Refuse what is neither `Accepted` with a time from now on nor `Rejected` with a reason."""
    if type(answer) is _ACCEPTED:
        eligible_ns = answer.eligible_ns
        if type(eligible_ns) is not int or not now_ns <= eligible_ns < 2**63:
            raise ValueError(f"Accepted.eligible_ns is {eligible_ns!r:.60}; expected nanoseconds from {now_ns} on")
    elif type(answer) is Rejected:
        _check_text("Rejected.reason", answer.reason)
    else:
        raise TypeError(f"it answered {describe_value(answer)}; expected Accepted or Rejected")


def check_report(report: Any, event_ns: int) -> tuple[Any, ...]:
    """Refuse what is no `Fill`, `Triggered` or `Amended` with exact figures, and no `Ended` with outcome and reason.

    Return all fields of a fill, of another report none.
    """
    if type(report) is _FILL:
        try:
            # All fields in one call: a look-up of each costs twice as much.
            fields: tuple[Any, ...] = _astuple(report)
            if not _is_sound(fields, event_ns):
                raise ValueError(_what_is_wrong(report, event_ns))
            return fields
        except (InvalidOperation, AttributeError):  # a NaN is neither above nor below anything
            raise ValueError(_what_is_wrong(report, event_ns)) from None
    elif type(report) is Ended:
        if type(report.outcome) is not str or report.outcome not in _ENDS:
            raise ValueError(f"Ended.outcome is {report.outcome!r:.60}; expected expired, rejected or cancelled")
        _check_texts("Ended", report, "order_id", "reason")
    elif type(report) is Triggered:
        _check_texts("Triggered", report, "order_id")
        for name in ("level", "reference"):
            _check_price("Triggered", name, getattr(report, name))
    elif type(report) is Amended:
        _check_texts("Amended", report, "order_id", "reason")
        _check_price("Amended", "quantity", report.quantity)
        for name in ("limit", "stop"):
            if getattr(report, name) is not None:
                _check_price("Amended", name, getattr(report, name))
    else:
        raise TypeError(f"observe() gave {describe_value(report)}; expected Fill, Ended, Triggered or Amended")
    return ()


def _check_price(owner: str, name: str, value: Any) -> None:
    _check_amount(owner, name, value)
    if not value > ZERO:
        raise ValueError(f"{owner}.{name} is {value}; expected more than 0")


def _is_sound(fields: tuple[Any, ...], event_ns: int) -> bool:
    """Return whether a fill's figures are exact and within bounds: one expression, because every fill passes here."""
    (
        oid, quantity, price, fee, rate, liquidity, rule, reference, spread, slippage, time_ns,
        age_ns, displayed, queue, best, worst,
    ) = fields  # fmt: skip
    return (
        type(quantity) is type(price) is type(fee) is type(rate) is _DECIMAL
        and type(reference) is type(slippage) is _DECIMAL
        and (spread is None or (type(spread) is _DECIMAL and ZERO <= spread < _MOST))
        and ZERO < quantity < _MOST
        and ZERO < price < _MOST
        and _FEE_LEAST < fee < _FEE_MOST
        and _MINUS_ONE < rate < _ONE
        and ZERO <= reference < _MOST
        and ZERO <= slippage < _MOST
        and type(oid) is type(rule) is type(liquidity) is str
        and (liquidity == "taker" or liquidity == "maker")
        and len(rule) <= _TEXT_MOST
        and rule.isascii()
        and type(time_ns) is type(age_ns) is int
        and 0 <= time_ns <= event_ns
        and -(2**63) < age_ns < 2**63
        and (displayed is None or (type(displayed) is _DECIMAL and ZERO <= displayed < _FEE_MOST))
        and (queue is None or (type(queue) is _DECIMAL and ZERO <= queue < _FEE_MOST))
        and (best is None or (type(best) is _DECIMAL and ZERO < best < _MOST))
        and (worst is None or (type(worst) is _DECIMAL and ZERO < worst < _MOST))
    )


def _what_is_wrong(fill: Any, event_ns: int) -> str:
    return (
        f"{describe_value(fill, 500)}; expected finite Decimals, quantity and price above 0, slippage and spread not "
        f"below 0, liquidity maker or taker, a rule in ASCII, and a time up to the event's, {event_ns}"
    )
