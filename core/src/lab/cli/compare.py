"""``lab compare``."""

from typing import Any

import attrs
import click

from lab.cli import options, output
from lab.cli.progress import Line


@click.command("compare")
@click.argument("first")
@click.argument("second")
@options.place
@options.as_json
def command(first: str, second: str, as_json: bool, **given: Any) -> int:
    """Name the first decision, fill or end in which two runs differ, and its cause.

    FIRST and SECOND are each a run's id, a part of it, its folder, or `latest`. Exit code 0: both came to the same; 1:
    the first difference is printed, and whether inputs, settings or neither differed before it.
    """
    from lab.backtesting.compare import compare
    from lab.plugins.discovery import Registry
    from lab.runs.directory import find
    from lab.runs.previous import unfinished

    state_dir = options.state_dir_of(given)
    one, other = find(state_dir, first), find(state_dir, second)
    notes = [unfinished(directory) for directory in dict.fromkeys((one, other))]
    with Line() as line:
        found = compare(one, other, Registry(), progress=line.step)
    for note in filter(None, notes):
        output.say(note)
    if as_json:
        output.print_json({"schema_version": 1, "kind": "compare", **attrs.asdict(found)})
    elif found.same:
        click.echo(f"{one.name} and {other.name}: the same: {found.rows:,} rows of decisions, fills and ends")
    else:
        rows = f"{found.rows:,} equal row{'' if found.rows == 1 else 's'}"
        click.echo(f"{one.name} and {other.name}: NOT the same after {rows}")
        click.echo(f"  first difference: {found.difference}")
        for cause in found.causes:
            click.echo(f"  cause: {cause}")
    return 0 if found.same else 1
