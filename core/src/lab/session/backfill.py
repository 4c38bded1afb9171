"""Fetching candles that are in the past: the warm-up history, and holes found later. It never blocks the session."""

from collections.abc import Iterable
from typing import Final

import anyio

from lab.domain.market import Candle
from lab.errors import ProviderError, ProviderUnavailable
from lab.ports import Provider
from lab.session.inbox import Inbox

_WAIT_FIRST_S: Final = 1.0
_WAIT_MOST_S: Final = 30.0
_HOLE_WAITS_S: Final = (2.0, 5.0, 15.0)


class HistoryLoader:
    """Puts back-filled candles into the intake. Progress is judged by the engine's history, not by what was fetched."""

    def __init__(
        self, provider: Provider, intake: Inbox, symbol: str, interval_ns: int, *, need: int, keep: int
    ) -> None:
        self._provider = provider
        self._intake = intake
        self._symbol = symbol
        self._interval_ns = interval_ns
        self._keep = keep
        self.need = need
        self.failures = 0
        self.done = need == 0

    async def seed(self) -> None:
        """Fetch the history until a call succeeds. Raises `ProviderError` for what retrying can't mend."""
        wait = _WAIT_FIRST_S
        while not self.done:
            try:
                candles = await self._provider.history(self._symbol, self._interval_ns, end_ns=None, count=self._keep)
            except ProviderUnavailable as error:
                self.failures += 1
                self._intake.notice("seeding", state="failed", error=str(error), retry_seconds=f"{wait:g}")
                await anyio.sleep(wait)
                wait = min(2 * wait, _WAIT_MOST_S)
                continue
            began_ns = self._intake.first_open_ns.get(self._symbol)
            if began_ns is not None:  # from there on the candles are the stream's
                candles = [candle for candle in candles if candle.open_ns < began_ns]
            self._give(candles)
            self.done = True
            self._intake.notice("seeding", state="done", candles=str(len(candles)), needed=str(self.need))

    async def fill(self, first_ns: int, last_ns: int) -> None:
        """Fetch the candles that open from ``first_ns`` to ``last_ns``; what three tries can't get is a notice."""
        missing = set(range(first_ns, last_ns + 1, self._interval_ns))
        for wait in _HOLE_WAITS_S:
            try:
                candles = await self._provider.history(
                    self._symbol, self._interval_ns, end_ns=last_ns + self._interval_ns, count=len(missing)
                )
            except ProviderUnavailable as error:
                self.failures += 1
                self._intake.notice("backfill", state="failed", error=str(error))
            except ProviderError as error:
                self._intake.notice("backfill", state="refused", error=str(error))
                return
            else:
                wanted = [candle for candle in candles if candle.open_ns in missing]
                self._give(wanted)
                missing.difference_update(candle.open_ns for candle in wanted)
                if not missing:
                    self._intake.notice("backfill", state="done", candles=str(len(wanted)))
                    return
            await anyio.sleep(wait)
        self._intake.notice("backfill", state="missing", candles=str(len(missing)), first_ns=str(min(missing)))

    def _give(self, candles: Iterable[Candle]) -> None:
        for candle in candles:
            self._intake.candle(candle)
