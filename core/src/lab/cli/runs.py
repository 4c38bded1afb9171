"""``lab runs``."""

from pathlib import Path
from typing import Any

import click

from lab.cli import options, output


@click.command("runs")
@options.place
@options.as_json
def command(as_json: bool, **given: Any) -> int:
    """List the runs in the state directory, newest last."""
    folder = options.state_dir_of(given) / "runs"
    found: list[dict[str, Any]] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_symlink() or not (path / "journal.db").is_file():
            continue
        found.append({"directory": path.name, **_look(path)})
    if as_json:
        output.print_json({"schema_version": 1, "kind": "runs", "runs": found})
        return 0
    if not found:
        click.echo(f"no runs in {folder}; `lab run` makes one")
        return 0
    rows = [
        [
            run["directory"],
            run["status"],
            str(run["reason"])[:40],
            str(run.get("trades", "")),
            output.rounded(run["pnl_absolute"]) if run.get("pnl_absolute") else "",
        ]
        for run in found
    ]
    click.echo(output.table(rows, ("run", "status", "reason", "trades", "pnl")))
    return 0


def _look(path: Path) -> dict[str, Any]:
    """Return a run's report, or as much as can be said of one that has none."""
    from lab.errors import JournalError, RunError
    from lab.exit_codes import EndReason
    from lab.journal.report import build_report
    from lab.journal.store import JournalReader
    from lab.runs.previous import check_begun, is_running

    try:
        reader = JournalReader.open(path)
        try:
            check_begun(path, reader)
            report = build_report(reader)
        finally:
            reader.close()
    except RunError as error:
        if error.reason is EndReason.IN_USE:
            return {"run_id": path.name, "status": "starting", "reason": "waiting for its provider"}
        return {"run_id": path.name, "status": "failed", "reason": "cut off before it began"}
    except JournalError as error:
        return {"run_id": path.name, "status": "unreadable", "reason": str(error)}
    if report["reason"] == "unfinished" and is_running(path):
        report.update(status="running", reason="not ended yet")
    return report
