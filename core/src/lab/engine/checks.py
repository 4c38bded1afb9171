"""What components hand over, checked once, where it enters: by class and by bounds.

A value of another class is refused, never taken for something else: a side as text would compare equal to a side and
still not be one. Each check raises ``TypeError`` or ``ValueError`` naming the field, what it is and what was expected.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from lab.domain.events import Fill
from lab.domain.orders import Accepted, CancelRequest, Ended, OrderRequest, OrderType, Rejected, Side
from lab.engine.protocols import Action

_AT_ONCE: Final = 100
_MOST: Final = Decimal(10**15)
_LEAST: Final = -_MOST
_DIGITS: Final = 100
_BYTES_MOST: Final = Decimal("9" * _DIGITS).__sizeof__()
_TEXT_MOST: Final = 500
_NUMBERS_MOST: Final = 20
_LEG: Final = re.compile(r"[A-Za-z0-9_.:+-]{1,32}").fullmatch
_SIDES: Final = tuple(Side)
_TYPES: Final = tuple(OrderType)


def validated_actions(actions: Iterable[object]) -> list[Action]:
    """Exhaust and validate a decision's actions before acting on any, so that one that raises leaves none behind."""
    taken: list[Any] = list(islice(actions, _AT_ONCE + 1))
    if len(taken) > _AT_ONCE:
        raise ValueError(f"more than {_AT_ONCE} requests in one decision")
    for action in taken:
        if action.__class__ is OrderRequest:
            _check_request(action)
        elif action.__class__ is CancelRequest:
            _check_text("CancelRequest.order_id", action.order_id)
            _check_text("CancelRequest.reason", action.reason)
        else:
            raise TypeError(f"a strategy gives OrderRequest or CancelRequest, not {type(action).__name__}")
    return taken


def _check_request(request: OrderRequest) -> None:
    if request.side.__class__ is not Side:
        raise TypeError(f"OrderRequest.side is {request.side!r}; expected Side.BUY or Side.SELL")
    if request.type.__class__ is not OrderType:
        known = ", ".join(f"OrderType.{one.name}" for one in _TYPES)
        raise TypeError(f"OrderRequest.type is {request.type!r}; expected one of {known}")
    if request.reduce_only.__class__ is not bool:
        raise TypeError(f"OrderRequest.reduce_only is {request.reduce_only!r}; expected True or False")
    _check_text("OrderRequest.symbol", request.symbol)
    _check_amount("quantity", request.quantity)
    if request.limit is not None:
        _check_amount("limit", request.limit)
    if request.planned_exit is not None:
        _check_amount("planned_exit", request.planned_exit)
    if request.reason:
        _check_text("OrderRequest.reason", request.reason)
    elif request.reason.__class__ is not str:
        raise TypeError(f"OrderRequest.reason is {request.reason!r}; expected text")
    if request.leg.__class__ is not str or (request.leg and not _LEG(request.leg)):
        raise TypeError(f"OrderRequest.leg is {request.leg!r:.60}; expected 1 to 32 letters, digits or _ . : + -")
    decided_ns = request.decided_ns
    if decided_ns is not None and (decided_ns.__class__ is not int or not 0 <= decided_ns < 2**63):
        raise TypeError(f"OrderRequest.decided_ns is {decided_ns!r:.60}; expected nanoseconds as int, or None")


def _check_amount(name: str, value: object) -> None:
    """Refuse a figure that is not exact money: a float or a NaN would be found only where it does harm."""
    if value.__class__ is not Decimal or not value.is_finite():
        raise TypeError(f"OrderRequest.{name} is {value!r:.60}; expected a finite Decimal")
    if not _LEAST < value < _MOST:
        raise ValueError(f"OrderRequest.{name} is {value}; expected less than {_MOST}")
    if value.__sizeof__() > _BYTES_MOST:
        raise ValueError(f"OrderRequest.{name} is {value!s:.60}...; expected at most {_DIGITS} digits")


def _check_text(name: str, value: object) -> None:
    """Refuse what the journal cannot hold: no text, far too long a text, or one with half of a surrogate pair."""
    if value.__class__ is not str:
        raise TypeError(f"{name} is {value!r:.60}; expected text")
    if len(value) > _TEXT_MOST:
        raise ValueError(f"{name} has {len(value)} characters; expected at most {_TEXT_MOST}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name} is {value!a:.60}; expected text that can be written as UTF-8") from None


def figures(numbers: object) -> dict[str, str]:
    """Return a verdict's numbers as a fresh dictionary of text to text."""
    if not isinstance(numbers, Mapping):
        raise TypeError(f"numbers is {numbers!r:.60}; expected a mapping of text to text")
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


def check_answer(answer: object, now_ns: int) -> None:
    """Refuse what is neither `Accepted` with a time from now on nor `Rejected` with a reason."""
    if answer.__class__ is Accepted:
        eligible_ns = answer.eligible_ns
        if eligible_ns.__class__ is not int or not now_ns <= eligible_ns < 2**63:
            raise ValueError(f"Accepted.eligible_ns is {eligible_ns!r:.60}; expected nanoseconds from {now_ns} on")
    elif answer.__class__ is Rejected:
        _check_text("Rejected.reason", answer.reason)
    else:
        raise TypeError(f"submit() answered {answer!r:.100}; expected Accepted or Rejected")


def check_report(report: object, event_ns: int) -> None:
    """Refuse what is neither a `Fill` with exact figures nor an `Ended` with an outcome and a reason."""
    if report.__class__ is Fill:
        _check_fill(report, event_ns)
    elif report.__class__ is Ended:
        if report.outcome not in {"expired", "rejected"}:
            raise ValueError(f"Ended.outcome is {report.outcome!r:.60}; expected expired or rejected")
        _check_text("Ended.order_id", report.order_id)
        _check_text("Ended.reason", report.reason)
    else:
        raise TypeError(f"observe() gave {report!r:.100}; expected Fill or Ended")


def _check_fill(fill: Fill, event_ns: int) -> None:
    exact = (fill.quantity, fill.price, fill.fee, fill.fee_rate, fill.reference, fill.slippage)
    for value in exact:
        if value.__class__ is not Decimal or not value.is_finite():
            raise TypeError(f"{value!r:.60} in {fill!r:.300}; expected a finite Decimal")
    if fill.spread is not None and (fill.spread.__class__ is not Decimal or not fill.spread.is_finite()):
        raise TypeError(f"Fill.spread is {fill.spread!r:.60}; expected a finite Decimal, or None")
    if not (fill.quantity > 0 and 0 < fill.price < _MOST and abs(fill.fee) < _MOST):
        raise ValueError(f"quantity and price must be above 0, and the fee bounded: {fill!r:.300}")
    if fill.liquidity not in {"maker", "taker"}:
        raise ValueError(f"Fill.liquidity is {fill.liquidity!r:.60}; expected maker or taker")
    if fill.time_ns.__class__ is not int or not 0 <= fill.time_ns <= event_ns:
        raise ValueError(f"Fill.time_ns is {fill.time_ns!r:.60}; expected nanoseconds up to the event's, {event_ns}")
    _check_text("Fill.order_id", fill.order_id)
    _check_text("Fill.rule", fill.rule)
