"""Asks a provider's history forwards, page by page, and checks what comes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from attrs import define, field

from lab.domain.market import Candle, check_candle
from lab.domain.time import DAY_NS, format_time
from lab.errors import ProviderError

PAGE: Final = 1000
"""Candles asked for at once: few enough for one answer in time, whatever the provider's own pages are."""
Ask = Callable[[int, int], Awaitable[Sequence[Candle]]]
"""Takes a time and a number; returns so many of the newest candles that open before it."""


@define
class Hole:
    """A stretch in which the provider has no candle, although it was asked for it twice."""

    begin_ns: int
    end_ns: int


@define
class Pages:
    """The candles that open from ``since_ns`` on and before ``until_ns``, both on the grid, in pages, ascending."""

    ask: Ask
    symbol: str
    interval_ns: int
    since_ns: int
    until_ns: int
    holes: list[Hole] = field(init=False, factory=list)

    async def __aiter__(self) -> AsyncIterator[list[Candle]]:
        """Yield the pages. Raises `ProviderError` for what is no candle of the grid, or in no order."""
        cursor_ns = self.since_ns
        while cursor_ns < self.until_ns:
            end_ns = min(cursor_ns + PAGE * self.interval_ns, self.until_ns)
            page = await self._between(cursor_ns, end_ns)
            if not page:
                first_ns = await self._first(cursor_ns)
                if first_ns is None:
                    self._hole(cursor_ns, self.until_ns)
                    return
                self._hole(cursor_ns, first_ns)
                cursor_ns = first_ns
                continue
            for candle in page:
                self._hole(cursor_ns, candle.open_ns)
                cursor_ns = candle.open_ns + self.interval_ns
            yield page

    def leaves_out(self, newest_ns: int) -> bool:
        """Return whether the last hole has the newest candle in it, which is then no longer of the hole."""
        if not self.holes or not self.holes[-1].begin_ns <= newest_ns < self.holes[-1].end_ns:
            return False
        last = self.holes.pop()
        self._hole(last.begin_ns, newest_ns)
        return True

    async def _between(self, begin_ns: int, end_ns: int) -> list[Candle]:
        """Return the candles of a stretch; what an answer leaves out at its beginning is asked for again."""
        found: list[Candle] = []
        while begin_ns < end_ns:
            count = (end_ns - begin_ns) // self.interval_ns
            part = [one for one in self._checked(await self.ask(end_ns, count), end_ns) if one.open_ns >= begin_ns]
            if not part:
                break
            found[:0] = part
            end_ns = part[0].open_ns
        return found

    async def _first(self, begin_ns: int) -> int | None:
        """Return when the first candle opens at or after a time: found by bisection, so that years cost few calls."""
        step_ns = PAGE * self.interval_ns
        known_empty_ns, end_ns = begin_ns, begin_ns
        while True:
            end_ns = min(end_ns + step_ns, self.until_ns)
            newest_ns = await self._newest(begin_ns, end_ns)
            if newest_ns is not None:
                break
            if end_ns == self.until_ns:
                return None
            known_empty_ns, step_ns = end_ns, 2 * step_ns
        while newest_ns - known_empty_ns > 0:  # the first one opens in [known_empty_ns, newest_ns]
            middle_ns = known_empty_ns + ((newest_ns - known_empty_ns) // (2 * self.interval_ns) + 1) * self.interval_ns
            found_ns = await self._newest(known_empty_ns, min(middle_ns, newest_ns))
            if found_ns is None:
                known_empty_ns = min(middle_ns, newest_ns)
            else:
                newest_ns = found_ns
        return newest_ns

    async def _newest(self, begin_ns: int, end_ns: int) -> int | None:
        newest = [one.open_ns for one in self._checked(await self.ask(end_ns, 1), end_ns) if one.open_ns >= begin_ns]
        return newest[-1] if newest else None

    def _checked(self, candles: Sequence[Candle], end_ns: int) -> Sequence[Candle]:
        before_ns = -1
        phase_ns = self.since_ns % self.interval_ns
        for one in candles:
            problem = check_candle(one)
            if one.symbol != self.symbol:
                problem = f"it is of {one.symbol[:40]}"
            elif not before_ns < one.open_ns < end_ns:
                problem = "it is out of order, or was not asked for"
            elif self.interval_ns <= DAY_NS and one.open_ns % self.interval_ns != phase_ns:
                problem = "it is not on the grid of its interval"
            if problem is not None:
                raise ProviderError(
                    f"history() gave a candle of {format_time(one.open_ns)} that can't be used: {problem}"
                )
            before_ns = one.open_ns
        return candles

    def _hole(self, begin_ns: int, end_ns: int) -> None:
        if begin_ns < end_ns:
            if self.holes and self.holes[-1].end_ns == begin_ns:
                self.holes[-1].end_ns = end_ns
            else:
                self.holes.append(Hole(begin_ns, end_ns))
