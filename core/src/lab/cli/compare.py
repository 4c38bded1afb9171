"""``lab compare``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from lab.cli import options, output
from lab.cli.progress import Line

if TYPE_CHECKING:
    from lab.backtesting.compare import Comparison


@click.command("compare")
@click.argument("first")
@click.argument("others", metavar="SECOND [MORE]...", nargs=-1, required=True)
@click.option(
    "--page", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write a page with the equity curves over each other, the settings and the figures.",
)  # fmt: skip
@options.place
@options.as_json
def command(first: str, others: tuple[str, ...], page: Path | None, as_json: bool, **given: Any) -> int:
    """Name the first decision, fill or end in which runs differ, its cause, their settings and their figures.

    Each is a run's id, a part of it, its folder, or `latest`. FIRST is compared with every other one. Exit code 0: all
    came to the same; 1: the first difference is printed, and whether inputs, settings or neither differed before it.
    """
    from lab.backtesting.compare import compare
    from lab.plugins.discovery import Registry
    from lab.research.result import Result
    from lab.research.side_by_side import side_by_side, write_page
    from lab.runs.directory import find
    from lab.runs.previous import unfinished

    state_dir = options.state_dir_of(given)
    one, *rest = (find(state_dir, run) for run in (first, *others))
    notes = [unfinished(directory) for directory in dict.fromkeys((one, *rest))]
    with Line() as line:
        found = [compare(one, other, Registry(), progress=line.step) for other in rest]
        results = [Result.of_folder(directory) for directory in (one, *rest)]
        beside = side_by_side(results)
        if page is not None:
            write_page(page, results, beside)
    for note in filter(None, notes):
        output.say(note)
    if as_json:
        pairs = {"schema_version": 1, "kind": "compare", **attrs.asdict(found[0])}
        more = {"others": [attrs.asdict(pair) for pair in found[1:]]} if len(found) > 1 else {}
        output.print_json(pairs | more | {"side_by_side": beside.as_data()})
    else:
        for pair in found:
            _show(pair)
        names = [f"run {number}" for number in range(1, len(results) + 1)]
        for title, rows in (("settings that differ", beside.settings), ("figures", beside.figures)):
            if rows and not (title == "figures" and all(pair.same for pair in found)):
                click.echo(f"\n{output.table([(label, *texts) for label, texts in rows], (title, *names))}")
        if page is not None:
            click.echo(f"page: {page}")
    return 0 if all(pair.same for pair in found) else 1


def _show(found: "Comparison") -> None:
    one, other = found.runs
    if found.same:
        click.echo(f"{one} and {other}: the same: {found.rows:,} rows of decisions, fills and ends")
        return
    rows = f"{found.rows:,} equal row{'' if found.rows == 1 else 's'}"
    click.echo(f"{one} and {other}: NOT the same after {rows}")
    click.echo(f"  first difference: {found.difference}")
    for cause in found.causes:
        click.echo(f"  cause: {cause}")
