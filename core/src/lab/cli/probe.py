"""``lab probe``."""

import time
from typing import Any

import click

from lab.cli import options, output


@click.command("probe")
@click.option("--provider", metavar="NAME", help="The provider to try. Default: bitunix.")
@options.config
@options.sets
@click.option(
    "--symbol", "symbols", multiple=True, metavar="SYMBOL", help="The instrument; may be repeated. Default: BTCUSDT."
)
@click.option("--interval", metavar="LENGTH", help="Length of a candle. Default: 1m.")
@options.as_json
def command(as_json: bool, **given: Any) -> int:
    """Try a provider from outside, without any key: candles, stream, clock skew, round trip.

    \b
    Examples:
      lab probe --provider bitunix
      lab probe --provider bitunix --set bitunix.venue=local
    """
    from lab.live.checks import probe_provider

    _, assembly = options.gather({**given, "no_write": True})
    checks = probe_provider(assembly, wall_ns=time.time_ns)
    return show_checks("probe", checks, as_json)


def show_checks(kind: str, checks: Any, as_json: bool) -> int:
    """Print rows of checks; return 0 when none failed, else 1."""
    failed = any(check.ok is False for check in checks)
    if as_json:
        rows = [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks]
        output.print_json({"schema_version": 1, "kind": kind, "ok": not failed, "checks": rows})
    else:
        marks = {True: "ok", False: "FAILED", None: "skipped"}
        click.echo(output.table([[c.name, marks[c.ok], c.detail] for c in checks], ("check", "result", "detail")))
    return 1 if failed else 0
