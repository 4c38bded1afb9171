"""``lab walkforward``."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.cli import options, output
from lab.cli.progress import Line
from lab.cli.sources import prices
from lab.cli.sweep import cell, gathered, page, search, space
from lab.domain.time import format_time
from lab.live.signals import Interrupts

if TYPE_CHECKING:
    from lab.research.walk import WalkForward


@click.command("walkforward")
@click.option("--in-sample", required=True, metavar="LENGTH", help="Where settings are chosen: 30d, or 500 candles.")
@click.option("--out-of-sample", required=True, metavar="LENGTH", help="Where they are traded: 7d, or 100 candles.")
@click.option("--anchored", is_flag=True, help="Every window begins with the prices. Default: windows roll.")
@space
@search
@page("the equity out of sample, and the windows")
@prices
@options.parts
@options.as_json
@options.live_only("--minutes", "a walk runs over all of its data")
@options.live_only("--speed", "a walk runs as fast as it can")
@click.pass_obj
def command(
    interrupts: Interrupts, /, sources: tuple[str, ...], in_sample: str, out_of_sample: str, anchored: bool,
    page: Path | None, as_json: bool, **given: Any,
) -> int:  # fmt: skip
    """Choose settings in one stretch of the prices and trade them in the next, again and again, to the end.

    SOURCE is what `lab backtest` takes; the other options are those of `lab sweep`, without --pruner. The equity out of
    sample goes on from window to window. Exit code 1: nothing was traded out of sample.

    \b
    Example:
      lab walkforward btcusd-1m --in-sample 8h --out-of-sample 4h --space fast=3:9:3 --space slow=20:40:10 --metric pnl
    """
    from lab.research.walkforward import stretches_of, walked

    if given.get("pruner"):
        raise click.UsageError("--pruner is for `lab sweep`; leave it out")
    plan, read, spaces, how, more = gathered(given, sources, "walkforward")
    stretches = stretches_of(read, in_sample, out_of_sample, anchored=anchored)
    with Line() as line:
        step = partial(line.step, "windows")
        walk = walked(plan, read, spaces, how, stretches, stopped=lambda: interrupts.count, progress=step, **more)
    written = walk.plot(page) if page is not None else None
    if as_json:
        output.print_json(_as_data(walk))
    else:
        for text in _lines(walk):
            click.echo(text)
        if written is not None:
            click.echo(f"page: {written}")
    return 0 if any(row.settings is not None for row in walk.windows) else 1


def _as_data(walk: "WalkForward") -> dict[str, Any]:
    return {
        "schema_version": 1,
        "kind": "walkforward",
        "metric": walk.metric,
        "direction": walk.direction,
        "interrupted": walk.interrupted,
        "profit": walk.profit,
        "in_sample": walk.in_sample,
        "out_of_sample": walk.out_of_sample,
        "warnings": list(walk.warnings),
        "windows": [row._asdict() for row in walk.windows],
        "equity": [[row.time_ns, row.equity] for row in walk.equity],
    }


def _lines(walk: "WalkForward") -> list[str]:
    header = ("window", "out of sample from", "to", "settings", "tried", f"{walk.metric} in", "out", "profit", "trades")
    rows = [
        [
            str(row.number), _minute(row.out_of_sample_from_ns), _minute(row.out_of_sample_to_ns),
            " ".join(f"{key}={value}" for key, value in (row.settings or {}).items()) or "none",
            str(row.trials),
            cell(row.in_sample), cell(row.out_of_sample), output.rounded(row.profit), str(row.trades),
        ]
        for row in walk.windows
    ]  # fmt: skip
    end = walk.windows[-1].ending_equity if len(walk.windows) else 0
    said = [output.table(rows, header), "", f"out of sample: profit {output.rounded(walk.profit)}, equity {end:,.2f}"]
    return [*said, *(f"  {text}" for text in walk.warnings)]


def _minute(time_ns: int) -> str:
    return format_time(time_ns - time_ns % 60_000_000_000)
