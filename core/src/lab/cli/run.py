"""``lab run``."""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from lab.cli import options, output
from lab.cli.progress import Line, WaitingLine, offline_command
from lab.exit_codes import EndReason
from lab.session.signals import Interrupts

if TYPE_CHECKING:
    from lab.composition.assembly import Assembly
    from lab.session.recovery import Interrupted

_OF_THE_PROCESS: Final = frozenset({"reporters", "state_dir", "start_timeout"})
"""Options that do not decide how a run comes out: a resumed one takes them."""


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
@click.option(
    "--resume", metavar="[RUN]", is_flag=False, flag_value="latest",
    help="Go on with a session that was cut off, for the time it had left. Default: the newest.",
)  # fmt: skip
@options.parts
@options.as_json
@click.pass_context
def command(context: click.Context, /, as_json: bool, resume: str | None, **given: Any) -> int:
    """Trade on paper, live, until the time is up.

    Files go to runs/<run id>/; runs/latest points there. Ctrl-C ends in order, a second one at once.

    \b
    Examples:
      lab run --provider bitunix --strategy sma --minutes 10
      lab run --set bitunix.venue=local --speed 60       without the internet: recorded ticks, real sockets
      lab run --provider mock --minutes 60 --speed max   a seeded path in virtual time
      lab run --resume                                   after a crash: the same money, positions and orders
    """
    from lab.session.launch import run_live

    if resume is None:
        resumed, (_, assembly) = None, options.gather(given)
    else:
        resumed, assembly = _resumed(resume, given)
    interrupts = context.obj if isinstance(context.obj, Interrupts) else Interrupts()
    with Line() as line:
        finished = run_live(
            assembly,
            wall_ns=time.time_ns,
            interrupts=interrupts,
            quiet=as_json,
            say=line.say,
            waiting=WaitingLine(line, assembly.provider.name),
            resumed=resumed,
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


def _resumed(run: str, given: Mapping[str, Any]) -> "tuple[Interrupted, Assembly]":
    """Return the session to go on with, and its assembly. Raises `RunError`, ``click.UsageError``."""
    from lab.composition.assembly import FLAGS, RECORDED, recorded_settings
    from lab.errors import RunError
    from lab.exit_codes import EndReason
    from lab.runs.directory import find
    from lab.runs.previous import newest_session
    from lab.session.recovery import interrupted

    for name in sorted(set(given) - _OF_THE_PROCESS):
        if given[name] not in (None, ()):
            flag = FLAGS.get(name) or ("--set" if name == "sets" else f"--{name.replace('_', '-')}")
            raise click.UsageError(f"{flag}: a run that is resumed has the settings it was started with; leave it out")
    state_dir = options.state_dir_of(given)
    found = newest_session(state_dir) if run == "latest" else find(state_dir, run)
    if found is None:
        raise RunError(EndReason.CONFIG, f"{state_dir / 'runs'} holds no session to resume; leave --resume out")
    session = interrupted(state_dir, found)
    recorded = recorded_settings(session.started) | {"run.minutes": session.started.minutes}
    _, assembly = options.gather(given, fixed={dotted: (raw, RECORDED) for dotted, raw in recorded.items()})
    return session, assembly


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
