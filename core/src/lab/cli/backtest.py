"""``lab backtest``."""

import time
from typing import Any

import click

from lab.cli import options, output
from lab.session.signals import Interrupts


@click.command("backtest")
@click.argument("source", required=False)
@click.option("--provider", metavar="NAME", help="replay (default: a file or a recording) or mock (a seeded path).")
@options.parts
@options.as_json
@click.pass_obj
def command(interrupts: Interrupts, /, as_json: bool, source: str | None, **given: Any) -> int:
    """Run a strategy over recorded candles or ticks: the same engine, gates, broker and journal as `lab run`.

    SOURCE is a CSV file (plain or .gz) of candles or ticks, or a shipped recording by name: btcusd-1m, btcusdt-ticks.

    \b
    Examples:
      lab backtest btcusd-1m --strategy sma
      lab backtest prices.csv --symbol ETHUSDT --interval 5m --set sma.fast=5 --set sma.slow=20
      lab backtest --provider mock --set mock.minutes=10000
    """
    from lab.backtesting.runner import run_batch

    provider = given.pop("provider") or "replay"
    fixed: dict[str, Any] = {"run__provider": provider}
    if source is not None:
        if provider != "replay":
            raise click.UsageError(f"SOURCE {source!r} goes with the provider replay, not with {provider}")
        fixed["replay__file"] = source
    _, assembly = options.gather(given, defaults=options.BATCH_DEFAULTS, **fixed)
    finished = run_batch(
        assembly,
        wall_ns=time.time_ns,
        seconds=time.perf_counter,
        stopped=lambda: interrupts.count,
        quiet=as_json,
        say=output.say,
    )
    show(finished, as_json)
    return finished.exit_code


def show(finished: Any, as_json: bool) -> None:
    """Print how a run came out, and where its files are."""
    if as_json:
        output.print_json(finished.report)
        return
    click.echo(output.report_lines(finished.report))
    if finished.directory is not None:
        click.echo(f"files: {finished.directory}")
