"""``lab runs``."""

from pathlib import Path
from typing import Any

import click

from lab.cli import options, output


@click.command("runs")
@options.state_dir
@options.as_json
def command(state_dir: Path | None, as_json: bool) -> int:
    """List the runs in the state directory, newest last."""
    from lab.errors import JournalError
    from lab.journal.report import build_report
    from lab.journal.store import JournalReader
    from lab.runs.previous import is_running

    folder = (state_dir or Path()) / "runs"
    found: list[dict[str, Any]] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.is_symlink() or not (path / "journal.db").is_file():
            continue
        try:
            reader = JournalReader.open(path)
            try:
                report = build_report(reader)
            finally:
                reader.close()
        except JournalError as error:
            report = {"run_id": path.name, "status": "unreadable", "reason": str(error)}
        if report["reason"] == "unfinished" and is_running(path):
            report.update(status="running", reason="not ended yet")
        found.append({"directory": path.name, **report})
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
            *(str(run.get(k, "")) for k in ("trades", "pnl_absolute")),
        ]
        for run in found
    ]
    click.echo(output.table(rows, ("run", "status", "reason", "trades", "pnl")))
    return 0
