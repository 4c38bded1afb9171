"""``lab verify``."""

from typing import Any

import attrs
import click

from lab.cli import options, output
from lab.cli.progress import Line
from lab.live.signals import Interrupts


@click.command("verify")
@click.argument("run", default="latest")
@options.place
@options.as_json
@click.pass_obj
def command(interrupts: Interrupts, /, run: str, as_json: bool, **given: Any) -> int:
    """Prove that a run's recorded inputs give the same decisions, fills and ledger again, byte for byte.

    RUN is a run's id, a part of it, its folder, or `latest` (the default). Exit code 0: identical; 1: the first
    difference is printed with its cause.
    """
    from lab.backtesting.verify import verify
    from lab.plugins.discovery import Registry
    from lab.runs.directory import find
    from lab.runs.previous import unfinished

    directory = find(options.state_dir_of(given), run)
    note = unfinished(directory)
    with Line() as line:
        verdict = verify(directory, Registry(), stopped=lambda: interrupts.count, progress=line.step)
    for text in filter(None, (note, verdict.note)):
        output.say(text)
    if as_json:
        output.print_json({"schema_version": 1, "kind": "verify", **attrs.asdict(verdict)})
    elif verdict.identical:
        click.echo(
            f"{verdict.run}: identical: {verdict.rows} rows from {verdict.inputs} inputs, head {verdict.head[:16]}"
        )
    else:
        click.echo(f"{verdict.run}: NOT identical\n  first difference: {verdict.difference}\n  cause: {verdict.cause}")
    return 0 if verdict.identical else 1
