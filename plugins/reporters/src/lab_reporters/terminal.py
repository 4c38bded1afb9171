"""The run in a terminal: a live view, or plain lines where there is none (a file, a pipe, a service's log)."""

import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final, Protocol, TextIO

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, field, validators
from lab.ports import Record, Report, Reporter, RunInfo, Status

from lab_reporters import text
from lab_reporters.lines import Line, line_of
from lab_reporters.outcome import Rows, header_rows, summary_rows
from lab_reporters.output import Output, counts_text, positions_text, prices_text

_AT_ONCE: Final = frozenset({"trading", "feed", "stop", "command", "margin"})
_ONE_A_SECOND: Final = frozenset({"refusal", "signal", "notice"})
_PLURALS: Final = {
    "refusal": "refusals", "signal": "signals that were not placed", "notice": "notices", "fill": "fills",
    "end": "ends of orders",
}  # fmt: skip


class Screen(Protocol):
    """Where the run is shown."""

    def begin(self) -> None:
        """Show the header."""

    def take(self, record: Record) -> None:
        """Take a row."""

    async def keep(self) -> None:
        """Keep what is shown up to date until cancelled."""

    def end(self, report: Report) -> None:
        """Show the run's results."""


@define(kw_only=True)
class Terminal(Reporter):
    """Shows the run on standard output: live in a terminal, else in plain lines; nothing in JSON mode."""

    live: bool = field(
        default=True,
        validator=validators.instance_of(bool),
        metadata={"help": "use the live view where standard output is a terminal"},
    )
    events: int = field(
        default=8,
        validator=[validators.ge(0), validators.le(100)],
        metadata={"help": "how many of the newest events the live view shows"},
    )
    refresh_s: float = field(
        default=1.0, validator=validators.ge(0.25), metadata={"help": "seconds between two looks of the live view"}
    )
    status_s: float = field(
        default=60.0, validator=validators.ge(1), metadata={"help": "seconds between two status lines"}
    )
    lines_per_minute: int = field(
        default=60,
        validator=validators.ge(1),
        metadata={"help": "most lines a minute for fills and ended orders, the others are counted"},
    )

    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        """Show the run until its rows end, then the summary. Never raises for what a row holds."""
        screen = None if run.quiet else self._screen(run, sys.stdout)
        if screen is None:
            async for _ in records:
                pass
            return
        screen.begin()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(screen.keep)
            async for record in records:
                screen.take(record)
                if not record.seq & 255:  # an iterator that never waits must not starve the loop
                    await checkpoint()
            tasks.cancel_scope.cancel()
        screen.end(run.report())

    def _screen(self, run: RunInfo, stream: TextIO) -> Screen:
        if self.live and stream.isatty() and os.environ.get("TERM") != "dumb":
            from lab_reporters.live import LiveScreen

            return LiveScreen(run, Output(stream), events=self.events, period_s=self.refresh_s)
        return PlainScreen(run, Output(stream), status_s=self.status_s, lines_per_minute=self.lines_per_minute)


class PlainScreen:
    """One line an event, a status line now and then, a table at the end."""

    def __init__(self, run: RunInfo, out: Output, *, status_s: float, lines_per_minute: int) -> None:
        self._run = run
        self._out = out
        self._status_s = status_s
        self._lines_per_minute = lines_per_minute
        self._window = (0.0, 0)  # when the current minute of fills began, and how many lines it has had
        self._last: dict[str, float] = {}
        self._held: Counter[str] = Counter()

    def begin(self) -> None:
        """Write the header."""
        self._table("lab", header_rows(self._run.header))

    def take(self, record: Record) -> None:
        """Write the row's line, or count it where there are too many."""
        line = line_of(record)
        if line is None:
            return
        if not self._may(line, anyio.current_time()):
            self._held[line.topic] += 1
            return
        more = self._held.pop(line.topic, 0)
        tail = f" (+{more} not shown)" if more else ""
        self._write(f"{text.second(line.time_ns):<20} {line.topic:<7} {line.text}{tail}\n")

    async def keep(self) -> None:
        """Write the status line at its interval: the only periodic work."""
        while True:
            await anyio.sleep(self._status_s)
            self._rest()
            self._write(f"status: {status_text(self._run.status())}\n")

    def end(self, report: Report) -> None:
        """Write the summary."""
        self._rest()
        self._table("summary", summary_rows(report))

    def _may(self, line: Line, now_s: float) -> bool:
        if line.topic in _AT_ONCE:
            return True
        if line.topic in _ONE_A_SECOND:
            if now_s - self._last.get(line.topic, -1.0) < 1.0:
                return False
            self._last[line.topic] = now_s
            return True
        begun, lines = self._window
        if now_s - begun >= 60.0:
            begun, lines = now_s, 0
        self._window = (begun, lines + 1)
        return lines < self._lines_per_minute

    def _rest(self) -> None:
        if self._held:
            held = ", ".join(f"{_PLURALS.get(topic, topic)} {n}" for topic, n in self._held.items())
            self._write(f"not shown (too many at once; the journal has them): {held}\n")
            self._held.clear()

    def _table(self, title: str, rows: Rows) -> None:
        width = max(len(label) for label, _ in rows)
        self._write(f"{title}\n" + "".join(f"  {label:<{width}}  {said}\n" for label, said in rows))

    def _write(self, said: str) -> None:
        self._out.write(said)
        self._out.flush()


def status_text(status: Status) -> str:
    """Return the run's state in one line."""
    left = "no end set" if status.seconds_left is None else f"{text.duration(status.seconds_left)} left"
    trading = f"not trading: {'; '.join(status.why_not_trading)}" if status.why_not_trading else "trading"
    parts = [
        left,
        f"price {prices_text(status)}",
        f"equity {text.money(status.equity)}",
        f"P&L {text.profit(status.equity, status.starting_equity)}",
        f"position {positions_text(status)}",
        f"feed {status.feed}",
        trading,
        counts_text(status.totals, ", "),
    ]
    return text.clean(" | ".join(part for part in parts if part), 1000)
