"""Who shows and writes what happened: the reporter, and what it is told."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import msgspec

from lab.domain.market import Candle
from lab.ports.component import Component


@attrs.frozen
class Record:
    """One committed journal row."""

    seq: int
    time_ns: int
    kind: str
    body: bytes

    def data(self) -> Any:
        """Return the decoded body. Raises ``ValueError`` for what is no JSON, or nested deeper than our rows."""
        try:
            return msgspec.json.decode(self.body)
        except RecursionError:
            raise ValueError(f"row {self.seq}: nested too deep") from None


@attrs.frozen(kw_only=True)
class Status:
    """The run at this moment, for live views. Money is exact; ``None`` means not known yet."""

    seconds_left: float | None
    price: float | None
    feed: str
    why_not_trading: Sequence[str]
    equity: Decimal
    starting_equity: Decimal
    positions: Sequence[tuple[str, str, Decimal, Decimal]]  # strategy, symbol, signed quantity, average price
    counts: Mapping[str, int]


@attrs.frozen(kw_only=True)
class RunInfo:
    """What a reporter knows of its run. ``directory`` is ``None`` under ``--no-write``.

    ``report()`` gives the final report as plain data once the records have ended, ``candles()`` the newest candles of
    a live session, and all of them where the journal holds none (backtests).
    """

    run_id: str
    header: Mapping[str, Any]
    directory: Path | None
    quiet: bool
    status: Callable[[], Status]
    report: Callable[[], Mapping[str, Any]]
    candles: Callable[[], Sequence[Candle]]


class Reporter(Component, ABC):
    """Shows or writes what happened. It can't hold trading up, and its failure ends nothing but itself."""

    @abstractmethod
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        """Take the journal's rows, each after its commit, in order, none left out; the iterator ends with the run.

        A slow reporter is served from the journal: nothing waits for it. After the end it has five seconds.
        """
