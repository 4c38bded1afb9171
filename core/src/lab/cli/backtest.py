"""``lab backtest``."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.cli import options, output
from lab.cli.progress import Line
from lab.live.signals import Interrupts

if TYPE_CHECKING:
    from lab.composition.assembly import Assembly
    from lab.runs.result import RunResult


@click.command("backtest")
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@click.option("--provider", metavar="NAME", help="replay (default: a file or a recording) or mock (a seeded path).")
@click.option("--from", "since", metavar="TIME", help="Leave out what begins before this: 2024-01-31, say.")
@click.option("--to", "until", metavar="TIME", help="Leave out what ends after this; a date is its first moment.")
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
    typed = given.pop("provider")
    provider = typed or "replay"
    fixed = {"run.provider": (provider, "--provider" if typed else "lab backtest")}
    if sources:
        if provider != "replay":
            raise click.UsageError(f"SOURCE {sources[0]!r} goes with the provider replay, not with {provider}")
        fixed |= {key: (value, "SOURCE") for key, value in _settings_of(sources, given["symbols"]).items()}
    for key, flag in (("since", "--from"), ("until", "--to")):
        if (text := given.pop(key)) is not None:
            if provider != "replay":
                raise click.UsageError(f"{flag} goes with the provider replay, not with {provider}")
            fixed[f"replay.{key}"] = (text, flag)
    if not sources and provider == "replay" and not options.is_given(given, "replay", "file", "files", "run"):
        raise click.UsageError("SOURCE is missing: a CSV file, or a shipped recording: lab backtest btcusd-1m")
    _, assembly = options.gather(given, defaults=options.BATCH_DEFAULTS, fixed=fixed)
    finished = run(assembly, interrupts, as_json=as_json)
    show(finished, as_json)
    return finished.exit_code


def _settings_of(sources: Sequence[str], symbols: Sequence[str]) -> dict[str, Any]:
    """Return what the sources set: one is a file, or like each of several SYMBOL=FILE. Raises ``click.UsageError``."""
    named: dict[str, str] = {}
    for source in sources:
        symbol, equals, file = source.partition("=")
        labelled = bool(symbol and equals and file) and "/" not in symbol
        if len(sources) == 1 and (not labelled or Path(source).exists()):
            return {"replay.file": source}
        shown = f"SOURCE {source[:80]!r}"
        if not labelled:
            text = f"{shown}: of several sources each says its symbol: lab backtest BTCUSDT=btc.csv ETHUSDT=eth.csv"
            raise click.UsageError(text)
        if symbols:
            raise click.UsageError(f"{shown} says its symbol, and so does --symbol {symbols[0][:80]}; leave one out")
        if symbol in named:
            raise click.UsageError(f"{shown}: another source is of {symbol} already; give each symbol one")
        named[symbol] = file
    if len(named) == 1:
        return {"run.symbol": symbol, "replay.file": file}
    return {"run.symbol": ",".join(named), "replay.files": list(sources)}


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
