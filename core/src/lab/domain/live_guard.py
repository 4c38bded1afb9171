"""Judges the time of market data in a live session, and says when the venue's clock stepped.

Pure: the session hands in the monotonic clock's time.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from lab.domain.control import ClockStepped
from lab.domain.guard import TIME_MOST, InputGuard
from lab.domain.market import (
    BACKFILLED,
    MARKET_KINDS,
    PRICE_LEAST,
    PRICE_LIMIT,
    Candle,
    Depth,
    Funding,
    MarketData,
    Quote,
)
from lab.domain.time import SECOND_NS, format_time
from lab.domain.venue_clock import PATIENCE_S, STEP_NS, TOLERANCE_NS, VenueClock

BEHIND_NS: Final = 60 * SECOND_NS
"""How far behind the venue's clock a quote, trade or depth may arrive. What is older was held up somewhere on the way:
its price is history. A candle is never too late: the engine knows where it belongs."""

_BUSY_S: Final = 1.0
"""How long stamps must agree on another time at least, in real seconds: for less a machine may just be busy, which at
sixty times the pace of real time looks like a step."""
_REPLACED: Final = (Quote, Depth)
_FIRST_MOST: Final = 64


class Judged(NamedTuple):
    """The verdict of a `LiveGuard`: the events to step now, in order, and the events held out, each with the reason."""

    let_in: Sequence[MarketData] = ()
    held_out: Sequence[tuple[str, MarketData]] = ()
    behind_ns: int = 0
    """How far the event's stamp lies behind the venue's clock; 0 within the tolerance."""
    stepped: ClockStepped | None = None
    """That the venue's clock stepped, which is to be stepped first."""


