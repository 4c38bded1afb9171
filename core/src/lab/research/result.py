"""The result of a run: its report, and its fills, orders, trades and equity as tables."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve

from lab.backtesting.recorded_run import recorded_inputs
from lab.backtesting.runner import Ended
from lab.domain.events import DayEnded
from lab.domain.inputs import Input
from lab.domain.market import Candle
from lab.errors import ConfigError, RunError
from lab.exit_codes import EndReason
from lab.journal.reader import JournalReader, rows_after
from lab.journal.report import build_report
from lab.journal.schema import FILE_NAME
from lab.journal.store import Journal
from lab.ports import RunInfo, Status
from lab.records.report import Header, Report
from lab.records.statistics import Statistics
from lab.research.offered import installed
from lab.research.prices import Prices
from lab.research.rows import (
    Equity,
    FillRow,
    OrderRow,
    PriceRow,
    Trade,
    equity_of,
    fills_of,
    orders_of,
    prices_of,
    trades_of,
)
from lab.research.tables import Table
from lab.research.words import said_in_python
from lab.runs.directory import find
from lab.runs.failures import FailureLog
from lab.runs.previous import check_begun, is_running, so_far

_PAGE: Final = "summary.html"


@define(kw_only=True)
class Origin:
    """Where a result comes from: its journal in memory or its folder, and what it was fed."""

    header: Header | None
    status: Status | None
    """Header and status of a backtest; ``None`` of a run that was read, whose page its reporter ``html`` made."""
    journal: Journal | bytes | None
    """A journal in memory, or its bytes once the result was pickled; ``None`` where the run has a folder."""
    inputs: Callable[[], Iterable[Input]] | None
    """Yields what the run took in, in order; ``None`` where it is not there any more."""


class Result:
    """A run that has ended. It can be pickled; the prices it ran on do not go with it.

    The tables are made of the run's journal when they are first asked for.
    """

    def __init__(self, report: Report, directory: Path | None, origin: Origin) -> None:
        self.report = report
        """The final report, as ``lab report`` has it."""
        self.directory = directory
        """The run's folder; ``None`` where nothing was written."""
        self._origin = origin

    @classmethod
    def of_backtest(cls, ended: Ended) -> "Result":
        """Take over a backtest: its journal stays in memory, or in the run's folder where it has one."""
        directory = ended.directory.absolute() if ended.directory is not None else None
        if directory is not None:
            ended.journal.close()
        origin = Origin(
            header=ended.info.header, status=ended.info.status(), journal=None if directory else ended.journal,
            inputs=ended.inputs,
        )  # fmt: skip
        return cls(ended.report, directory, origin)

    @classmethod
    def of_folder(cls, directory: Path) -> "Result":
        """Read a run of a folder, whatever wrote it and however it ended. Raises `JournalError` or `RunError`."""
        directory = directory.absolute()
        alive = is_running(directory)  # asked before: a run that ends meanwhile has not failed
        with contextlib.closing(JournalReader.open(directory)) as reader:
            check_begun(directory, reader)
            report = build_report(reader)
        if alive and report.reason == "unfinished":
            report = so_far(report)
        inputs = partial(recorded_inputs, directory, installed())
        return cls(report, directory, Origin(header=None, status=None, journal=None, inputs=inputs))

    def __repr__(self) -> str:
        report = self.report
        return (
            f"<Result of {report.strategy} on {report.symbol} {report.interval}: {report.status}, "
            f"{report.trades} trades, profit {report.pnl_absolute:f} ({report.pnl_percent:f} %)>"
        )

    @property
    def stats(self) -> Statistics:
        """The statistics of the report: win rate, Sharpe, drawdown and the rest, and why a figure is left out."""
        return self.report.statistics

    @cached_property
    def fills(self) -> Table[FillRow]:
        """Every fill, in order: when, what, at which price and fee, and by which rule of the broker."""
        return Table.of(FillRow, self._of_journal(fills_of))

    @cached_property
    def orders(self) -> Table[OrderRow]:
        """Every order that was accepted, in order, with what filled of it and how it ended."""
        return Table.of(OrderRow, self._of_journal(orders_of))

    @cached_property
    def trades(self) -> Table[Trade]:
        """Every closed round trip, in the order in which they closed. ``profit`` is after all fees and funding."""
        return Table.of(Trade, self._of_journal(trades_of))

    @cached_property
    def equity(self) -> Table[Equity]:
        """The equity after each candle, valued at closes, in float; the last row has the report's own.

        ``drawdown`` is the fall from the highest equity before, as a fraction of it: 0 or less.
        """
        return Table.of(Equity, self._of_journal(partial(equity_of, self.report, self._inputs())))

    @property
    def prices(self) -> Table[PriceRow]:
        """The candles it took, in order, read from its tape or its source again."""
        return Table.of(PriceRow, prices_of(self._inputs()))

    def daily_equities(self) -> list[float]:
        """Return the starting equity, then that at the end of each UTC day; the last day as far as it came.

        The daily returns of ``report.statistics`` are made of them.
        """
        ends = self._of_journal(lambda reader: reader.events(DayEnded))
        last = [self.report.ending_equity] if self.report.statistics.days > len(ends) else []
        return [float(one) for one in (self.report.starting_equity, *(end.equity for end in ends), *last)]

    def plot(self, path: str | PathLike[str], *, prices: Prices | None = None) -> Path:
        """Write the page ``summary.html`` of the run, whole in one file, and return its path.

        A result that was pickled needs ``prices``, those it ran on. Raises `lab.errors.PluginError` where the reporter
        ``html`` is not installed, `lab.errors.RunError` where it wrote no page.
        """
        target = Path(fspath(path)).absolute()
        header, status = self._origin.header, self._origin.status
        if header is None or status is None:
            page = (self.directory or Path()) / _PAGE
            if not page.is_file():
                text = f"{self.directory}: the run has no {_PAGE}; name the reporter html with the next one"
                raise RunError(EndReason.CONFIG, text)
            return _copied(page, target)
        from lab.reporting.host import ReporterHost  # these import asyncio, which a result in a loop of trials spares
        from lab.reporting.rows import RowFeed

        inputs = prices.candles() if prices is not None else self._inputs()
        candles = [event for event in inputs if isinstance(event, Candle)]
        with tempfile.TemporaryDirectory() as folder, self._reader() as reader:
            info = RunInfo(
                run_id=self.report.run_id, header=header, directory=Path(folder), quiet=True,
                status=lambda: status, report=lambda: self.report, candles=lambda: candles,
            )  # fmt: skip
            read = reader.after if self.directory is None else partial(rows_after, self.directory / FILE_NAME)
            feed = RowFeed(read)
            host = ReporterHost([("html", installed().get("reporter", "html").cls())], feed, info, FailureLog())
            feed.end()
            host.start()
            host.finish(while_taking=True)
            page = Path(folder) / _PAGE
            if host.degradations or not page.is_file():
                why = "; ".join(host.degradations) or "it wrote nothing"
                raise RunError(EndReason.PLUGIN, f"{target}: the reporter html made no page: {why}")
            return _copied(page, target)

    def __getstate__(self) -> dict[str, Any]:
        """Make the equity, which needs the prices, and leave those behind."""
        if self._origin.inputs is not None:
            self.equity  # noqa: B018 - it is kept once it was asked for
        journal = self._origin.journal
        image = journal.image() if isinstance(journal, Journal) else journal
        return {**self.__dict__, "_origin": evolve(self._origin, journal=image, inputs=None)}

    @contextlib.contextmanager
    def _reader(self) -> Iterator[JournalReader]:
        journal = self._origin.journal
        if isinstance(journal, Journal):
            yield journal.reader()
            return
        if isinstance(journal, bytes):
            reader = JournalReader.loaded(journal)
        else:
            assert self.directory is not None, "a run without a folder has its journal in memory"
            reader = JournalReader.open(self.directory)
        with contextlib.closing(reader):
            yield reader

    def _of_journal(self, make: Callable[[JournalReader], Iterable[Any]]) -> Sequence[Any]:
        with self._reader() as reader:
            return list(make(reader))

    def _inputs(self) -> Iterable[Input]:
        if self._origin.inputs is None:
            raise ConfigError("the prices of a run do not go with its result when it is pickled; give prices=")
        return self._origin.inputs()


@said_in_python()
def open_run(run: str | PathLike[str] = "latest", *, state_dir: str | PathLike[str] = ".") -> Result:
    """Return the result of a run on disk: its id, a part of it, its folder, or ``latest``.

    It may be of a session or a backtest, finished, cut off, or going on still: then its report is of the last commit,
    and its status ``running``. Raises `LabError` where there is none,
    or it cannot be read.
    """
    return Result.of_folder(find(Path(fspath(state_dir)), fspath(run)))


def _copied(page: Path, target: Path) -> Path:
    try:
        shutil.copyfile(page, target)
    except OSError as error:
        raise RunError(EndReason.STORAGE, f"{target}: cannot be written: {error.strerror or error}") from None
    return target
