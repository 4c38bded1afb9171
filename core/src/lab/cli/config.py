"""``lab config``."""

from typing import Any

import click

from lab.cli import options, output


@click.command("config")
@click.option("--provider", metavar="NAME", help="Where market data comes from. Default: bitunix.")
@click.option("--minutes", metavar="MINUTES", help="How long a run lasts. Default: 10.")
@click.option("--speed", metavar="N|max", help="n times faster, or max.")
@options.parts
@options.as_json
def command(as_json: bool, **given: Any) -> int:
    """Show every setting that a `lab run` with these options would have, and where each value comes from.

    Command line counts over environment (LAB_SMA_FAST=5), environment over file (--config), file over defaults.
    """
    from lab.journal.report import setting_text

    _, assembly = options.gather(given)
    if as_json:
        settings = [
            {"key": s.key, "value": setting_text(s.value), "origin": s.origin, "help": s.help}
            for s in assembly.in_force
        ]
        output.print_json({"schema_version": 1, "kind": "config", "settings": settings})
        return 0
    rows = [[s.key, setting_text(s.value), s.origin, s.help] for s in assembly.in_force]
    click.echo(output.table(rows, ("setting", "value", "from", "what it is")))
    return 0
