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
_RATES_MOST: Final = 1_000
_NO_RATE: Final = "no rate was fetched"


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
        due_ns, next_ns, rates = market.funding_due_ns, funding.next_ns, market.rates
        if next_ns <= self._state.now_ns or next_ns <= market.funded_ns:  # the clock may have gone back meanwhile
            return
        newest_ns = max(rates, default=market.funded_ns)
        if newest_ns and 0 < next_ns - newest_ns < market.funding_period_ns:
            market.funding_period_ns = next_ns - newest_ns
        if not 0 < due_ns <= funding.time_ns:  # nothing is due before: the venue would know of it
            for window_ns in [one for one in rates if one < next_ns]:
                del rates[window_ns]
            due_ns = next_ns
        rates[next_ns] = funding
        if len(rates) > _RATES_MOST:
            del rates[max(rates)]
        market.funding_due_ns = min(due_ns, *rates)
        self._find_next()

    def fall_due(self, time_ns: int, out: Outputs) -> None:
        """Pay, or say why not, for every window until ``time_ns``, before anything else happens at that time."""
        if time_ns < self.next_ns:
            return
        for market in self._state.markets.values():
            if not market.funding_due_ns:
                market.funding_due_ns = time_ns - time_ns % market.funding_period_ns + market.funding_period_ns
            known = len(out)
            while market.funding_due_ns <= time_ns:
                self._pass(market, time_ns, out)
            if len(out) > known:
                self._valuation.revalue(market)
        self._find_next()

    def _find_next(self) -> None:
        self.next_ns = min((market.funding_due_ns for market in self._state.markets.values()), default=NEVER_NS)

    def _pass(self, market: Market, time_ns: int, out: Outputs) -> None:
        """Pass the window that is due, or all until ``time_ns`` for which no rate is there."""
        due_ns, period_ns, rates = market.funding_due_ns, market.funding_period_ns, market.rates
        rate = rates.pop(due_ns, None)
        windows = 1
        if rate is None:
            until_ns = min(time_ns, *(window_ns - 1 for window_ns in rates)) if rates else time_ns
            windows += (until_ns - due_ns) // period_ns
        market.funded_ns = due_ns + (windows - 1) * period_ns
        market.funding_due_ns = min(market.funded_ns + period_ns, *rates) if rates else market.funded_ns + period_ns
        symbol = market.symbol
        for book in self._state.books:
            held = book.ledger.position(symbol).quantity
            if not held:
                continue
            if rate is None:
                why = "the rate that was fetched last is of another window" if Funding in market.kept else _NO_RATE
                out.append(FundingSkipped(book.name, symbol, held, due_ns, windows, why))
                self._state.counters.funding_skipped += windows
                continue
            with localcontext(EXACT):
                fraction, mark, amount = self._figures(market, rate, held)
                postings = book.ledger.pay_funding(amount)
            out.append(FundingPaid(book.name, symbol, fraction, mark, held, amount, due_ns, postings))

    def _figures(self, market: Market, funding: Funding, held: Decimal) -> tuple[Decimal, Decimal, Decimal]:
        """Return rate, mark and amount: longs pay a rate above 0. Rate and mark are kept to 1e-12."""
        rate, mark = (_WIDE.quantize(as_decimal(value), _STEP) for value in (funding.rate, funding.mark))
        if not mark:
            mark = self._valuation.margin_mark(market.symbol)
        notional = market.instrument.notional(held, mark)
        return rate, mark, notional * rate if held > 0 else -notional * rate
