"""Who shows and writes what happened: the reporter, and what it is told."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import msgspec

from lab.domain.market import Candle
from lab.ports.component import Component
from lab.records.report import Header, Report
from lab.records.run import Totals


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


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """A position that is held. ``quantity`` is signed, ``price`` the average entry price, for display."""

    strategy: str
    symbol: str
    quantity: Decimal
    price: Decimal


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The run at this moment, for live views. Money is exact; ``None`` means not known yet."""

    seconds_left: float | None
    price: float | None
    feed: str
    why_not_trading: tuple[str, ...]
    equity: Decimal
    starting_equity: Decimal
    positions: tuple[Holding, ...]
    totals: Totals


@attrs.frozen(kw_only=True)
class RunInfo:
    """What a reporter knows of its run. ``directory`` is ``None`` under ``--no-write``.

    ``report()`` gives the final report once the records have ended, ``candles()`` the newest candles of a live session,
    and all of them where the journal holds none (backtests).
    """

    run_id: str
    header: Header
    directory: Path | None
    quiet: bool
    status: Callable[[], Status]
    report: Callable[[], Report]
    candles: Callable[[], Sequence[Candle]]


class Reporter(Component, ABC):
    """Shows or writes what happened. It can't hold trading up, and its failure ends nothing but itself."""

    @abstractmethod
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        """Take the journal's rows, each after its commit, in order, none left out; the iterator ends with the run.

        A slow reporter is served from the journal: nothing waits for it. After the end it has five seconds.
        """
