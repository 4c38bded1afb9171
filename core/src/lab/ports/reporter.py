"""The port of reporters, which show or write a run, and the values they are given."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import msgspec

from lab.domain.market import Candle
from lab.ports.component import Component
from lab.records.report import Header, Report
from lab.records.run import Totals


class Record(NamedTuple):
    """One committed journal row. Nobody can change it: all reporters are given the same one."""

    seq: int
    time_ns: int
    kind: str
    body: bytes

    def data(self) -> Any:
        """Return the decoded body, anew at each call.

        Raises ``ValueError`` for a body that is no JSON, or is nested deeper than lab's rows.
        """
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
    """of several symbols, the first's"""
    feed: str
    why_not_trading: tuple[str, ...]
    equity: Decimal
    starting_equity: Decimal
    positions: tuple[Holding, ...]
    totals: Totals
    prices: Mapping[str, float | None] = {}
    """The price of each symbol."""


@attrs.frozen(kw_only=True)
class RunInfo:
    """The facts of a run for one reporter, as its own copy. ``directory`` is ``None`` under ``--no-write``.

    ``status()`` gives the run as it was half a second ago at most, and as it ended once it has ended. ``candles()``
    gives the newest candles of a live session, and all of a backtest, whose journal holds none. ``report()`` gives the
    final report; it raises ``RuntimeError`` before the records have ended.
    """

    run_id: str
    header: Header
    directory: Path | None
    quiet: bool
    status: Callable[[], Status]
    report: Callable[[], Report]
    candles: Callable[[], Sequence[Candle]]


class Reporter(Component, ABC):
    """Shows or writes what happened. Trading never waits for it, and its failure ends nothing but itself."""

    @abstractmethod
    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        """Take the journal's rows, each after its commit, in order, none left out; the iterator ends with the run.

        Called in the reporter's own thread, on a separate event loop that keeps real time at every
        ``--speed``: threads, timers and the network are the real ones. It may fall behind, block or raise anything.
        Five seconds after the end of the run it is cancelled, and abandoned if it does not obey.
        """
