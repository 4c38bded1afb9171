"""The live view of a terminal. One task of the loop draws it, never a thread of rich."""

from collections import deque
from decimal import Decimal
from typing import Final, TextIO, cast

import anyio
from lab.ports import Record, Report, RunInfo, Status
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lab_reporters import text
from lab_reporters.lines import Line, line_of
from lab_reporters.outcome import NO_GATES, Rows, header_rows, summary_rows
from lab_reporters.output import Output, counts_text, positions_text, prices_text

_STYLES: Final = {
    "fill": "bold cyan",
    "end": "yellow",
    "refusal": "yellow",
    "signal": "blue",
    "trading": "magenta",
    "feed": "magenta",
    "notice": "dim",
    "stop": "bold red",
    "margin": "bold red",
    "command": "bold",
}


class LiveScreen:
    """Time left, price, position, equity, feed, why it is not trading, counts and the newest events.

    Drawn at most once a period (seconds of real time), and only when something shown has changed.
    """

    def __init__(self, run: RunInfo, out: Output, *, events: int, period_s: float) -> None:
        self._run = run
        self._console = Console(file=cast("TextIO", out), force_terminal=True, highlight=False, markup=False)
        self._period_s = period_s
        self._lines: deque[Line] = deque(maxlen=events)
        self._taken = 0
        self._stopping = False
        self._due = anyio.Event()

    def begin(self) -> None:
        """Print the header, which stays in the terminal's history."""
        self._console.print(_table("lab", header_rows(self._run.header)))

    def take(self, record: Record) -> None:
        """Remember the row's event; drawing waits for its turn."""
        line = line_of(record)
        if line is not None:
            self._lines.append(line)
            self._taken += 1
            if line.ends_the_run:  # said at once: the end may take seconds, and a second signal cuts it short
                self._stopping = True
                self._due.set()

    async def keep(self) -> None:
        """Draw until cancelled, then wipe the view away."""
        while True:
            await self._keep_while_of_one_size()
            # A terminal breaks the lines of a wider view anew, so what is to be wiped is no longer where it was drawn.
            self._console.clear()
            self.begin()

    async def _keep_while_of_one_size(self) -> None:
        size, shown = self._console.size, object()
        with Live(console=self._console, auto_refresh=False, transient=True) as view:
            while self._console.size == size:
                status = self._run.status()
                looks = (self._taken, _visible(status))
                if looks != shown:
                    view.update(self._view(status), refresh=True)
                    shown = looks
                self._due = anyio.Event()
                with anyio.move_on_after(self._period_s):
                    await self._due.wait()

    def end(self, report: Report) -> None:
        """Print the summary."""
        self._console.print(_table("summary", summary_rows(report)))

    def _view(self, status: Status) -> Panel:
        header = self._run.header
        strategies = text.joined(header.strategies, 40)
        title = f"{header.provider} · {header.symbol} {header.interval} · {strategies}"
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(ratio=1, overflow="fold")
        for label, said in _status_rows(status, stopping=self._stopping):
            grid.add_row(label, said)
        parts: list[Table | Text] = [grid]
        if self._lines:
            parts.append(Text())
            parts += [_event(line) for line in self._lines]
        return Panel(Group(*parts), title=Text(text.clean(title, 60)), title_align="left", box=box.ROUNDED)


def _visible(status: Status) -> object:
    left = None if status.seconds_left is None else int(status.seconds_left)
    return (
        left, status.price, tuple(status.prices.values()), status.feed, status.why_not_trading, status.equity,
        status.positions, counts_text(status.totals, " "),
    )  # fmt: skip


def _status_rows(status: Status, *, stopping: bool) -> list[tuple[str, Text]]:
    trading = (
        Text("no: " + text.clean("; ".join(status.why_not_trading)), "yellow")
        if status.why_not_trading
        else Text("yes", "green")
    )
    left = "no end set" if status.seconds_left is None else text.duration(status.seconds_left)
    if stopping:
        left = "stopping… (Ctrl-C again ends at once)"
    change = status.equity - status.starting_equity
    return [
        ("Time left", Text(left)),
        ("Price", Text(prices_text(status))),
        ("Position", Text(text.clean(positions_text(status)))),
        ("Equity", Text(text.money(status.equity))),
        ("P&L", Text(text.profit(status.equity, status.starting_equity), _profit_style(change))),
        ("Feed", Text(text.clean(status.feed), "green" if status.feed == "live" else "yellow")),
        ("Trading", trading),
        ("Counts", Text(counts_text(status.totals, " · "))),
    ]


def _profit_style(change: Decimal) -> str:
    if not change.is_finite() or not change:
        return ""
    return "green" if change > 0 else "red"


def _event(line: Line) -> Text:
    # One row each: a long reason must not push the figures off a small window.
    said = Text(no_wrap=True, overflow="ellipsis")
    said.append(f"{text.clock(line.time_ns):<8} ", "dim")
    said.append(f"{line.topic:<7} ", _STYLES[line.topic])
    said.append(line.text)
    return said


def _table(title: str, rows: Rows) -> Table:
    table = Table(title=title, box=box.SIMPLE, show_header=False, title_justify="left", title_style="bold")
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, said in rows:
        table.add_row(label, Text(said, "bold yellow" if said == NO_GATES or label == "No trade" else ""))
    return table