class LiveGuard(InputGuard):
    """An `InputGuard` that also judges stamps by the venue's clock.

    A first stamp is believed at once where it agrees with the machine's clock; else it waits until all stamps have
    agreed with it for ``patience_s``, so that no wrong frame sets a clock: with 0, for data that was made up and has a
    time of its own, until a second one does. ``recorded`` data was checked when it was read: its first stamp is
    believed, and the grid of its candles may lie anywhere.

    A stamp ahead of the venue's clock is held out: its event would move the engine's time. Where all stamps agree on
    another time, that is a step of the venue's clock, which `Judged.stepped` tells. Candles are the only clock of a
    source without quotes. They come as late as they come, so there the tolerance is one interval. ``pace`` is how many
    seconds of the monotonic clock a real one has.
    """

    def __init__(
        self,
        symbols: Iterable[str],
        interval_ns: int,
        *,
        monotonic: Callable[[], float],
        wall_ns: Callable[[], int],
        recorded: bool = False,
        patience_s: float = PATIENCE_S,
        pace: float = 1.0,
    ) -> None:
        super().__init__(symbols, interval_ns, phase_ns=None if recorded else 0)
        self.clock = VenueClock(monotonic, max(PATIENCE_S, _BUSY_S * pace))
        self._recorded = recorded
        self._patience_s = patience_s
        self._wall_ns = wall_ns
        self.quoted = False
        """Whether anything but candles says the time."""
        self._first: list[tuple[int, MarketData]] = []
        self._reached_ns = 0

    def follows(self, quote: Quote, now: float) -> bool:
        """Return whether a quote is sound and agrees with the venue's clock, which then follows it.

        Otherwise nothing was changed: `judge` says what becomes of it.
        """
        try:
            symbol, time_ns, bid, bid_size, ask, ask_size = quote
        except ValueError:  # made past its class
            return False
        # What `foreign`, `malformed` and `_follow` ask of a quote, in one expression: a live session consists of these.
        if (
            symbol.__class__ is str
            and symbol in self.symbols
            and time_ns.__class__ is int
            and 0 <= time_ns < TIME_MOST
            and bid.__class__ is bid_size.__class__ is ask.__class__ is ask_size.__class__ is float
            and PRICE_LEAST <= bid <= ask < PRICE_LIMIT
            and 0.0 <= bid_size < 1e18
            and 0.0 <= ask_size < 1e18
            and self.clock.follows(time_ns, now)
        ):
            self.quoted = True
            return True
        return False

    def judge(self, event: MarketData, now: float) -> Judged:
        """Judge an event that came at the monotonic time ``now``."""
        problem = self.foreign(event) or self.malformed(event)
        if problem is not None:
            return Judged(held_out=((problem, event),))
        if event.__class__ is Funding:  # it was fetched, so its time says nothing about the clock
            return Judged((event,))
        venue_ns = self.clock.at(now)
        if event.__class__ is Candle and event.status == BACKFILLED:
            return self._past(event, venue_ns)
        if venue_ns is None:
            return self._begin(event, now)
        if event.__class__ is Candle and not self.quoted:
            return self._follow_candle(event, event.time_ns - venue_ns, now)
        self.quoted = self.quoted or event.__class__ is not Candle
        return self._follow(event, event.time_ns - venue_ns, now)

    def unsure_s(self, now: float) -> float:
        """Return for how long no stamp agrees with the venue's clock; 0 where the newest did, or none came."""
        since = self.clock.unsure_since
        return 0.0 if since is None else now - since

    def resume_at(self, time_ns: int) -> None:
        """Note the time up to which the engine came before its session was cut off."""
        self._reached_ns = max(self._reached_ns, time_ns)

    def _tolerance_ns(self) -> int:
        return TOLERANCE_NS if self.quoted else max(TOLERANCE_NS, self.interval_ns)

    def _past(self, candle: Candle, venue_ns: int | None) -> Judged:
        if venue_ns is None:
            self.resume_at(candle.time_ns)
        elif candle.time_ns > venue_ns + TOLERANCE_NS:
            return self._ahead(candle, candle.time_ns - venue_ns)
        return Judged((candle,))

    def _begin(self, event: MarketData, now: float) -> Judged:
        """Judge an event while the venue's clock is still unknown."""
        offset_ns = event.time_ns - int(now * SECOND_NS)
        self.quoted = self.quoted or event.__class__ is not Candle
        believed = self._recorded or abs(event.time_ns - self._wall_ns()) <= TOLERANCE_NS
        if not believed and not self.clock.agrees_for_long(offset_ns, now, self._tolerance_ns(), self._patience_s):
            return self._hold(offset_ns, event)
        let_in: list[MarketData] = []
        others: list[tuple[str, MarketData]] = []
        for at, held in self._first:
            if abs(at - offset_ns) > self._tolerance_ns():
                others.append((_alone(held), held))
            elif held.__class__ not in _REPLACED or held[0] != event[0] or held.__class__ is not event.__class__:
                let_in.append(held)
        self._first.clear()
        self.clock.begin(event.time_ns, now)
        behind_ns = self._reached_ns - event.time_ns
        stepped = None
        if behind_ns > STEP_NS and event.__class__ is not Candle:  # which may be one that is known already
            reached = format_time(self._reached_ns)
            stepped = ClockStepped(event.time_ns, -behind_ns, "venue", f"the run had come to {reached} already")
        return Judged((*let_in, event), others, stepped=stepped)

    def _hold(self, offset_ns: int, event: MarketData) -> Judged:
        """Keep an event until its time is believed; of quotes and depths the newest of each symbol."""
        if event.__class__ in _REPLACED:
            self._first = [
                one for one in self._first if one[1].__class__ is not event.__class__ or one[1][0] != event[0]
            ]
        self._first.append((offset_ns, event))
        if len(self._first) <= _FIRST_MOST:
            return Judged()
        dropped = self._first.pop(0)[1]
        return Judged(held_out=((_alone(dropped), dropped),))

    def _follow_candle(self, candle: Candle, drift_ns: int, now: float) -> Judged:
        """Judge a candle of a source that has no other clock: it is ahead by as much as those before it came late."""
        if 0 < drift_ns <= self._tolerance_ns():
            self.clock.begin(candle.time_ns, now)
        elif drift_ns < -self._tolerance_ns():
            if self.clock.admit(candle.time_ns, now):
                return Judged((candle,), stepped=self._stepped(candle.time_ns))
        elif drift_ns > 0:
            return self._follow(candle, drift_ns, now)
        else:
            self.clock.confirm()
        return Judged((candle,))

    def _follow(self, event: MarketData, drift_ns: int, now: float) -> Judged:
        """Judge an event by the venue's clock, and let the clock follow it."""
        if event.__class__ is Candle and self.quoted and drift_ns <= TOLERANCE_NS:
            return Judged((event,))  # it is not known at once, so it is no clock beside quotes
        changes = self.clock.changes
        if self.clock.admit(event.time_ns, now):
            return Judged((event,), stepped=self._stepped(event.time_ns) if self.clock.changes > changes else None)
        if drift_ns > 0:
            return self._ahead(event, drift_ns)
        if drift_ns < -BEHIND_NS:
            text = f"{MARKET_KINDS[type(event)]}: {-drift_ns / SECOND_NS:.0f} s behind the venue's clock"
            return Judged(held_out=((text, event),))
        return Judged((event,), behind_ns=-drift_ns)

    def _stepped(self, time_ns: int) -> ClockStepped:
        by_ns = self.clock.stepped_ns
        where = "ahead of" if by_ns > 0 else "behind"
        why = f"all stamps were {abs(by_ns) / SECOND_NS:.1f} s {where} its clock for {self.clock.patience_s:.0f} s"
        return ClockStepped(time_ns, by_ns, "venue", why)

    @property
    def waiting(self) -> Sequence[MarketData]:
        """The events that wait until their time is believed."""
        return [event for _, event in self._first]

    def end(self) -> Judged:
        """Judge the events that still wait when the data has ended."""
        held, self._first = [event for _, event in self._first], []
        if len(held) == 1:
            return Judged(tuple(held))
        return Judged(held_out=[(_alone(event), event) for event in held])

    @staticmethod
    def _ahead(event: MarketData, ahead_ns: int) -> Judged:
        text = f"{MARKET_KINDS[type(event)]}: {ahead_ns / SECOND_NS:.0f} s ahead of the venue's clock"
        return Judged(held_out=((text, event),))


def _alone(event: MarketData) -> str:
    return f"{MARKET_KINDS[type(event)]}: time_ns {event.time_ns} agrees with no other stamp"
