"""``lab report``."""

from typing import Any

import click

from lab.cli import options, output


@click.command("report")
@click.argument("run", default="latest")
@click.option("--write", is_flag=True, help="Also write final_report.json again into the run's folder.")
@options.place
@options.as_json
def command(run: str, write: bool, as_json: bool, **given: Any) -> int:
    """Show a run's final report, made from its journal alone: it needs no file but journal.db.

    RUN is a run's id, a part of it, its folder, or `latest` (the default).
    """
    from lab.errors import RunError
    from lab.exit_codes import EndReason
    from lab.journal.reader import JournalReader, check_chain
    from lab.journal.report import build_report
    from lab.runs.directory import find, write_report
    from lab.runs.previous import check_begun, is_running, so_far

    directory = find(options.state_dir_of(given), run)
    alive = is_running(directory)  # asked before: a run that ends meanwhile has not failed
    reader = JournalReader.open(directory)
    try:
        check_begun(directory, reader)
        if write and alive:
            text = "is still running and writes its report at its end; leave --write out"
            raise RunError(EndReason.IN_USE, f"{directory.name} {text}")
        report = build_report(reader)
        if report.reason == "unfinished" and alive:
            report = so_far(report)
            output.say(f"{directory.name} is still running; these are its figures at its last commit")
        broken, wrong = check_chain(reader), reader.damage()
    finally:
        reader.close()
    if write:
        write_report(directory, report)
    if as_json:
        output.print_json(report)
    else:
        click.echo(output.report_lines(report))
    if broken is not None:
        output.say(f"{reader.name}: row {broken} was changed after it was written")
    if wrong:
        output.say(f"{reader.name}: {wrong}")
    return 1 if broken is not None or wrong else 0
