"""The warm-up: keeps asking for history until there are as many candles as strategies need, next to the open one."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import anyio

from lab.domain.market import Candle
from lab.domain.time import SECOND_NS, format_time
from lab.domain.venue_clock import TOLERANCE_NS
from lab.engine.history import History
from lab.errors import ProviderError, ProviderUnavailable, message_of
from lab.live.candle_cache import CandleCache
from lab.live.candle_line import CandleLine
from lab.live.handing_over import HandingOver
from lab.live.history_source import HistorySource
from lab.live.inbox import Inbox
from lab.live.retry import Retry
from lab.ports import Realm

_WAITS_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)


class WarmUp:
    """Judges by the engine's history, not by what was fetched, whether strategies may trade.

    The provider is asked for ``keep`` candles, which is what the engine holds, or for the ``depth`` that it says it
    has. An answer that does not suffice is no end: it is asked again, at most twice a minute where it fails, and where
    it falls short at waits that grow to an interval (a minute at least). Candles of the stream count, too.
    """

    def __init__(
        self,
        source: HistorySource,
        inbox: Inbox,
        history: History,
        handing_over: HandingOver,
        *,
        need: int,
        depth: int | None,
        wall_ns: Callable[[], int],
        cache: CandleCache | None,
    ) -> None:
        """Begin with a history that is empty, or that of a run that goes on."""
        self.need = need
        self.refused = ""
        """Why the provider will never have history, once it said so."""
        self._source = source
        self._inbox = inbox
        self._notice = source.notice_of(inbox)
        self._history = history
        self._handing_over = handing_over
        self._count = history.keep if depth is None else min(history.keep, depth)
        self._limited = depth is not None
        self._wall_ns = wall_ns
        self._cache = cache
        self._kept: Sequence[Candle] | None = None
        self._failed = Retry(_WAITS_S)
        self._short = Retry((*_WAITS_S, *_doubling(60.0, history.interval_ns / SECOND_NS)))
        self._said: dict[str, str] = {}
        self._counted = 0
        part = _last_part(history.candles, need * history.interval_ns)
        self._since_ns = history.candles[part].open_ns if part else 0
        self._complete = need == 0 or history.count - part >= need

    @property
    def done(self) -> bool:
        """Whether there are enough candles, or there won't be by asking."""
        return self._complete or self.candles >= self.need

    @property
    def candles(self) -> int:
        """How many candles count: those since the last hole that is as long as the look-back.

        While candles are handed over, it is what it was before.
        """
        if not self._line.handing_over:
            self._counted = self._history.count
            if self._since_ns:
                candles = self._history.candles
                self._counted = len(candles) - bisect_left(candles, self._since_ns, key=_open_ns)
        return self._counted

    @property
    def due(self) -> float:
        """The monotonic time at which to ask next; infinite once the warm-up is complete."""
        return float("inf") if self.done else max(self._failed.due, self._short.due)

    @property
    def _line(self) -> CandleLine:
        return self._handing_over.line

    def begin_anew(self, since_ns: int) -> None:
        """Count only candles that open at that time or later, until the ones before them were fetched."""
        self._complete, self._since_ns = self.need == 0, since_ns
        self._short.later(anyio.current_time())

    def now_ns(self) -> int:
        """Return the venue's time; of a real venue that has not shown it yet, the machine's. 0 where nobody knows."""
        return self._inbox.now_ns() or (self._wall_ns() if self._inbox.realm is Realm.REAL else 0)

    async def ask(self) -> None:
        """Ask once, and hand over what came."""
        kept, count = self._from_cache()
        try:
            answer = await self._source.ask(None, count + bool(kept)) if count else ()
        except ProviderUnavailable as error:
            wait = self._failed.later(anyio.current_time())
            self._notice("warm-up", state="failed", error=message_of(error), retry_seconds=f"{wait:g}")
            return
        except ProviderError as error:
            self.refused = message_of(error)
            self._complete = True
            self._notice("warm-up", state="refused", error=message_of(error))
            return
        self._failed.at_once()
        if not self._agrees(kept, answer):
            return
        candles = [*kept, *(candle for candle in answer if not kept or candle.open_ns > kept[-1].open_ns)]
        recent = self._recent(candles)
        loaded = await self._handing_over.give(self._lacking(recent))
        if self._since_ns and recent:
            self._since_ns = min(self._since_ns, recent[0].open_ns)
        if self.candles >= self.need or (self._limited and len(candles) >= self._count):
            self._complete, self._since_ns = True, 0
            self._notice("warm-up", state="done", candles=str(loaded), needed=str(self.need))
            if self._inbox.realm is Realm.REAL:
                self._line.look(self.now_ns())
            return
        self._short.later(anyio.current_time())
        self._say_short(candles, recent)

    def _say_short(self, candles: Sequence[Candle], recent: Sequence[Candle]) -> None:
        """Say why an answer is not enough; once as long as it is the same."""
        if candles and not recent:
            detail = {"state": "old", "newest": format_time(candles[-1].open_ns)}
        else:
            detail = {"state": "short", "candles": str(len(recent)), "needed": str(self.need)}
        if detail != self._said:
            self._said = detail
            self._notice("warm-up", **detail)

    # -- what counts -------------------------------------------------------------------------------------------------

    def _recent(self, candles: Sequence[Candle]) -> Sequence[Candle]:
        """Return the candles that end next to the open one, back to the last hole as long as the look-back.

        Only those of a real venue are judged: recorded data may end anywhere, and it was checked when it was read.
        """
        if self._inbox.realm is not Realm.REAL or not candles:
            return candles
        interval_ns = self._history.interval_ns
        if not interval_ns - TOLERANCE_NS <= self.now_ns() - candles[-1].open_ns <= 2 * interval_ns:
            return ()
        return candles[_last_part(candles, self.need * interval_ns) :]

    def _lacking(self, candles: Sequence[Candle]) -> Sequence[Candle]:
        """Return the candles that the engine lacks, and the stream has not brought and won't."""
        if self._since_ns:
            candles = [candle for candle in candles if candle.open_ns < self._line.next_ns]
        else:
            candles = self._inbox.history_of(self._handing_over.symbol, candles)
        known = {candle.open_ns: candle[3:8] for candle in self._history.candles}
        return [candle for candle in candles if known.get(candle.open_ns) != candle[3:8]]

    # -- what an earlier run kept ------------------------------------------------------------------------------------

    def _from_cache(self) -> tuple[Sequence[Candle], int]:
        """Return candles that an earlier run kept, up to the first one missing, and how many there are from there."""
        if self._kept is None:
            self._kept = self._cache.read() if self._cache is not None else ()
        now_ns, step = self.now_ns(), self._history.interval_ns
        if not self._kept or not now_ns:
            return (), self._count
        end_ns = now_ns - now_ns % step
        known = {candle.open_ns: candle for candle in self._kept}
        missing_ns = begin_ns = end_ns - self._count * step
        while missing_ns in known and missing_ns < end_ns:
            missing_ns += step
        kept = [known[open_ns] for open_ns in range(begin_ns, missing_ns, step)]
        return kept, (end_ns - missing_ns) // step

    def _agrees(self, kept: Sequence[Candle], answer: Sequence[Candle]) -> bool:
        """Return whether what was kept is what the provider says; otherwise it is used no more."""
        if not kept:
            return True
        assert self._cache is not None
        same = all(candle.open_ns != kept[-1].open_ns or candle[3:8] == kept[-1][3:8] for candle in answer)
        if not same:
            self._kept = ()
        state = "kept" if same else "kept, and different"
        self._notice("warm-up", state=state, candles=str(len(kept)), origin=self._cache.key["origin"])
        return same


def _open_ns(candle: Candle) -> int:
    return candle.open_ns


def _last_part(candles: Sequence[Candle], hole_ns: int) -> int:
    """Return where the candles begin that come after the last hole as long as that; 0 where there is none."""
    holes = (n for n, (one, next_) in enumerate(pairwise(candles), 1) if next_.open_ns - one.open_ns > hole_ns > 0)
    return max(holes, default=0)


def _doubling(seconds: float, most: float) -> tuple[float, ...]:
    return (seconds, *_doubling(2 * seconds, most)) if seconds < most else (max(seconds, most),)
