"""Fetching candles of the past: the warm-up history, what an outage took, and gaps. It never blocks the session."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import anyio

from lab.composition.assembly import Assembly
from lab.domain.time import SECOND_NS
from lab.engine.history import History
from lab.errors import ProviderError, ProviderUnavailable, message_of
from lab.live.candle_cache import CandleCache
from lab.live.gaps import Gaps
from lab.live.handing_over import HandingOver
from lab.live.history_source import HistorySource
from lab.live.inbox import Inbox
from lab.live.retry import Retry
from lab.live.warm_up import WarmUp
from lab.ports import FeedState, Realm

_WAITS_S: Final = (1.0, 2.0, 4.0, 8.0)
_PATIENCE_S: Final = 30.0
_SAVED_EVERY_S: Final = 10.0
_MOST: Final = 2000
_NEVER: Final = float("inf")


def make_loaders(
    assembly: Assembly,
    inbox: Inbox,
    histories: Mapping[str, History],
    *,
    failed: Callable[[BaseException], None],
    wall_ns: Callable[[], int],
    state_dir: Path | None,
    pace: float,
) -> "dict[str, HistoryLoader]":
    """Return a session's loaders by symbol, with a cache under ``state_dir`` where there is one and the venue is real.

    The provider is asked for one thing at a time. Recorded and synthetic time begins anew with each run, so there is
    nothing to keep.
    """
    run, declared, loaders = assembly.settings, assembly.declared, dict[str, HistoryLoader]()
    turn = anyio.Lock() if len(histories) > 1 else None
    need, depth = assembly.lookback, declared.history_depth
    for symbol, history in histories.items():
        cache = None
        if state_dir is not None and declared.realm is Realm.REAL:
            key = {
                "provider": assembly.provider.name,
                "origin": declared.origin,
                "symbol": symbol,
                "interval": f"{run.interval_ns // SECOND_NS}s",
            }
            cache = CandleCache(state_dir, key, keep=2 * history.keep)
        source = HistorySource(assembly.provider.component, symbol, run.interval_ns, failed, turn)
        loaders[symbol] = HistoryLoader(
            source, inbox, history, need=need, depth=depth, wall_ns=wall_ns, pace=pace, cache=cache
        )
    return loaders


class HistoryLoader:
    """Fetches whatever the engine's history lacks, one call at a time, each candle before the next one.

    After an outage what was missed is fetched (2,000 candles at most) while the stream's candles wait, for half a
    minute at most. What can't be had by then is a gap; one as long as the look-back makes the warm-up begin anew.
    Gaps are asked for as long as the history reaches back to them. What is there is kept in a cache for a restart.
    """

    def __init__(
        self,
        source: HistorySource,
        inbox: Inbox,
        history: History,
        *,
        need: int,
        depth: int | None,
        wall_ns: Callable[[], int],
        pace: float = 1.0,
        cache: CandleCache | None = None,
    ) -> None:
        """Begin with a history that is empty, or that of a run that goes on: what it missed is as after an outage."""
        self._source = source
        self._inbox = inbox
        self._notice = source.notice_of(inbox)
        self._interval_ns = history.interval_ns
        self._history = history
        self._line = line = inbox.lines[source.symbol]
        line.next_ns, line.behind = history.next_ns, bool(history.next_ns)
        self._handing_over = HandingOver(inbox, source.symbol, line, pace)
        self.warm_up = WarmUp(
            source, inbox, history, self._handing_over, need=need, depth=depth, wall_ns=wall_ns, cache=cache
        )
        self._cache = cache
        self._saved = 0
        self._saving = Retry((_SAVED_EVERY_S,))
        self._gaps = Gaps(history)
        for one, next_ in pairwise(history.candles):
            if next_.open_ns - one.open_ns > self._interval_ns:
                self._gaps.add(one.open_ns + self._interval_ns, next_.open_ns - self._interval_ns)
        self._catching_up = Retry(_WAITS_S)
        self._left_out_ns = 0  # what opened before it was too much to fetch
        self._patience_s = _PATIENCE_S * pace  # a provider's answers take real time
        self._patient_until = _NEVER
        self._wake = anyio.Event()
        inbox.watchers.append(self._changed)

    # -- what others may know ----------------------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether the engine's history ends before the candles that are known."""
        return self._line.waits

    @property
    def failures(self) -> int:
        """How often the provider had no answer."""
        return self._source.failures

    @property
    def missing(self) -> int:
        """How many candles are missing in what the history holds."""
        return self._gaps.count

    def miss(self, first_ns: int, last_ns: int) -> None:
        """Note a gap that the engine found, by the open times of its first and last candle: it is fetched.

        Of a gap longer than the history that is kept, only the newest candles are, and a notice says so.
        """
        if last_ns < max(self._gaps.oldest_ns, self._left_out_ns):
            return
        missing, keep = (last_ns - first_ns) // self._interval_ns + 1, self._history.keep
        if missing > keep:
            self._notice("backfill", state="too long", candles=str(missing), fetched=str(keep))
            first_ns = last_ns - (keep - 1) * self._interval_ns
        self._gaps.add(first_ns, last_ns)
        self._wake.set()

    # -- the task ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Fetch whatever is missing until cancelled."""
        while True:
            await self._turn()

    async def _turn(self) -> None:
        """Do what is due, or sleep until something is."""
        self._wake = anyio.Event()
        now = anyio.current_time()
        if not self._line.wanted:
            self._patient_until = _NEVER
        elif self._patient_until == _NEVER:
            self._patient_until = now + self._patience_s
        elif self._patient_until <= now:
            self._go_on_without()
        jobs = (
            (self._catching_up.due if self._line.wanted else _NEVER, self._catch_up),
            (self.warm_up.due, self.warm_up.ask),
            (self._gaps.due, self._fill),
            (self._saving.due if self._cache is not None else _NEVER, self._save),
        )
        for due, job in jobs:
            if due <= now:
                await job()
                return
        with anyio.CancelScope(deadline=min(self._patient_until, *(due for due, _ in jobs))):
            await self._wake.wait()

    def _changed(self) -> None:
        """Note that the feed's state changed, or that a candle waits: what was in vain before may succeed now."""
        self._catching_up.at_once()
        if self._inbox.state is FeedState.LIVE:
            self._gaps.recovered()
        self._wake.set()

    async def _save(self) -> None:
        """Keep for a restart what the engine has."""
        assert self._cache is not None
        self._saving.later(anyio.current_time())
        if self._history.count != self._saved and not self._cache.problem:
            self._saved = self._history.count
            self._cache.add(self._history.candles)
            if self._cache.problem:
                self._notice("warm-up", state="not kept", error=self._cache.problem)

    # -- after an outage ---------------------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        """Ask once for what has to go before the stream's next candle."""
        line, step = self._line, self._interval_ns
        lost = (line.held[0].open_ns - line.next_ns) // step if line.held else line.missing(self.warm_up.now_ns())
        if lost <= 0:
            self._go_on()
            return
        last_ns = line.next_ns + (lost - 1) * step
        begin_ns = last_ns - (_MOST - 1) * step
        if line.next_ns < begin_ns and self._left_out_ns < line.next_ns:
            self._left_out_ns = begin_ns
            self._notice("backfill", state="too long", candles=str(lost), fetched=str(_MOST))
        answer = None
        try:
            with anyio.CancelScope(deadline=self._patient_until):
                # One more than those that are missing: where it is there, nothing before it is still to come.
                answer = await self._source.ask(last_ns + 2 * step, min(lost, _MOST) + 1)
        except ProviderUnavailable as error:
            self._notice("backfill", state="failed", error=message_of(error))
        except ProviderError as error:
            self._notice("backfill", state="refused", error=message_of(error))
            self._go_on_without()
            return
        candles = [candle for candle in answer or () if candle.open_ns >= line.next_ns]
        answered = bool(candles) and candles[-1].open_ns >= last_ns
        wanted = [candle for candle in candles if candle.open_ns <= last_ns]
        if not answered:
            wanted = [candle for n, candle in enumerate(wanted) if candle.open_ns == line.next_ns + n * step]
        taken = await self._handing_over.give(wanted)
        if taken:
            self._notice("backfill", state="done", candles=str(taken))
        if not answered:
            self._catching_up.later(anyio.current_time())
        elif not line.held or line.held[0].open_ns <= last_ns + step:
            self._go_on()

    def _go_on(self) -> None:
        """Let the stream's candles go on: those before them are there, or the provider has none."""
        self._patient_until = _NEVER
        self._inbox.go_on(self._line.release())

    def _go_on_without(self) -> None:
        """Let the stream's candles go on without those before them; where those are too many, warm up anew."""
        line = self._line
        next_ns = (
            line.held[0].open_ns
            if line.held
            else line.next_ns + line.missing(self.warm_up.now_ns()) * self._interval_ns
        )
        if next_ns - line.next_ns >= self.warm_up.need * self._interval_ns:
            self.warm_up.begin_anew(next_ns)
        self._go_on()

    # -- gaps --------------------------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        """Ask once for what is missing in the history."""
        missing = self._gaps.missing()
        if not missing:
            return
        try:
            count = (missing[-1] - missing[0]) // self._interval_ns + 1
            candles = await self._source.ask(missing[-1] + self._interval_ns, count)
        except ProviderUnavailable as error:
            self._gaps.unavailable.later(anyio.current_time())
            self._notice("backfill", state="failed", error=message_of(error))
            return
        except ProviderError as error:
            self._gaps.forget()
            self._notice("backfill", state="refused", error=message_of(error))
            return
        wanted = set(missing)
        taken = await self._handing_over.give([candle for candle in candles if candle.open_ns in wanted])
        if taken:
            self._notice("backfill", state="done", candles=str(taken))
        left = self._gaps.missing()
        if self._gaps.answered(left, anyio.current_time()):
            self._notice("backfill", state="missing", candles=str(len(left)), first_ns=str(left[0]))
