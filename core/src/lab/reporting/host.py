"""Runs reporters, each in a separate thread with a separate event loop, in real time.

The trading thread hands over committed rows and waits for nobody, until trading is over: then it waits for reporters,
in all five seconds. Threads are daemons: what blocks for ever does not keep the process alive.
"""

import asyncio
import contextlib
import copy
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import anyio
import attrs

from lab.errors import JournalError, describe_error, message_of, sole_of
from lab.ports import Record, Reporter, RunInfo
from lab.reporting.rows import RowFeed
from lab.runs.failures import FailureLog

END_S: Final = 5.0
_OBEY_S: Final = 0.2
_SWITCH_S: Final = 0.001
"""How long a reporter that computes keeps the interpreter from the trading thread; Python's own 5 ms are too much."""
_POLL_S: Final = 0.02
_TOLD_MOST: Final = 200


class ReporterThread:
    """One reporter and its thread. ``taken`` counts the rows it was given, ``missed`` those it came too late for."""

    def __init__(
        self,
        name: str,
        reporter: Reporter,
        info: RunInfo,
        feed: RowFeed,
        on_failure: Callable[["ReporterThread", BaseException], None],
    ) -> None:
        self.name = name
        self.taken = 0
        self.missed = 0
        self.done = threading.Event()
        self.cancelled = False
        self.unread: JournalError | None = None
        """Why it could not be given rows: no mistake of its own."""
        self._reporter = reporter
        self._info = _own_copy(info)
        self._feed = feed
        self._on_failure = on_failure
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None
        self._more = asyncio.Event()
        self._waiting = False
        self._thread = threading.Thread(target=self._run, name=f"lab reporter {name}", daemon=True)

    def start(self) -> bool:
        """Start the thread; ``False`` where the system gives the process no further one."""
        try:
            self._thread.start()
        except RuntimeError:
            self.done.set()
            return False
        return True

    @property
    def started(self) -> bool:
        """Whether the thread was started."""
        return self._thread.ident is not None

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end, ``timeout_s`` seconds at most."""
        self._thread.join(timeout_s)

    def wake(self) -> None:
        """Let it look for rows. Called by the trading thread; costs a system call only where the reporter waits."""
        if self._waiting and self._loop is not None:
            self._waiting = False
            with contextlib.suppress(RuntimeError):  # its loop is closed
                self._loop.call_soon_threadsafe(self._more.set)

    def cancel(self) -> None:
        """Ask it to end, as a cancelled task does; what blocks its loop does not hear it."""
        self.cancelled = True
        if self._loop is not None and self._task is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)

    def _run(self) -> None:
        try:
            anyio.run(self._report, backend="asyncio")
        except BaseException as error:  # the loop could not be made; what a reporter raises does not come here
            if not self.done.is_set():
                self._on_failure(self, error)
        finally:
            self.done.set()

    async def _report(self) -> None:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        try:
            if not self.cancelled:
                await self._reporter.report(self._info, self._rows())
        except BaseException as error:  # SystemExit, CancelledError and the like are failures of this reporter alone
            if not (self.cancelled and isinstance(error, asyncio.CancelledError)):
                self._on_failure(self, error)
        finally:
            self.done.set()

    async def _rows(self) -> AsyncIterator[Record]:
        """Yield every committed row from the first, in order, until the end."""
        seq = 0
        while True:
            self._more.clear()
            self._waiting = True  # before looking: what is committed from here on wakes
            ended = self._feed.ended
            try:
                page = self._feed.after(seq)
            except JournalError as error:
                self.unread = error
                raise
            for record in page:
                self.missed += record.seq - seq - 1
                self.taken += 1
                seq = record.seq
                yield record
            if page:
                await asyncio.sleep(0)  # a reporter that never waits still hears that it is cancelled
            elif ended:
                return
            else:
                await self._more.wait()


class ReporterHost:
    """Runs the reporters of one run. ``degradations`` names what failed, in the words of the report.

    The trading thread calls `start`, `publish` and `end`, which do not wait; `finish` waits once trading is over.
    """

    def __init__(
        self, reporters: Sequence[tuple[str, Reporter]], feed: RowFeed, info: RunInfo, failures: FailureLog
    ) -> None:
        self.degradations: list[str] = []
        self._feed = feed
        self._failures = failures
        self._finished = False
        self._switch_s = sys.getswitchinterval()
        self._threads = [ReporterThread(name, one, info, feed, self._failed) for name, one in reporters]

    def start(self, *, real_time: bool = False) -> None:
        """Start every reporter; with ``real_time`` the trading thread is given the interpreter back sooner."""
        if self._threads and real_time:
            self._switch_s = sys.getswitchinterval()
            sys.setswitchinterval(min(_SWITCH_S, self._switch_s))
        for thread in self._threads:
            if not thread.start():
                self.degradations.append(f"reporter_failed {thread.name}: no thread was left for it")
                cure = "raise its limits of memory and threads (ulimit -v, ulimit -u)"
                self._failures.say(f"reporter {thread.name} is left out: no further thread can be started; {cure}")

    def publish(self, records: Sequence[Record]) -> None:
        """Hand over committed rows."""
        if records and self._threads:
            self._feed.add(records)
            self._wake()

    def end(self) -> None:
        """Announce that no more rows will come, and that the report is available."""
        self._feed.end()
        self._wake()

    def _wake(self) -> None:
        for thread in self._threads:
            thread.wake()

    def _failed(self, thread: ReporterThread, error: BaseException) -> None:
        if not self._finished and not thread.cancelled:
            if sole_of(error) is thread.unread:
                told = message_of(thread.unread)[:_TOLD_MOST]
                self.degradations.append(f"reporter_failed {thread.name}: {told}")
                self._failures.say(f"reporter {thread.name} ended early, as rows can't be read: {told}")
                return
            self.degradations.append(f"reporter_failed {thread.name}: {describe_error(error)}")
            self._failures.note("reporter", thread.name, "report", error)

    def finish(
        self,
        *,
        hurried: Callable[[], bool] = lambda: False,
        why: str = "when a second signal came",
        while_taking: bool = False,
    ) -> None:
        """Wait until every reporter is done, five seconds of real time in all, or until ``hurried`` says so.

        ``why`` completes the sentence about those that were not done then.
        With ``while_taking`` (a backtest, whose rows all come at its end) each has five seconds from the last row it
        took. What is not done then is cancelled, gets a fifth of a second to obey, and is abandoned.
        """
        now = time.monotonic()
        started = [thread for thread in self._threads if thread.started]
        limits = {thread: (thread.taken, now + END_S) for thread in started}
        left: list[ReporterThread] = []
        while working := [thread for thread in started if not thread.done.is_set() and thread not in left]:
            now, hurry = time.monotonic(), hurried()
            for thread in working:
                taken, limit = limits[thread]
                if while_taking and thread.taken != taken:
                    limits[thread] = (thread.taken, now + END_S)
                elif hurry or now >= limit:
                    self._leave(thread, why if hurry else f"{END_S:g} s after the end")
                    left.append(thread)
            working[0].done.wait(_POLL_S)
        obey_until = time.monotonic() + _OBEY_S
        for thread in started:  # those that are done are closing their loops
            thread.join(max(0.0, obey_until - time.monotonic()))
        self._finished = True
        self._feed.close()
        sys.setswitchinterval(self._switch_s)
        for thread in self._threads:
            if thread.missed:
                rows = f"{thread.missed} rows; without a file only the newest are kept for a reporter that is behind"
                self.degradations.append(f"reporter_missed_rows {thread.name}: {rows}")

    def _leave(self, thread: ReporterThread, when: str) -> None:
        thread.cancel()
        self.degradations.append(f"reporter_unfinished {thread.name}: not done {when}, after {thread.taken} rows")
        self._failures.say(f"reporter {thread.name} was not done {when} and was abandoned")


def _own_copy(info: RunInfo) -> RunInfo:
    """Copy a run's facts for one reporter, so that no other sees its changes."""
    return attrs.evolve(
        info,
        header=copy.deepcopy(info.header),
        status=lambda: copy.deepcopy(info.status()),
        report=lambda: copy.deepcopy(info.report()),
        candles=lambda: list(info.candles()),
    )
