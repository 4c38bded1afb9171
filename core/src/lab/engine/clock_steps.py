"""Follows a step of the venue's clock: the one thing that may set the engine's time back."""

from decimal import getcontext, setcontext

from lab.domain.control import ClockStepped
from lab.domain.ledger import EXACT
from lab.domain.venue_clock import TOLERANCE_NS
from lab.engine.orders import OrderEntry
from lab.engine.state import EngineState, Market, Outputs
from lab.engine.strategies import Strategies
from lab.engine.timers import Timers
from lab.errors import ComponentError

_REASON = "the venue's clock stepped"


class ClockSteps:
    """Brings one run to another time. What was paid and what day it is stay: nothing is paid or counted twice."""

    __slots__ = ("_entry", "_state", "_strategies", "_timers")

    def __init__(self, state: EngineState, entry: OrderEntry, strategies: Strategies, timers: Timers) -> None:
        self._state = state
        self._entry = entry
        self._strategies = strategies
        self._timers = timers

    def expire_orders(self, out: Outputs) -> None:
        """End every working order: when it arrives and until when it is good were said in another time.

        What closes a liquidated position is placed again at the next price.
        """
        state = self._state
        before = getcontext()
        setcontext(EXACT)
        try:
            for open_ in list(state.working.values()):  # an entry's end may have ended what guards it
                self._entry.changes.withdraw(open_, _REASON, out, "expired")
        except ComponentError as error:
            self._strategies.fail(error, out)
        finally:
            setcontext(before)
        for book in state.books:
            for closing in book.closing.values():
                closing.retry_ns = 0

    def set_time(self, step: ClockStepped, out: Outputs) -> None:
        """Go back to an earlier time; a later one comes as with any input."""
        state = self._state
        if step.time_ns >= state.now_ns:
            return
        state.now_ns = step.time_ns
        self._timers.set_back(step.time_ns)
        dropped = 0
        for market in state.markets.values():
            self._set_back(market)
            dropped += market.history.drop_after(step.time_ns + TOLERANCE_NS)
        if dropped:
            self._strategies.history_changed(out)

    @staticmethod
    def _set_back(market: Market) -> None:
        """Let the next of each kind of market data count, whatever the newest one's time was."""
        quote = market.quote
        if quote is not None:  # it stays the mark, and its time is none of those to come
            market.quote = quote._replace(time_ns=0)
        market.depth = None
        market.quote_ns = market.depth_ns = market.trade_ns = 0
