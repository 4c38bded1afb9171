"""Runs the reporters of a live session, and waits for them at its end."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lab.composition.assembly import Part
from lab.domain.market import Candle
from lab.errors import JournalError
from lab.journal.reader import rows_after
from lab.journal.store import Journal
from lab.ports import Record, Reporter, RunInfo, Status
from lab.records.report import Header, Report
from lab.records.run import ReportersState
from lab.reporting.host import ReporterHost
from lab.reporting.rows import RowFeed
from lab.reporting.snapshot import Snapshot
from lab.runs.failures import FailureLog


class LiveReporters:
    """Hands committed rows and snapshots to the reporters' threads. Nothing waits for them before `finish`.

    ``status`` and ``candles`` are called by the trading thread alone. What ``candles`` returns must not change.
    """

    def __init__(
        self,
        reporters: Sequence[Part[Reporter]],
        journal: Journal,
        failures: FailureLog,
        *,
        run_id: str,
        header: Header,
        directory: Path | None,
        quiet: bool,
        status: Callable[[], Status],
        candles: Callable[[], Sequence[Candle]],
    ) -> None:
        self._journal = journal
        self._status = Snapshot(status)
        self._candles = Snapshot(candles)
        self._final: Report | None = None
        info = RunInfo(
            run_id=run_id,
            header=header,
            directory=directory,
            quiet=quiet,
            status=self._status.read,
            report=self._report,
            candles=self._candles.read,
        )
        feed = RowFeed(partial(rows_after, journal.path.resolve()) if journal.path is not None else None)
        self._host = ReporterHost([(part.name, part.component) for part in reporters], feed, info, failures)

    @property
    def degradations(self) -> Sequence[str]:
        """The degradations for reporters that failed so far."""
        return self._host.degradations

    def start(self, *, real_time: bool) -> None:
        """Start every reporter, with a status that knows why the session does not trade yet."""
        self._status.renew()
        self._host.start(real_time=real_time)

    def publish(self, records: Sequence[Record]) -> None:
        """Give reporters the committed rows, and a new status while one of them reads it."""
        self._host.publish(records)
        self._status.refresh()
        self._candles.refresh()

    def finish(self, report: Report, hurried: Callable[[], bool]) -> bool:
        """Wait for the reporters' end, and journal those that did not end; return whether there were any.

        Called once trading is over. Waits in real time: five seconds at most, and not at all where ``hurried`` says so.
        """
        self._final = report
        self._status.finish()
        self._candles.finish()
        self._host.end()
        self._host.finish(hurried=hurried)
        if self.degradations:
            with contextlib.suppress(JournalError):  # a journal that failed has reported it already
                self._journal.commit(reporters=ReportersState(degradations=tuple(self.degradations)))
        return bool(self.degradations)

    def leave(self) -> None:
        """Abandon the reporters, because there is no report to show."""
        self._host.finish(hurried=lambda: True, why="when the report failed")

    def _report(self) -> Report:
        if self._final is None:
            raise RuntimeError("the report is made when the records have ended")
        return self._final
