"""Pays funding: once a window, at the rate that was fetched for it, of the positions held at its instant."""

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Final

from lab.domain.events import FundingPaid, FundingSkipped
from lab.domain.ledger import EXACT
from lab.domain.market import Funding
from lab.domain.money import as_decimal
from lab.domain.time import MINUTE_NS
from lab.engine.bound_broker import BoundBroker
from lab.engine.state import NEVER_NS, EngineState, Market, Outputs
from lab.engine.valuation import Valuation

_WIDE: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_STEP: Final = Decimal("1e-12")
_RATES_MOST: Final = 1_000
_ASKED_MOST: Final = 10_000
"""Windows in a row for which the broker is asked when no rate was fetched: nine years of eight hours."""
_PERIOD_LEAST_NS: Final = 5 * MINUTE_NS
_PERIOD_MOST_NS: Final = 24 * 60 * MINUTE_NS


class FundingWindows:
    """The instants at which funding is due in each market. ``next_ns`` is the next of all.

    They are whole minutes: a time that comes with a rate counts as the nearest one. Until a rate says when, funding is
    due at whole multiples of eight hours; where rates are missing, it is a period after the window before. A run begins
    with no position, so nothing is owed for a window before its first input, and no window is paid a second time after
    a restart.
    """

    __slots__ = ("_broker", "_state", "_valuation", "next_ns")

    def __init__(self, state: EngineState, broker: BoundBroker, valuation: Valuation) -> None:
        self._state = state
        self._broker = broker
        self._valuation = valuation
        self.next_ns = 0

    def learn(self, funding: Funding) -> None:
        """Take a rate that was fetched. Only one for a window that is still to come changes when funding is due.

        One that was fetched after a window, while the run has not come to its instant yet, waits for its turn.
        """
        market = self._state.markets[funding.symbol]
        market.kept[Funding] = funding
        due_ns, rates = market.funding_due_ns, market.rates
        next_ns = (funding.next_ns + MINUTE_NS // 2) // MINUTE_NS * MINUTE_NS
        if next_ns <= self._state.now_ns or next_ns <= market.funded_ns:  # the clock may have gone back meanwhile
            return
        if not 0 < due_ns <= funding.time_ns:  # nothing is due before: the venue would know of it
            for window_ns in [one for one in rates if one < next_ns]:
                del rates[window_ns]
            due_ns = next_ns
        _learn_period(market, next_ns - max(rates, default=market.rated_ns))
        rates[next_ns] = funding
        if len(rates) > _RATES_MOST:
            del rates[max(rates)]
        market.funding_due_ns = min(due_ns, *rates)
        self._find_next()

    def fall_due(self, time_ns: int, out: Outputs, inside: Market | None = None) -> None:
        """Pay, or say why not, for every window until ``time_ns``, before anything else happens at that time.

        ``inside`` is a market whose candle, in which the time lies, is not in its history yet: its mark is the close
        before, because the candle's own comes later.
        Raises `ComponentError` where the broker has no rate that can be paid.
        """
        if time_ns < self.next_ns:
            return
        for market in self._state.markets.values():
            if not market.funding_due_ns:
                market.funding_due_ns = time_ns - time_ns % market.funding_period_ns + market.funding_period_ns
            known = len(out)
            while market.funding_due_ns <= time_ns:
                self._pass(market, time_ns, out, inside is market)
            if len(out) > known:
                self._valuation.revalue(market)
        self._find_next()

    def _find_next(self) -> None:
        self.next_ns = min((market.funding_due_ns for market in self._state.markets.values()), default=NEVER_NS)

    def _pass(self, market: Market, time_ns: int, out: Outputs, inside: bool) -> None:
        """Pass the window that is due, or all until ``time_ns`` for which no rate is there."""
        due_ns, period_ns, rates, symbol = market.funding_due_ns, market.funding_period_ns, market.rates, market.symbol
        funding = rates.get(due_ns)
        holders = [(book, held) for book in self._state.books if (held := book.ledger.position(symbol).quantity)]
        rate = self._rate(symbol, funding, due_ns) if holders else None
        if rates.pop(due_ns, None) is not None:
            market.rated_ns = due_ns
        windows = 1
        if funding is None and rate is None:
            until_ns = min(time_ns, *(window_ns - 1 for window_ns in rates)) if rates else time_ns
            most = windows + (until_ns - due_ns) // period_ns
            asked = min(most, _ASKED_MOST) if holders else 0
            while windows < asked and self._rate(symbol, None, due_ns + windows * period_ns) is None:
                windows += 1
            if windows >= asked:
                windows = most
        market.funded_ns = due_ns + (windows - 1) * period_ns
        market.funding_due_ns = min(market.funded_ns + period_ns, *rates) if rates else market.funded_ns + period_ns
        for book, held in holders:
            if rate is None:
                out.append(FundingSkipped(book.name, symbol, held, due_ns, windows, self._why_none(market, funding)))
                self._state.counters.funding_skipped += windows
                continue
            with localcontext(EXACT):
                mark = self._mark(market, funding, inside)
                notional = market.instrument.notional(held, mark)
                amount = notional * rate if held > 0 else -notional * rate
                postings = book.ledger.pay_funding(amount)
            out.append(FundingPaid(book.name, symbol, rate, mark, held, amount, due_ns, postings))

    def _rate(self, symbol: str, funding: Funding | None, due_ns: int) -> Decimal | None:
        """Return the rate of a window by the broker's model, to 1e-12: longs pay one above 0."""
        fetched = None if funding is None else _WIDE.quantize(as_decimal(funding.rate), _STEP)
        if self._state.failure is not None:
            return fetched  # the broker that failed is asked nothing more
        rate = self._broker.funding_rate(symbol, fetched, due_ns)
        return None if rate is None else _WIDE.quantize(rate, _STEP)

    def _mark(self, market: Market, funding: Funding | None, inside: bool) -> Decimal:
        """Return the mark price that was fetched with the rate, to 1e-12, or the market's own."""
        mark = _WIDE.quantize(as_decimal(funding.mark), _STEP) if funding is not None else None
        if mark:
            return mark
        candles = market.history.candles
        return as_decimal(candles[-1].close) if inside and candles else self._valuation.margin_mark(market.symbol)

    def _why_none(self, market: Market, funding: Funding | None) -> str:
        if funding is not None:
            return "the broker's funding model gives none"
        why = "the rate that was fetched last is of another window" if Funding in market.kept else "no rate was fetched"
        return why if self._state.failure is not None else f"{why}, and the broker gives none"


def _learn_period(market: Market, step_ns: int) -> None:
    """Take the time between two windows with a rate. The period is the shorter of the newest two such steps.

    A window of which no rate came makes one step longer, and two steps in a row seldom.
    """
    if _PERIOD_LEAST_NS <= step_ns <= _PERIOD_MOST_NS:
        market.funding_period_ns = min(step_ns, market.funding_step_ns)
        market.funding_step_ns = step_ns
