"""``lab stop``."""

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from lab.cli import options, output

if TYPE_CHECKING:
    from lab.records.run import RunEnded

_LOOK_S: Final = 0.1
_AGAIN_S: Final = 10.0
"""How long a session that was cut off may take to be there again, where a supervisor starts it."""


@click.command("stop")
@click.argument("run", required=False)
@click.option("--kill", is_flag=True, help="Throw the kill switch: close every position at the next fresh price.")
@click.option(
    "--timeout", type=click.FloatRange(0, 3600), default=30.0, metavar="SECONDS",
    help="How long to wait for the end; 0: do not wait. Default: 30.",
)  # fmt: skip
@options.place
@options.as_json
def command(run: str | None, kill: bool, timeout: float, as_json: bool, **given: Any) -> int:
    """End a running session as Ctrl-C does, and wait for its end.

    RUN is the session's id, a part of it, or its folder; by default the one that runs in the state directory. With
    --kill no strategy is called again, orders are cancelled, positions are closed, and the session ends with exit code
    99. Exit code 0: it has ended; 1: it has not, or --kill left a position open.

    \b
    Examples:
      lab stop
      lab stop 20240809T0004 --kill
    """
    from lab.runs.directory import find
    from lab.runs.switch import throw

    state_dir = options.state_dir_of(given)
    directory = find(state_dir, run) if run is not None else _the_one_that_runs(state_dir)
    throw(directory, kill=kill, why="lab stop --kill" if kill else "lab stop")
    ended = _await_end(directory, timeout)
    left = [one for one in (ended.session.degradations if ended is not None else ()) if "position_left_open" in one]
    if as_json:
        known = {} if ended is None else {"reason": ended.reason, "exit_code": ended.exit_code, "error": ended.error}
        found = {"run": directory.name, "ended": ended is not None, **known, "left_open": left}
        output.print_json({"schema_version": 1, "kind": "stop", **found})
    elif ended is None:
        _say_that_it_goes_on(directory, timeout)
    else:
        click.echo("\n  ".join([f"{directory.name}: ended: {ended.reason}, exit code {ended.exit_code}", *left]))
    return 1 if (ended is None and timeout) or (kill and left) else 0


def _the_one_that_runs(state_dir: Path) -> Path:
    """Return the session that runs in a state directory. Raises `RunError` where none does."""
    from lab.errors import RunError
    from lab.exit_codes import EndReason
    from lab.runs.previous import is_running, newest_session

    newest = newest_session(state_dir)
    if newest is None or not is_running(newest):
        text = f"no session runs in {state_dir.absolute()}; `lab runs` lists runs, --state-dir names another folder"
        raise RunError(EndReason.CONFIG, text)
    return newest


def _await_end(directory: Path, timeout: float) -> "RunEnded | None":
    """Wait until a session's process has let go of its folder; return how it ended, ``None`` where it has not."""
    from lab.errors import RunError
    from lab.exit_codes import EndReason
    from lab.journal.reader import JournalReader
    from lab.runs.previous import is_running

    until = time.monotonic() + timeout
    alive_at = time.monotonic()
    while (now := time.monotonic()) < until:
        if is_running(directory):
            alive_at = now
        else:
            with contextlib.closing(JournalReader.open(directory)) as reader:
                ended = reader.run_ended()
            if ended is not None:
                return ended
            if now - alive_at > _AGAIN_S:
                name = directory.name
                text = f"{name} was cut off before its end; `lab report {name} --write` writes its report"
                raise RunError(EndReason.UNKNOWN, text)
        time.sleep(_LOOK_S)
    return None


def _say_that_it_goes_on(directory: Path, timeout: float) -> None:
    if not timeout:
        click.echo(f"{directory.name}: asked to end")
        return
    from lab.journal.reader import JournalReader

    with contextlib.closing(JournalReader.open(directory)) as reader:
        process = reader.labels().get("pid", "?")
    cure = f"it may still end; `kill -9 {process}` ends it without closing anything"
    output.say(f"{directory.name} was asked to end and has not within {timeout:g} s; {cure}")
