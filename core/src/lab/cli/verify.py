"""``lab verify``."""

from pathlib import Path

import attrs
import click

from lab.cli import options, output


@click.command("verify")
@click.argument("run", default="latest")
@options.state_dir
@options.as_json
def command(run: str, state_dir: Path | None, as_json: bool) -> int:
    """Prove that a run's recorded inputs give the same decisions, fills and ledger again, byte for byte.

    RUN is a run's id, a part of it, its folder, or `latest` (the default). Exit code 0: identical; 1: the first
    difference is printed with its cause.
    """
    from lab.backtesting.verify import verify
    from lab.plugins.discovery import Registry
    from lab.runs.directory import find

    verdict = verify(find(state_dir or Path(), run), Registry())
    if as_json:
        output.print_json({"schema_version": 1, "kind": "verify", **attrs.asdict(verdict)})
    elif verdict.identical:
        click.echo(
            f"{verdict.run}: identical: {verdict.rows} rows from {verdict.inputs} inputs, head {verdict.head[:16]}"
        )
    else:
        click.echo(f"{verdict.run}: NOT identical\n  first difference: {verdict.difference}\n  cause: {verdict.cause}")
    return 0 if verdict.identical else 1
