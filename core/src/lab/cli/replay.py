"""``lab replay``."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.cli import options, output
from lab.cli.backtest import run as execute
from lab.cli.backtest import show
from lab.live.signals import Interrupts

if TYPE_CHECKING:
    from lab.records.run import ComponentRecord, RunStarted


@click.command("replay")
@click.argument("run", default="latest")
@options.parts
@options.as_json
@click.pass_obj
def command(interrupts: Interrupts, /, as_json: bool, run: str, **given: Any) -> int:
    """Feed what a session recorded to the same assembly again, or to another strategy.

    RUN is a session's id, a part of it, its folder, or `latest` (the default): the newest session. Settings not given
    are the recorded session's own. Each replay is a run with its own folder.

    \b
    Examples:
      lab replay
      lab replay 20241224T1830 --set sma.slow=50
    """
    from lab.composition.assembly import RECORDED
    from lab.errors import RunError
    from lab.exit_codes import EndReason
    from lab.journal.schema import FIRST_SEGMENT
    from lab.runs.directory import find
    from lab.runs.previous import is_running, started_of

    state_dir = options.state_dir_of(given)
    directory = find(state_dir, run)
    if run == "latest":
        directory = _newest_session(state_dir, directory)
    recorded = started_of(directory)
    if recorded.kind != "run":
        raise RunError(EndReason.CONFIG, f"{directory.name} {_again(directory, recorded)}")
    tape = directory / FIRST_SEGMENT
    if tape.is_file() and not tape.stat().st_size:
        raise RunError(EndReason.CONFIG, f"{directory.name} recorded no inputs: there is nothing to replay")
    if is_running(directory):
        output.say(f"{directory.name} is still running; this replays the inputs it has recorded so far")
    _, assembly = options.gather(
        given,
        defaults=options.BATCH_DEFAULTS,
        taken_over={dotted: (raw, RECORDED) for dotted, raw in _recorded(recorded, given).items()},
        fixed={"run.provider": ("replay", "lab replay"), "replay.run": (str(directory), "RUN")},
    )
    finished = execute(assembly, interrupts, as_json=as_json, kind="replay", recorded=recorded)
    show(finished, as_json)
    return finished.exit_code


def _newest_session(state_dir: Path, newest: Path) -> Path:
    """Return the newest run that recorded inputs, and say so where the newest run of all is a backtest or replay."""
    from lab.runs.previous import newest_session

    session = newest_session(state_dir)
    if session is None or session.resolve() == newest.resolve():
        return newest
    output.say(f"{newest.name} recorded no inputs; this replays the newest session, {session.name}")
    return session


def _again(directory: Path, recorded: "RunStarted") -> str:
    """Return how to repeat a backtest, which records no inputs because its source can be read again."""
    settings = recorded.provider.settings
    if recorded.provider.type == "replay" and settings.get("run"):
        command = f"lab replay {Path(settings['run']).name}"
    else:
        command = "lab backtest"
    return (
        f"is a {recorded.kind}, which records no inputs: run `{command}` with its arguments again, "
        f"or prove it with `lab verify {directory.name}`"
    )


def _recorded(recorded: "RunStarted", given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorded session's settings; those of strategies, gates and broker where no others were given."""
    keys = ("symbol", "interval", "equity", "account", "leverage", "margin", "seed", "no_orders")
    found: dict[str, Any] = {f"run.{key}": getattr(recorded, key) for key in keys}
    components: list[ComponentRecord] = []
    if not given["strategies"]:
        found["run.strategies"] = [
            entry.type if entry.name == entry.type else f"{entry.name}={entry.type}" for entry in recorded.strategies
        ]
        components += recorded.strategies
    if not given["gates"]:
        found["run.gates"] = [entry.type for entry in recorded.gates]
        components += recorded.gates
    if given["broker"] is None:
        found["run.broker"] = recorded.broker.type
        components.append(recorded.broker)
    return found | {f"{entry.name}.{key}": value for entry in components for key, value in entry.settings.items()}
