"""The life of an order: every state, and every step from one to the next. There is no other."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class OrderState(StrEnum):
    """Where an order stands. A request that was refused never became an order."""

    WORKING = "working"
    TRIGGERED = "triggered"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


_S = OrderState
STEPS: Final[Mapping[OrderState, frozenset[OrderState]]] = {
    _S.WORKING: frozenset(_S) - {_S.WORKING},
    _S.TRIGGERED: frozenset({_S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELLED, _S.EXPIRED, _S.REJECTED}),
    _S.PARTIALLY_FILLED: frozenset({_S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELLED, _S.EXPIRED}),
    _S.FILLED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.REJECTED: frozenset(),
}
"""The states that may follow each. An order that filled in part was not rejected; what has ended stays as it ended."""


def check_step(order_id: str, state: OrderState, following: OrderState) -> None:
    """Raise ``ValueError`` where one state cannot follow the other."""
    if following not in STEPS[state]:
        raise ValueError(f"order {order_id} cannot become {following}: it is {state}")
