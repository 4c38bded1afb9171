"""Gives the engine candles of the past in pieces, so that a slow strategy does not keep the session from its feed."""

from collections.abc import Sequence
from typing import Final

import anyio
from attrs import define, field

from lab.domain.market import Candle
from lab.live.candle_line import CandleLine
from lab.live.inbox import Inbox

_MOST: Final = 8
_SHORT_S: Final = 0.05
_LONG_S: Final = 0.2


@define
class HandingOver:
    """Gives candles of the past to the engine. The stream's candles wait meanwhile.

    A piece is one candle at first, twice as many where the engine was through with the last one in under 50 real ms
    (eight at most), half as many where it took over 200. ``pace`` is as `lab.ports.Runtime.pace`.
    """

    inbox: Inbox
    symbol: str
    line: CandleLine
    pace: float = 1.0
    _size: int = field(init=False, default=1)

    async def give(self, candles: Sequence[Candle]) -> int:
        """Give candles, ascending, and wait until the engine is through with them; return how many were sound.

        Those before the engine's newest are one input: strategies learn of them once, whatever their number. The
        others are shown to strategies one by one, so the session has its turn after each piece.
        """
        older = sum(candle.open_ns < self.line.next_ns for candle in candles)
        self.line.handing_over = True
        try:
            taken = await self._piece(candles[:older])
            rest = candles[older:]
            while rest:
                began = anyio.current_time()
                piece, rest = rest[: self._size], rest[self._size :]
                taken += await self._piece(piece)
                self._took((anyio.current_time() - began) / self.pace)
        finally:
            self.line.handing_over = False
        self.inbox.go_on(self.line.settle())
        return taken

    async def _piece(self, candles: Sequence[Candle]) -> int:
        given = self.inbox.backfill(self.symbol, candles)
        if given:
            await self.inbox.taken()
        return len(given)

    def _took(self, seconds: float) -> None:
        if seconds < _SHORT_S:
            self._size = min(2 * self._size, _MOST)
        elif seconds > _LONG_S:
            self._size = max(self._size // 2, 1)
