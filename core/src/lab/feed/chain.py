"""Makes one symbol's candles: takes pushes, fetches the venue's rows, and puts closed candles into the sink."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import anyio
from attrs import define, field

from lab.domain.market import FINAL, Candle
from lab.domain.time import format_time
from lab.errors import AuthenticationFailed, ProviderError
from lab.feed.candles import CandleAssembler
from lab.ports import Sink

_ROWS: Final = 3
"""Rows asked for with each confirmation: the candle itself, and those before it, which may have been revised."""
_TOLD: Final = 15
"""Revisions of one answer that are told each with its figures; of more, the number and the time are."""
_PROVE_S: Final = (30.0, 60.0, 120.0, 300.0)
"""Waits before the rows are asked for of candles that went out without; a call that succeeds ends such a wait."""


class FetchCandles(Protocol):
    """Fetches closed candles: `lab.ports.Provider.history` is one."""

    async def __call__(self, symbol: str, interval_ns: int, /, *, end_ns: int, count: int) -> Sequence[Candle]:
        """Return the newest closed candles that open before ``end_ns``, at most ``count``, in any order.

        One attempt. Raises `ProviderError` for one that failed; `AuthenticationFailed` ends the stream.
        """


@define(kw_only=True)
class CandleChain:
    """The assembler of one symbol and interval, with the I/O it must not do itself.

    ``venue_ns`` gives the newest venue time known, ``say`` takes a remark for the journal. What went out without its
    row is asked for again until it was seen, at once when a call succeeds after an outage. Candles that were never seen
    are the session's business: it finds the gap and fetches it.
    """

    assembler: CandleAssembler
    rows: FetchCandles
    sink: Sink
    venue_ns: Callable[[], int]
    say: Callable[[str], None]
    _closed: anyio.Event = field(init=False, factory=anyio.Event)
    _asking: bool = field(init=False, default=False)
    _error: str = field(init=False, default="")
    _answered: anyio.Event = field(init=False, factory=anyio.Event)

    def push(self, candle: Candle, now: float) -> None:
        """Take a push."""
        if self.assembler.push(candle, now):
            self._closed.set()

    async def run(self) -> None:
        """Confirm closed candles and give them out, until cancelled."""
        assembler = self.assembler
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._prove)
            while True:
                due = assembler.next_due()
                if due is None:
                    self._closed = anyio.Event()
                    await self._closed.wait()
                    continue
                await anyio.sleep_until(due)
                now = anyio.current_time()
                for candle in assembler.tick(now, self.venue_ns()):
                    self._give(candle)
                open_ns = assembler.ask(now)
                if open_ns is not None and not self._asking:
                    self._asking = True
                    tasks.start_soon(self._ask, open_ns)

    async def _ask(self, open_ns: int) -> None:
        assembler = self.assembler
        end_ns = open_ns + assembler.interval_ns
        try:
            rows = await self.rows(assembler.symbol, assembler.interval_ns, end_ns=end_ns, count=_ROWS)
        except AuthenticationFailed:
            raise
        except ProviderError as error:
            self._error = str(error)
            return
        finally:
            self._asking = False
        self._answered.set()
        self._take(rows)

    async def _prove(self) -> None:
        """Ask for the rows of candles that went out without, oldest to newest, until they were seen."""
        assembler, tries = self.assembler, 0
        while True:
            self._answered = anyio.Event()
            with anyio.move_on_after(_PROVE_S[min(tries, len(_PROVE_S) - 1)]):
                await self._answered.wait()
            unproved = assembler.unproved()
            if unproved is None:
                tries = 0
                continue
            tries += 1
            first_ns, last_ns = unproved
            # With the rows beside them: an answer that has those and lacks these says that there are none.
            count = (last_ns - first_ns) // assembler.interval_ns + 3
            end_ns = last_ns + 2 * assembler.interval_ns
            try:
                rows = await self.rows(assembler.symbol, assembler.interval_ns, end_ns=end_ns, count=count)
            except AuthenticationFailed:
                raise
            except ProviderError:
                continue  # why is told when a candle goes out without its row
            self._take(rows)

    def _take(self, rows: Sequence[Candle]) -> None:
        """Give out what the rows confirm, and tell what they revise."""
        for candle in self.assembler.rows(rows, self.venue_ns()):
            self._error = ""
            self._give(candle)
        revisions = self.assembler.take_revisions()
        for given, row in revisions[:_TOLD]:
            self.say(
                f"{given.symbol} candle {format_time(given.open_ns)} was revised after it was given out: "
                f"{_figures(given)} became {_figures(row)}; what was given stays"
            )
        if rest := revisions[_TOLD:]:
            first, last = (format_time(one.given.open_ns) for one in (rest[0], rest[-1]))
            self.say(
                f"{self.assembler.symbol}: {len(rest)} more candles from {first} to {last} were revised after they "
                "were given out; what was given stays"
            )

    def _give(self, candle: Candle) -> None:
        if candle.status != FINAL:
            why = self._error or "the venue has no row of it yet"
            self.say(f"{candle.symbol} candle {format_time(candle.open_ns)} goes out unconfirmed: {why}")
        self.sink.put(candle)


def _figures(candle: Candle) -> str:
    return f"o {candle.open} h {candle.high} l {candle.low} c {candle.close} v {candle.volume}"
