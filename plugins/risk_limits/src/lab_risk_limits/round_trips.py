"""What a round trip earned: the memory of the gates that count losses."""

from decimal import Decimal
from typing import Final

from attrs import define, field
from lab import OrderFilled, Side
from lab.domain.ledger import ZERO

_BUY: Final = Side.BUY


@define
class RoundTrips:
    """Adds up what the fills of each strategy and symbol did to its cash, from flat to flat or to the other side."""

    _results: dict[tuple[str, str], Decimal] = field(init=False, factory=dict)

    def take(self, filled: OrderFilled) -> Decimal | None:
        """Take a fill; return the result of the round trip that it ended, fees included, ``None`` where it ended none.

        The result is exact: a fill moves the cash by realised profit and fee alone. The fee of a fill that turns the
        position is shared by quantity between the round trip it ends and the one it begins.
        """
        fill, after = filled.fill, filled.position
        before = after - fill.quantity if filled.side is _BUY else after + fill.quantity
        key = filled.strategy, filled.symbol
        result = self._results.pop(key, ZERO) + sum(amount for account, amount in filled.postings if account == "cash")
        if not before or (after and (after > ZERO) is (before > ZERO)):
            self._results[key] = result
            return None
        if after:
            fee = fill.fee * abs(after) / fill.quantity
            self._results[key] = -fee
            result += fee
        return result
