"""``lab export``."""

from pathlib import Path
from typing import Any

import click

from lab.cli import options


@click.command("export")
@click.argument("run", default="latest")
@click.option("--format", "form", type=click.Choice(["csv", "parquet"]), default="csv", help="Default: csv.")
@click.option(
    "--table", "tables", multiple=True, metavar="NAME",
    type=click.Choice(["trades", "fills", "orders", "equity", "candles"]),
    help="trades, fills, orders, equity or candles; may be repeated. Default: all of them.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Where the files go. Default: the folder `export` in the run's.",
)  # fmt: skip
@options.place
def command(run: str, form: str, tables: tuple[str, ...], out: Path | None, **given: Any) -> int:
    """Write a run's trades, fills, orders, equity and candles as files that others read.

    RUN is a run's id, a part of it, its folder, or `latest` (the default). Each table is a file, `trades.csv`. Money is
    exact in CSV, and a float in Parquet; times are UTC. Candles and equity are made of what the run read: of its tape,
    or of its source, which must still be there.
    """
    from lab.research.export import TABLES, export
    from lab.research.result import Result
    from lab.runs.directory import find

    directory = find(options.state_dir_of(given), run)
    result = Result.of_folder(directory)
    for path in export(result, out or directory / "export", form, tables or tuple(TABLES)):
        click.echo(path)
    return 0
