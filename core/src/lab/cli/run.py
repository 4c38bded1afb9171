"""``lab run``."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.cli import options, output
from lab.cli.progress import Line, WaitingLine, offline_command
from lab.exit_codes import EndReason
from lab.live.signals import Interrupts

if TYPE_CHECKING:
    from lab.composition.assembly import Assembly
    from lab.live.recovery import Interrupted


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
    "--strict-state", is_flag=True, default=None,
    help="End with 74 where an earlier session is damaged; without it, it is put aside.",
)  # fmt: skip
@click.option(
    "--resume", metavar="[RUN]", is_flag=False, flag_value="latest",
    help="Go on with a session that was cut off, for the time it had left. Default: the newest. auto: the newest where "
    "it was cut off, else a new one.",
)  # fmt: skip
@click.option(
    "--supervise", is_flag=True,
    help="Start again, for the time that is left, what was killed, froze or failed.",
)  # fmt: skip
@click.option(
    "--health-port", metavar="PORT",
    help="Answer /health and /metrics on this port of loopback; 0 picks one and says which.",
)  # fmt: skip
@click.option(
    "--log-file", type=click.Path(path_type=Path), metavar="FILE",
    help="Copy what is said on standard error to a file: 10 MB, and five older ones.",
)  # fmt: skip
@click.option("--verbose", is_flag=True, help="Say on standard error what feed, warm-up and libraries do.")
@options.parts
@options.as_json
@click.pass_context
def command(
    context: click.Context,
    /,
    as_json: bool,
    resume: str | None,
    supervise: bool,
    log_file: Path | None,
    verbose: bool,
    **given: Any,
) -> int:
    """Trade on paper, live, until the time is up.

    Files go to runs/<run id>/; runs/latest points there. Ctrl-C ends in order, a second one at once.

    \b
    Examples:
      lab run --provider bitunix --strategy sma --minutes 10
      lab run --set bitunix.venue=local --speed 60       without the internet: recorded ticks, real sockets
      lab run --provider mock --minutes 60 --speed max   a seeded path in virtual time
      lab run --resume                                   after a crash: the same money, positions and orders
    """
    if supervise:
        return _supervised(context, log_file)
    from lab.cli.logs import begin_log_file, library_logs
    from lab.live.launch import run_live

    if log_file is not None:
        begin_log_file(log_file)
    interrupts = context.obj if isinstance(context.obj, Interrupts) else Interrupts()
    with Line() as line, library_logs(line.say, verbose=verbose):
        resumed = None if resume is None else _interrupted(resume, options.state_dir_of(given))
        assembly = options.gather(given)[1] if resumed is None else _reassembled(resumed, given)
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


def _supervised(context: click.Context, log_file: Path | None) -> int:
    """Run the same command in a process of its own, and start it again where it crashes."""
    if sys.platform == "win32":
        raise click.UsageError("--supervise is not there on Windows; let a service manager start lab again")
    from lab.cli.logs import also_in
    from lab.supervision.supervisor import Supervisor

    _, *typed = context.meta[output.ARGUMENTS]
    say = output.say if log_file is None else also_in(log_file, output.say)
    interrupts = context.obj

    def early() -> EndReason | None:
        if not isinstance(interrupts, Interrupts) or not (interrupts.killed or interrupts.count):
            return None
        return EndReason.KILLED if interrupts.killed else EndReason.STOPPED

    return Supervisor([one for one in typed if one != "--supervise"], say, early=early).run()


def _interrupted(run: str, state_dir: Path) -> "Interrupted | None":
    """Return the session to go on with; ``None`` where ``auto`` finds none. Raises `RunError`."""
    from lab.errors import RunError
    from lab.live.recovery import interrupted
    from lab.runs.directory import find
    from lab.runs.previous import incomplete_session, newest_session

    found = newest_session(state_dir) if run in {"latest", "auto"} else find(state_dir, run)
    if found is None:
        if run == "auto":
            return None
        lacking = incomplete_session(state_dir)
        why = f" whole (missing in {lacking})" if lacking else ""
        raise RunError(EndReason.CONFIG, f"{state_dir / 'runs'} holds no session to resume{why}; leave --resume out")
    try:
        return interrupted(state_dir, found)
    except RunError as error:
        if run != "auto" or error.reason is EndReason.IN_USE:
            raise
        output.say(f"a new run begins: {str(error).partition(';')[0]}")
        return None


def _reassembled(session: "Interrupted", given: Mapping[str, Any]) -> "Assembly":
    """Return the assembly of a session that was cut off. Raises `ConfigError` where other settings are given now."""
    from lab.composition.assembly import RECORDED, own_settings, recorded_settings
    from lab.errors import ConfigError

    recorded = recorded_settings(session.started)
    _, assembly = options.gather(given, taken_over={dotted: (raw, RECORDED) for dotted, raw in recorded.items()})
    given_now = own_settings(assembly)
    for dotted in sorted({*recorded, *given_now}):
        then, now = recorded.get(dotted, "not set"), given_now.get(dotted, "not set")
        if then != now:
            name = session.directory.name
            raise ConfigError(
                f"{dotted} = {now}: {name} was started with {then}, and a run that is resumed keeps its settings; "
                "put it back, or start a new run without --resume"
            )
    return assembly


def _offer_offline(context: click.Context, assembly: "Assembly") -> None:
    """Print the command line that works without the network on a separate line, where the provider has one."""
    provider = assembly.provider
    settings = provider.component.offline_settings()
    if settings:
        from lab.supervision.beats import Beats

        output.say("this works without the internet:")
        typed = context.meta.get(output.ARGUMENTS, ["run"])
        if Beats(os.environ).supervised:
            typed = [*typed, "--supervise"]
        click.echo(offline_command(typed, provider.name, dict(settings), os.environ), err=True)
