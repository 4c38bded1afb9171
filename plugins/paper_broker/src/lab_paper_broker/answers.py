"""What models answer, checked: a wrong one is told by the name of its setting."""

from decimal import Decimal
from typing import Any

from lab import Order

from lab_paper_broker.models import Liquidity, Queue, Rejects


def offered_by(liquidity: Liquidity, order: Order, shown: Decimal | None) -> Decimal | None:
    """Return how much an order may take by the model of liquidity. Raises ``TypeError`` where that is no quantity."""
    answer: Any = liquidity.available(order, shown)
    if answer is not None and (type(answer) is not Decimal or not answer.is_finite()):
        raise TypeError(f"liquidity_model: available() gave {_shown(answer)}; expected a quantity as Decimal, or None")
    return answer


def ahead_by(queue: Queue, order: Order, displayed: Decimal | None) -> Decimal:
    """Return how much is before an order by the model of the queue. Raises ``TypeError`` where that is no quantity."""
    answer: Any = queue.ahead(order, displayed)
    if type(answer) is not Decimal or not answer.is_finite() or answer < 0:
        raise TypeError(f"queue_model: ahead() gave {_shown(answer)}; expected a quantity as Decimal, 0 or more")
    return answer


def reason_of(rejects: Rejects, order: Order, market: Any, seed: int) -> str:
    """Return why the model of rejects takes no order. Raises ``TypeError`` where that is no text."""
    answer: Any = rejects.reason(order, market, seed)
    if type(answer) is not str:
        raise TypeError(
            f"reject_model: reason() gave {_shown(answer)}; expected a text, empty where the order is taken"
        )
    return answer


def _shown(answer: Any) -> str:
    return f"{answer!r:.60} ({type(answer).__name__})"
