"""Where a backtest's prices come from: SOURCE, ``--provider``, ``--from`` and ``--to``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lab.cli import options

prices = options.apply(
    click.argument("sources", metavar="[SOURCE]...", nargs=-1),
    click.option("--provider", metavar="NAME", help="replay (default: a file or a recording) or mock (a seeded path)."),
    click.option("--from", "since", metavar="TIME", help="Leave out what begins before this: 2024-01-31, say."),
    click.option("--to", "until", metavar="TIME", help="Leave out what ends after this; a date is its first moment."),
)


def fixed_by(given: dict[str, Any], sources: Sequence[str], command: str) -> dict[str, tuple[Any, str]]:
    """Take what `prices` gives out of a command's options; return it as settings that count over all others.

    Raises ``click.UsageError`` where they do not go together, or there is no source.
    """
    typed = given.pop("provider")
    provider = typed or "replay"
    fixed = {"run.provider": (provider, "--provider" if typed else f"lab {command}")}
    if sources:
        cut = next((text for text in given["sets"] if "=" not in text), None)
        if cut is not None:
            text = "expected NAME.KEY=VALUE in one word; what follows a blank is taken for a SOURCE"
            raise click.UsageError(f"--set {cut[:80]}: {text}")
        if provider != "replay":
            raise click.UsageError(f"SOURCE {sources[0]!r} goes with the provider replay, not with {provider}")
        fixed |= {key: (value, "SOURCE") for key, value in _settings_of(sources, given["symbols"]).items()}
    for key, flag in (("since", "--from"), ("until", "--to")):
        if (text := given.pop(key)) is not None:
            if provider != "replay":
                raise click.UsageError(f"{flag} goes with the provider replay, not with {provider}")
            fixed[f"replay.{key}"] = (text, flag)
    if not sources and provider == "replay" and not options.is_given(given, "replay", "file", "files", "run"):
        raise click.UsageError(f"SOURCE is missing: a CSV file, or a shipped recording: lab {command} btcusd-1m")
    return fixed


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
