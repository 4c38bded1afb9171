"""``lab download``."""

import time
from pathlib import Path
from typing import Any, Final

import click

from lab.cli import options, output
from lab.cli.progress import Line

_HOLES_SHOWN: Final = 5


@click.command("download")
@click.option("--provider", metavar="NAME", help="Where from. Default: bitunix.")
@click.option("--symbol", "symbols", multiple=True, metavar="SYMBOL", help="The instrument. Default: BTCUSDT.")
@click.option("--interval", metavar="LENGTH", help="Length of a candle: 1m, 5m, 1h ... Default: 1m.")
@click.option("--from", "since", metavar="TIME", required=True, help="When the first candle opens: 2024-01-31, say.")
@click.option("--to", "until", metavar="TIME", help="When the last candle has ended. Default: the newest closed one.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="The file; .gz packs it. Default: SYMBOL-INTERVAL.csv.",
)  # fmt: skip
@options.config
@options.sets
@options.as_json
def command(as_json: bool, since: str, until: str | None, out: Path | None, **given: Any) -> int:
    """Download a provider's history to a file that `lab backtest` reads. No key is needed.

    What was fetched lies in FILE.part until all is there; the same command goes on with it. Candles that the provider
    does not have are named, and not made up.

    \b
    Examples:
      lab download --provider bitunix --symbol BTCUSDT --from 2024-01-01 --to 2024-02-01
      lab download --interval 1h --from 2023-01-01 --out btc.csv.gz
    """
    from lab.downloads.download import Wanted, run_download

    since_ns, until_ns = _time(since, "--from"), None if until is None else _time(until, "--to")
    if until_ns is not None and since_ns >= until_ns:
        raise click.UsageError(f"--from {since} is not before --to {until}")
    _, assembly = options.gather({**given, "no_write": True})
    run = assembly.settings
    path = out or Path(f"{run.only_symbol('lab download')}-{run.interval}.csv")
    with Line() as line:
        done = run_download(
            assembly, Wanted(since_ns, until_ns, path), wall_ns=time.time_ns, progress=line.step, say=line.say
        )
    _show(done, run.symbol, run.interval, as_json)
    return 0


def _time(text: str, flag: str) -> int:
    from lab.domain.time import parse_time

    try:
        return parse_time(text)
    except ValueError as error:
        raise click.UsageError(f"{flag}: {error}") from None


def _show(done: Any, symbol: str, interval: str, as_json: bool) -> None:
    from lab.domain.time import format_time, parse_interval

    if as_json:
        holes = [[format_time(one.begin_ns), format_time(one.end_ns)] for one in done.holes]
        output.print_json({
            "schema_version": 1, "kind": "download", "file": str(done.path), "symbol": symbol, "interval": interval,
            "candles": done.candles, "from": format_time(done.since_ns), "to": format_time(done.until_ns),
            "origin": done.origin, "gone_on_with": done.gone_on_with, "holes": holes,
        })  # fmt: skip
        return
    for one in done.holes[:_HOLES_SHOWN]:
        missing = (one.end_ns - one.begin_ns) // parse_interval(interval)
        output.say(f"{missing:,} candles are missing from {format_time(one.begin_ns)} to {format_time(one.end_ns)}")
    if len(done.holes) > _HOLES_SHOWN:
        output.say(f"and {len(done.holes) - _HOLES_SHOWN:,} holes more (--json names them)")
    before = f", {done.gone_on_with:,} of them from an earlier call" if done.gone_on_with else ""
    click.echo(
        f"{done.path}: {done.candles:,} candles of {symbol}, {interval}, from {format_time(done.since_ns)} "
        f"to {format_time(done.until_ns)}, of {done.origin}{before}"
    )
