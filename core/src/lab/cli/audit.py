"""``lab audit``."""

import contextlib
from typing import Any

import attrs
import click

from lab.cli import options, output


@click.command("audit")
@click.argument("run", default="latest")
@options.place
@options.as_json
def command(run: str, as_json: bool, **given: Any) -> int:
    """Check a run's journal against itself: numbers, hashes, keys, the life of each order, and all money.

    RUN is a run's id, a part of it, its folder, or `latest` (the default). Exit code 0: sound; 1: each finding is
    printed with its row, the first hundred of them.
    """
    from lab.journal.audit import audit
    from lab.journal.reader import JournalReader
    from lab.runs.directory import find
    from lab.runs.previous import check_begun, unfinished

    directory = find(options.state_dir_of(given), run)
    note = unfinished(directory)
    with contextlib.closing(JournalReader.open(directory)) as reader:
        check_begun(directory, reader)
        found = audit(reader)
    if note:
        output.say(note)
    if as_json:
        output.print_json({"schema_version": 1, "kind": "audit", "run": directory.name, **attrs.asdict(found)})
    elif not found.found:
        click.echo(f"{directory.name}: sound: {found.rows} rows, {found.orders} orders, {found.fills} fills")
    else:
        click.echo(f"{directory.name}: NOT sound: {found.found} finding{'s' if found.found > 1 else ''}")
        for line in found.findings:
            click.echo(f"  {line}")
    return 1 if found.found else 0
