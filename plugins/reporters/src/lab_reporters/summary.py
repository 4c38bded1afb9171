"""``summary.html``: the run on one page that works offline."""

import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Literal

from anyio.lowlevel import checkpoint
from attrs import define, field, validators
from lab.domain.time import MINUTE_NS, parse_interval
from lab.journal.files import private
from lab.ports import Record, Reporter, RunInfo

from lab_reporters.page_model import PageModel


@define(kw_only=True)
class Html(Reporter):
    """Writes ``summary.html`` into the run's directory when the run has ended, and nothing where it has none.

    Needs nothing from outside the file. With plotly installed the charts can be zoomed; otherwise they are plain SVG. A
    page is put in place whole or not at all.
    """

    charts: Literal["auto", "plain"] = field(
        default="auto",
        validator=validators.in_(("auto", "plain")),
        metadata={"help": "auto: with plotly where it is installed (4 MB more); plain: SVG without JavaScript"},
    )
    candles_max: int = field(
        default=2000,
        validator=[validators.ge(10), validators.le(20_000)],
        metadata={"help": "candles drawn a symbol; of more, neighbours are joined"},
    )
    rows_max: int = field(
        default=1000,
        validator=[validators.ge(1), validators.le(100_000)],
        metadata={"help": "newest rows shown a table, the total is said"},
    )

    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        """Write the page at the end. Never raises for what a row holds; raises ``OSError`` when the disk refuses it."""
        story = PageModel(
            candles_max=self.candles_max,
            rows_max=self.rows_max,
            interval_ns=_interval_ns(run.header.interval),
            instrument=run.header.instrument,
        )
        async for record in records:
            if run.directory is not None:
                story.take(record)
            if not record.seq & 255:
                await checkpoint()
        if run.directory is None:
            return
        if not story.candles:
            story.take_candles(run.candles())
        from lab_reporters.page import page

        replace_file(run.directory / "summary.html", page(run.header, run.report(), story, charts=self.charts))

    def comparison(
        self,
        names: Sequence[str],
        curves: Sequence[Sequence[tuple[int, float]]],
        tables: Sequence[tuple[str, Sequence[tuple[str, Sequence[str]]]]],
    ) -> str:
        """Return a page that shows runs beside each other: curves of (UTC nanoseconds, value), tables of their figures.

        A table is its title and its rows, each a label and a text for each run.
        """
        from lab_reporters.compared import comparison

        return comparison(names, curves, tables)


def _interval_ns(said: str) -> int:
    try:
        return parse_interval(said)
    except ValueError:
        return MINUTE_NS  # only the width of what is drawn depends on it


def replace_file(path: Path, content: str) -> None:
    """Put a file in place whole, durably, or leave the old one. Raises ``OSError``, also where its folder is gone."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb", opener=private) as file:
            file.write(content.encode("utf-8", "replace"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
