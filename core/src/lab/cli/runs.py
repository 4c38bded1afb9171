"""``lab runs``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from attrs import frozen

from lab.cli import options, output
from lab.records.base import as_data

if TYPE_CHECKING:
    from lab.records.report import Report

_SETTINGS_MAX: Final = 60


@click.command("runs")
@options.place
@options.as_json
def command(as_json: bool, **given: Any) -> int:
    """List the runs in the state directory, newest last."""
    from lab.runs.directory import QUARANTINE, age
    from lab.runs.quarantine import held

    folder = options.state_dir_of(given) / "runs"
    found = [
        _look(path)
        for path in (sorted(folder.iterdir(), key=lambda path: age(path.name)) if folder.is_dir() else [])
        if not path.is_symlink() and (path / "journal.db").is_file()
    ]
    aside = len(held(folder))
    if aside:
        output.say(f"{aside} damaged session{' lies' if aside == 1 else 's lie'} in {folder / QUARANTINE}")
    if as_json:
        output.print_json({"schema_version": 1, "kind": "runs", "runs": [run.data() for run in found]})
        return 0
    if not found:
        click.echo(f"no runs in {folder}; `lab run` makes one")
        return 0
    rows = [
        (run.name, run.status, run.reason[:40], *(_figures(run.report) if run.report is not None else ("", "", "")))
        for run in found
    ]
    click.echo(output.table(rows, ("run", "status", "reason", "trades", "pnl", "settings")))
    return 0


@frozen
class Listed:
    """A run of the list; ``report`` is ``None`` where there is none."""

    name: str
    status: str
    reason: str
    report: "Report | None" = None

    def data(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        known = {"run_id": self.name} if self.report is None else as_data(self.report)
        return {"directory": self.name, **known, "status": self.status, "reason": self.reason}


def _look(path: Path) -> Listed:
    """Return a run with its report, or with the reason why it has none."""
    from lab.errors import JournalError, RunError
    from lab.exit_codes import EndReason
    from lab.journal.reader import JournalReader
    from lab.journal.report import build_report
    from lab.runs.previous import NOT_ENDED, check_begun, is_running, so_far

    alive = is_running(path)  # asked before: a run that ends meanwhile has not failed
    try:
        reader = JournalReader.open(path)
        try:
            check_begun(path, reader)
            report = build_report(reader)
        finally:
            reader.close()
    except RunError as error:
        if error.reason is EndReason.IN_USE:
            return Listed(path.name, "starting", "waiting for its provider")
        return Listed(path.name, "failed", "cut off before it began")
    except JournalError as error:
        return Listed(path.name, "unreadable", str(error))
    if report.reason == "unfinished" and alive:
        return Listed(path.name, "running", NOT_ENDED, so_far(report))
    return Listed(path.name, report.status, report.reason, report)


def _figures(report: "Report") -> tuple[str, str, str]:
    return str(report.trades), output.rounded(report.pnl_absolute), output.changed_text(report, _SETTINGS_MAX)
