"""``lab run``."""

import os
import time
from typing import TYPE_CHECKING, Any

import click

from lab.cli import options, output
from lab.cli.progress import Line, WaitingLine, offline_command
from lab.exit_codes import EndReason
from lab.session.signals import Interrupts

if TYPE_CHECKING:
    from lab.composition.assembly import Assembly


@click.command("run")
@click.option("--provider", metavar="NAME", help="Where market data comes from. Default: bitunix.")
@click.option("--minutes", metavar="MINUTES", help="How long the run lasts. Default: 10.")
@click.option(
    "--speed", metavar="N|max", help="n times faster, or max: virtual time. Not for a live venue. Default: 1."
)
@click.option(
    "--start-timeout", metavar="SECONDS",
    help="End when the provider can't be reached for so long; 0 waits for ever. Default: 30.",
)  # fmt: skip
@options.parts
@options.as_json
@click.pass_context
def command(context: click.Context, /, as_json: bool, **given: Any) -> int:
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
    interrupts = context.obj if isinstance(context.obj, Interrupts) else Interrupts()
    with Line() as line:
        finished = run_live(
            assembly,
            wall_ns=time.time_ns,
            interrupts=interrupts,
            quiet=as_json,
            say=line.say,
            waiting=WaitingLine(line, assembly.provider.name),
        )
    if as_json:
        output.print_json(finished.report)
    elif finished.reached and not assembly.reporters:
        click.echo(output.report_lines(finished.report))
    if not as_json and (finished.exit_code or not finished.reached):
        output.say(f"{finished.report.reason}: {finished.report.error or 'the provider was not reached'}")
    if finished.report.reason == EndReason.NEVER_WARMED.code and not finished.reached:
        _offer_offline(context, assembly)
    if not as_json:
        click.echo(output.files_line(finished.directory))
    return finished.exit_code


def _offer_offline(context: click.Context, assembly: "Assembly") -> None:
    """Print the command line that works without the network on a separate line, where the provider has one."""
    provider = assembly.provider
    settings = provider.component.offline_settings()
    if settings:
        output.say("this works without the internet:")
        name = provider.name
        click.echo(
            offline_command(context.meta.get(output.ARGUMENTS, ["run"]), name, dict(settings), os.environ), err=True
        )
