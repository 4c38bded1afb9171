"""``lab replay``."""

import time
from pathlib import Path
from typing import Any

import click

from lab.cli import options
from lab.cli.backtest import _show
from lab.session.interrupts import Interrupts


@click.command("replay")
@click.argument("run")
@options.parts
@options.as_json
@click.pass_obj
def command(interrupts: Interrupts, /, as_json: bool, run: str, **given: Any) -> int:
    """Feed what a run recorded to the same assembly again, or to another strategy.

    RUN is a run's id, a part of it, its folder, or `latest`. Settings not given are the recorded run's own.

    \b
    Examples:
      lab replay latest
      lab replay latest --set sma.slow=50
    """
    from lab.journal.store import read_run_started
    from lab.session.batch import run_batch
    from lab.session.directory import find

    directory = find(given.get("state_dir") or Path(), run)
    recorded = read_run_started(directory)
    for key in ("symbol", "interval", "equity", "leverage", "seed", "no_orders"):
        given[key] = recorded[key] if given.get(key) is None else given[key]
    sets = [f"replay.run={directory}"]
    if not given["strategies"]:
        given["strategies"] = [f"{entry['name']}={entry['type']}" for entry in recorded["strategies"]]
        sets += _settings(recorded["strategies"])
    if not given["gates"]:
        given["gates"] = [entry["type"] for entry in recorded["gates"]] or ["none"]
        sets += _settings(recorded["gates"])
    if given["broker"] is None:
        given["broker"] = recorded["broker"]["type"]
        sets += _settings([recorded["broker"]])
    given["sets"] = [*sets, *given["sets"]]
    given["reporters"] = given["reporters"] or ("none",)
    _, assembly = options.gather(given, run__provider="replay")
    finished = run_batch(
        assembly, wall_ns=time.time_ns, seconds=time.perf_counter, interrupts=interrupts, kind="replay"
    )
    _show(finished, as_json)
    return finished.exit_code


def _settings(entries: list[dict[str, Any]]) -> list[str]:
    """Return recorded settings as ``--set`` texts."""
    texts = []
    for entry in entries:
        for key, value in entry["settings"].items():
            text = "none" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
            texts.append(f"{entry['name']}.{key}={text}")
    return texts
