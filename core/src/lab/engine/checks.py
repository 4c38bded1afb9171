"""What a strategy hands in, checked before anything of it is acted on."""

from collections.abc import Iterable
from decimal import Decimal
from itertools import islice
from typing import Final

from lab.domain.orders import CancelRequest, OrderRequest
from lab.engine.state import Action

_AT_ONCE: Final = 100
_MOST: Final = Decimal(10**15)
_LEAST: Final = -_MOST


def drawn(actions: Iterable[object]) -> list[Action]:
    """Return a decision's actions, all of them drawn and checked, so that one that raises half-way leaves none behind.

    Raises ``TypeError`` or ``ValueError`` naming what is wrong.
    """
    taken = list(islice(actions, _AT_ONCE + 1))
    if len(taken) > _AT_ONCE:
        raise ValueError(f"more than {_AT_ONCE} requests in one decision")
    for action in taken:
        if action.__class__ is OrderRequest:
            _check("quantity", action.quantity)
            if action.limit is not None:
                _check("limit", action.limit)
            if action.stop is not None:
                _check("stop", action.stop)
        elif action.__class__ is not CancelRequest:
            raise TypeError(f"a strategy gives OrderRequest or CancelRequest, not {type(action).__name__}")
    return taken  # type: ignore[return-value]


def _check(name: str, value: object) -> None:
    """Refuse a figure that is not exact money: a float or a NaN would be found only where it does harm."""
    if value.__class__ is not Decimal or not value.is_finite():
        raise TypeError(f"OrderRequest.{name} is {value!r}; expected a finite Decimal")
    if not _LEAST < value < _MOST:
        raise ValueError(f"OrderRequest.{name} is {value}; expected less than {_MOST}")
