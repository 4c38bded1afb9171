"""``lab run``."""

import time
from typing import Any

import click

from lab.cli import options, output
from lab.session.signals import Interrupts


@click.command("run")
@click.option("--provider", metavar="NAME", help="Where market data comes from. Default: bitunix.")
@click.option("--minutes", metavar="MINUTES", help="How long the run lasts. Default: 10.")
@click.option(
    "--speed", metavar="N|max", help="n times faster, or max: virtual time. Not for a live venue. Default: 1."
)
@options.parts
@options.as_json
@click.pass_obj
def command(interrupts: Interrupts, /, as_json: bool, **given: Any) -> int:
    """Trade on paper, live, until the time is up.

    Files go to runs/<run id>/; runs/latest points there. Ctrl-C ends in order, a second one at once.

    \b
    Examples:
      lab run --provider bitunix --strategy sma --minutes 10
      lab run --set bitunix.venue=local --speed 60       without the internet: recorded ticks, real sockets
      lab run --provider mock --minutes 60 --speed max   a seeded path in virtual time
    """
    from lab.session.launch import run_live

    _, assembly = options.gather(given)
    finished = run_live(assembly, wall_ns=time.time_ns, interrupts=interrupts, quiet=as_json, say=output.say)
    if as_json:
        output.print_json(finished.report)
    elif not assembly.reporters or not finished.report["fee_rates"]:  # it ended before reporters were asked
        click.echo(output.report_lines(finished.report))
    if finished.exit_code and not as_json:
        output.say(f"{finished.report['reason']}: {finished.report['error']}")
    if finished.directory is not None and not as_json:
        click.echo(f"files: {finished.directory}")
    return finished.exit_code
