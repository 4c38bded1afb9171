"""Pays funding: once a window, at the rate that was fetched for it, of the positions held at its instant."""

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Final

from lab.domain.events import FundingPaid, FundingSkipped
from lab.domain.ledger import EXACT
from lab.domain.market import Funding
from lab.domain.money import as_decimal
from lab.engine.state import NEVER_NS, EngineState, Market, Outputs
from lab.engine.valuation import Valuation

_WIDE: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_STEP: Final = Decimal("1e-12")


class FundingWindows:
    """The instants at which funding is due in each market. ``next_ns`` is the next of all.

    Until a rate says when, it is due at whole multiples of eight hours. A run begins with no position, so nothing is
    owed for a window before its first input, and no window is paid a second time after a restart.
    """

    __slots__ = ("_state", "_valuation", "next_ns")

    def __init__(self, state: EngineState, valuation: Valuation) -> None:
        self._state = state
        self._valuation = valuation
        self.next_ns = 0

    def learn(self, funding: Funding) -> None:
        """Take a rate that was fetched. Only one for a window that is still to come changes when funding is due.

        One that was fetched after a window, while the run has not come to its instant yet, waits for its turn.
        """
        market = self._state.markets[funding.symbol]
        market.kept[Funding] = funding
        due_ns, next_ns = market.funding_due_ns, funding.next_ns
        if next_ns <= self._state.now_ns:
            return
        if due_ns < next_ns and 0 < due_ns <= funding.time_ns:
            market.rate_after = funding
            return
        self._take(market, funding)
        self._find_next()

    @staticmethod
    def _take(market: Market, funding: Funding) -> None:
        before, market.rate_due = market.rate_due, funding
        if before is not None and 0 < funding.next_ns - before.next_ns < market.funding_period_ns:
            market.funding_period_ns = funding.next_ns - before.next_ns
        market.funding_due_ns = funding.next_ns

    def fall_due(self, time_ns: int, out: Outputs) -> None:
        """Pay, or say why not, for every window until ``time_ns``, before anything else happens at that time."""
        if time_ns < self.next_ns:
            return
        for market in self._state.markets.values():
            due_ns, period_ns = market.funding_due_ns, market.funding_period_ns
            if not due_ns:
                market.funding_due_ns = time_ns - time_ns % period_ns + period_ns
            elif due_ns <= time_ns:
                windows = (time_ns - due_ns) // period_ns + 1
                market.funding_due_ns = due_ns + windows * period_ns
                self._pass(market, due_ns, windows, out)
                after, market.rate_after = market.rate_after, None
                if after is not None and after.next_ns > time_ns:
                    self._take(market, after)
        self._find_next()

    def _find_next(self) -> None:
        self.next_ns = min((market.funding_due_ns for market in self._state.markets.values()), default=NEVER_NS)

    def _pass(self, market: Market, due_ns: int, windows: int, out: Outputs) -> None:
        symbol = market.symbol
        rate = market.rate_due
        known = len(out)
        for book in self._state.books:
            held = book.ledger.position(symbol).quantity
            if not held:
                continue
            first_ns, left, why = due_ns, windows, "no rate was fetched"
            if rate is not None:
                why = "the rate that was fetched last is of another window"
                if rate.next_ns == due_ns:
                    with localcontext(EXACT):
                        figures = self._figures(market, rate, held)
                        postings = book.ledger.pay_funding(figures[2])
                    out.append(FundingPaid(book.name, symbol, *figures[:2], held, figures[2], due_ns, postings))
                    first_ns, left = due_ns + market.funding_period_ns, windows - 1
            if left:
                out.append(FundingSkipped(book.name, symbol, held, first_ns, left, why))
                self._state.counters.funding_skipped += left
        if len(out) > known:
            self._valuation.revalue(market)

    def _figures(self, market: Market, funding: Funding, held: Decimal) -> tuple[Decimal, Decimal, Decimal]:
        """Return rate, mark and amount: longs pay a rate above 0. Rate and mark are kept to 1e-12."""
        rate, mark = (_WIDE.quantize(as_decimal(value), _STEP) for value in (funding.rate, funding.mark))
        if not mark:
            mark = self._valuation.margin_mark(market.symbol)
        notional = market.instrument.notional(held, mark)
        return rate, mark, notional * rate if held > 0 else -notional * rate
