"""Says in float whether an account may have to be liquidated, where several markets make it up.

One market has marks at which to look exactly, known beforehand. With several the level of each moves with the others'
prices, so each event adds up the floats of what is held, which costs a fraction of the exact figures.
"""

from collections.abc import Sequence
from typing import Final

from lab.domain.ledger import EXACT
from lab.domain.margin import TierFigures, initial_margin
from lab.engine.state import Account, EngineState, Market

_NEAR: Final = 1e-9  # a part of all that is added up: far more than the error of a float

Holding = tuple[Market, float, float]
"""A market, a signed quantity, and what is taken off its worth: the cost, with isolated margin less the margin."""


class MarginWatch:
    """What the accounts of a run hold, as floats: gathered when it is asked for the first time after a change."""

    __slots__ = ("_accounts", "_isolated", "_state")

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._isolated = state.margin_mode == "isolated"
        self._accounts: list[tuple[float, Sequence[Holding], Sequence[Holding]]] | None = None

    def forget(self) -> None:
        """A fill or a payment changed an account."""
        self._accounts = None

    def may_breach(self) -> bool:
        """Return whether the exact figures are to be looked at; ``False`` only where nothing is to be liquidated."""
        state = self._state
        for account in state.accounts:
            if account.closing:
                return True
        accounts = self._accounts
        if accounts is None:
            # One that was liquidated whole has nothing to lose.
            accounts = self._accounts = [self._gathered(one) for one in state.accounts if not one.liquidated]
        for cash, netted, alone in accounts:
            if _is_short(cash, netted, needs=not self._isolated):
                return True
            for holding in alone:
                if _is_short(0.0, (holding,), needs=True):
                    return True
        return False

    def _gathered(self, account: Account) -> tuple[float, Sequence[Holding], Sequence[Holding]]:
        markets = self._state.markets
        netted = [
            (markets[symbol], float(held.quantity), float(held.cost))
            for symbol, held in account.positions.items()
            if held.quantity or held.cost
        ]
        alone: list[Holding] = []
        for book in account.books if self._isolated else ():
            for symbol, held in book.ledger.positions.items():
                if held.quantity:
                    margin = initial_margin(held.cost, self._state.leverage)
                    alone.append((markets[symbol], float(held.quantity), float(EXACT.subtract(held.cost, margin))))
        return float(account.cash), netted, alone


def _is_short(cash: float, holdings: Sequence[Holding], *, needs: bool) -> bool:
    """Return whether what is left may be no more than what is needed: nothing, or the maintenance margin."""
    left, needed, error = cash, 0.0, abs(cash)
    for market, quantity, aside in holdings:
        quote = market.quote
        mark = market.last if quote is None else (quote[2] + quote[4]) / 2.0
        value = market.contract_value
        worth = quantity * (-value / mark if value else mark)
        left += worth - aside
        notional = abs(worth)
        error += notional + abs(aside)
        if needs:
            needed += _maintenance(market.tiers, notional)
    return left - needed <= error * _NEAR


def _maintenance(tiers: Sequence[TierFigures[float]], notional: float) -> float:
    """Return the maintenance margin, by the higher tier where a float cannot tell which one it is."""
    for begins, _, rate, deduction in reversed(tiers):
        if notional >= begins * (1.0 - _NEAR):
            return notional * rate - deduction
    return 0.0  # pragma: no cover - the first tier begins at 0
