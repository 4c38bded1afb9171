"""``lab report``."""

from pathlib import Path

import click

from lab.cli import options, output


@click.command("report")
@click.argument("run", default="latest")
@click.option("--write", is_flag=True, help="Also write final_report.json again into the run's folder.")
@options.state_dir
@options.as_json
def command(run: str, write: bool, state_dir: Path | None, as_json: bool) -> int:
    """Show a run's final report, made from its journal alone: it needs no file but journal.db.

    RUN is a run's id, a part of it, its folder, or `latest` (the default).
    """
    from lab.backtesting.verify import check_chain
    from lab.journal.report import build_report
    from lab.journal.store import JournalReader
    from lab.runs.directory import find, write_report

    directory = find(state_dir or Path(), run)
    reader = JournalReader.open(directory)
    try:
        report = build_report(reader)
        broken = check_chain(reader)
    finally:
        reader.close()
    if write:
        write_report(directory, report)
    if as_json:
        output.print_json(report)
    else:
        click.echo(output.report_lines(report))
    if broken is not None:
        click.echo(f"lab: {directory.name}: the journal was changed after it was written: row {broken}", err=True)
        return 1
    return 0
