"""Keeps candles in order: each once, on the grid. Gaps are reported; late candles go into the history."""

from collections.abc import Sequence

from lab.domain.calendar import missing_candles
from lab.domain.events import CandleIgnored, GapFound
from lab.domain.market import Candle
from lab.engine.state import EngineState, Market, Outputs
from lab.engine.strategies import Strategies


class CandleOrder:
    """Judges candles that are not the next one. With ``record`` a candle that goes into the history is an output."""

    __slots__ = ("_record", "_state", "_strategies")

    def __init__(self, state: EngineState, strategies: Strategies, *, record: bool) -> None:
        self._state = state
        self._strategies = strategies
        self._record = record

    def in_line(self, market: Market, candle: Candle, out: Outputs) -> bool:
        """Return whether strategies decide on a candle that is not the next one: the first, or one behind a gap.

        One that comes late is put into the past, one off the grid or known already is ignored; ``out`` then holds what
        became of it and not the candle as this step's input.
        """
        history = market.history
        if not history.count:
            return True
        open_ns = candle.open_ns
        if (open_ns - history.next_ns) % history.interval_ns:
            out.clear()
            self._ignore(market, open_ns, "off the grid of its interval", out)
            return False
        if open_ns > history.next_ns:
            missing = missing_candles(market.instrument.calendar, history.next_ns, open_ns, history.interval_ns)
            if not missing:  # the market was closed
                return True
            self._state.counters.gaps += 1
            out.append(GapFound(market.symbol, history.next_ns, open_ns - history.interval_ns, missing))
            return True
        out.clear()
        self._merge(market, (candle,), out)
        return False

    def place_older(self, market: Market, candles: Sequence[Candle], out: Outputs) -> Sequence[Candle]:
        """Put the candles of a back-fill that are older than the newest one into the history; return the others."""
        history = market.history
        if not history.count:
            return candles
        older, newer = [], []
        for candle in candles:
            if (candle.open_ns - history.next_ns) % history.interval_ns:
                self._ignore(market, candle.open_ns, "off the grid of its interval", out)
            elif candle.open_ns < history.next_ns:
                older.append(candle)
            else:
                newer.append(candle)
        if older:
            self._merge(market, older, out)
        return newer

    def _merge(self, market: Market, older: Sequence[Candle], out: Outputs) -> None:
        """Put candles into the history; strategies learn of it once."""
        outcomes = market.history.merge(older)
        for candle, outcome in zip(older, outcomes, strict=True):
            if outcome != "placed":
                self._ignore(market, candle.open_ns, "" if outcome == "same" else outcome, out)
            elif self._record and not market.history.was_dropped(candle.open_ns):
                out.append(candle)
        if "placed" in outcomes:
            self._strategies.history_changed(out)

    def _ignore(self, market: Market, open_ns: int, why: str, out: Outputs) -> None:
        self._state.counters.ignored_candles += 1
        if why:
            out.append(CandleIgnored(market.symbol, open_ns, why))
