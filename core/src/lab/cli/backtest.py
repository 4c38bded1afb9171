"""``lab backtest``."""

import time
from typing import TYPE_CHECKING, Any

import click

from lab.cli import options, output
from lab.cli.progress import Line
from lab.cli.sources import fixed_by, prices
from lab.live.signals import Interrupts

if TYPE_CHECKING:
    from lab.composition.assembly import Assembly
    from lab.runs.result import RunResult


@click.command("backtest")
@prices
@options.parts
@options.as_json
@options.live_only("--minutes", "a backtest runs over all of its data")
@options.live_only("--speed", "a backtest runs as fast as it can")
@click.pass_obj
def command(interrupts: Interrupts, /, as_json: bool, sources: tuple[str, ...], **given: Any) -> int:
    """Run a strategy over recorded candles or ticks: the same engine, gates, broker and journal as `lab run`.

    SOURCE is a file of candles or ticks, or a shipped recording by name: btcusd-1m, btcusdt-ticks. Its interval is that
    of the file; a longer one is made of its candles. Of several symbols each has a SOURCE of its own, as SYMBOL=FILE;
    their data is merged by time.

    \b
    Examples:
      lab backtest btcusd-1m --strategy sma
      lab backtest prices.csv --symbol ETHUSDT --interval 5m --set sma.fast=5 --set sma.slow=20
      lab backtest prices.csv --from 2024-01-01 --to 2024-07-01
      lab backtest BTCUSDT=btc.csv ETHUSDT=eth.csv
      lab backtest --provider mock --set mock.minutes=10000
    """
    fixed = fixed_by(given, sources, "backtest")
    _, assembly = options.gather(given, defaults=options.BATCH_DEFAULTS, fixed=fixed)
    finished = run(assembly, interrupts, as_json=as_json)
    show(finished, as_json)
    return finished.exit_code


def run(assembly: "Assembly", interrupts: Interrupts, *, as_json: bool, **more: Any) -> "RunResult":
    """Run a backtest or replay with its progress on the terminal; an interrupt ends it in order."""
    from lab.backtesting.runner import run_batch

    with Line() as line:
        return run_batch(
            assembly,
            wall_ns=time.time_ns,
            seconds=time.perf_counter,
            stopped=lambda: interrupts.count,
            progress=line.step,
            quiet=as_json,
            say=line.say,
            **more,
        )


def show(finished: Any, as_json: bool) -> None:
    """Print how a run came out, and where its files are."""
    if as_json:
        output.print_json(finished.report)
        return
    click.echo(output.report_lines(finished.report))
    click.echo(output.files_line(finished.directory))
