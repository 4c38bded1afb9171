"""``lab sweep``."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from lab.cli import options, output
from lab.cli.progress import Line
from lab.cli.sources import fixed_by, prices
from lab.live.signals import Interrupts

if TYPE_CHECKING:
    from lab.research.found import Sweep

_SHOWN: Final = 10

space = click.option(
    "--space", "spaces", multiple=True, metavar="NAME=RANGE",
    help="What to try of a setting: 3:20, 20:100:5 (low, high, step) or a,b,c; may be repeated.",
)  # fmt: skip
search = options.apply(
    click.option("--metric", metavar="NAME", default="sharpe", help="The figure to optimize. Default: sharpe."),
    click.option("--direction", metavar="WAY", help="maximize or minimize. Default: what is better of the figure."),
    click.option("--trials", type=int, metavar="NUMBER", help="Trials to draw. Default: every point of the grid."),
    click.option("--sampler", metavar="NAME", help="tpe, random or grid. Default: tpe with --trials, grid without."),
    click.option("--pruner", metavar="NAME", help="Give trials up early: median, halving or hyperband. Default: none."),
    click.option("--workers", type=int, default=1, metavar="NUMBER", help="Worker processes. Default: 1."),
    click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, tcp://host:port, instead of processes."),
    click.option("--storage", metavar="FILE", help="A file, or URL, that keeps the trials: the same command goes on."),
    click.option("--name", default="sweep", metavar="NAME", help="The study's name in the storage. Default: sweep."),
)


def page(shows: str) -> Callable[[Any], Any]:
    """Return the option that writes a page."""
    kind = click.Path(path_type=Path, dir_okay=False)
    return click.option("--page", type=kind, metavar="FILE", help=f"Write a page with {shows}.")


@click.command("sweep")
@space
@search
@page("the surface")
@prices
@options.parts
@options.as_json
@options.live_only("--minutes", "a sweep runs over all of its data")
@options.live_only("--speed", "a sweep runs as fast as it can")
@click.pass_obj
def command(interrupts: Interrupts, /, sources: tuple[str, ...], page: Path | None, as_json: bool, **given: Any) -> int:
    """Backtest a strategy with many settings, and judge the best of them: what luck alone would show, its neighbours.

    SOURCE is what `lab backtest` takes, and so are the options of the run. A trial that fails is a row with its error.
    Exit code 1: no trial has the figure.

    \b
    Examples:
      lab sweep btcusd-1m --strategy sma --space fast=3:9:3 --space slow=20:40:10 --metric pnl
      lab sweep prices.csv --strategy ./mine.py:Mine --space fast=3:20 --space slow=20:100:5 --trials 200 --workers 2
    """
    from lab.research.sweep import swept

    plan, read, spaces, how, more = gathered(given, sources, "sweep")
    with Line() as line:
        step = partial(line.step, "trials")
        found = swept(plan, read, spaces, how, stopped=lambda: interrupts.count, progress=step, **more)
    written = found.plot(page) if page is not None else None
    if as_json:
        output.print_json(as_data(found))
    else:
        for text in lines(found):
            click.echo(text)
        if written is not None:
            click.echo(f"page: {written}")
    return 0 if found.best is not None else 1


def gathered(given: dict[str, Any], sources: Sequence[str], name: str) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
    """Return plan, prices, space, search and workers of a command's options. Raises what `options.gather` raises."""
    from lab.research.metrics import name_of
    from lab.research.prices import read_prices
    from lab.research.space import from_text
    from lab.research.sweep import How, check_number
    from lab.research.trials import Plan

    metric = given["metric"]
    name_of(metric)
    check_number("workers", given["workers"])
    check_number("trials", given["trials"])
    spaces = {}
    for text in given.pop("spaces"):
        key, equals, values = text.partition("=")
        if not (key.strip() and equals and values.strip()):
            raise click.UsageError(f"--space {text}: expected NAME=LOW:HIGH, NAME=LOW:HIGH:STEP or NAME=A,B,C")
        if key.strip() in spaces:
            raise click.UsageError(f"--space gives {key.strip()} twice; keep one")
        spaces[key.strip()] = from_text(key.strip(), values)
    if not spaces:
        raise click.UsageError("--space is missing: what is to be tried of a setting: --space fast=3:20")
    fixed = fixed_by(given, sources, name)
    registry, assembly = options.gather(given, defaults=options.BATCH_DEFAULTS, fixed=fixed)
    assembly.provider.component.leave_no_file()
    read = read_prices(assembly.provider, assembly.settings, assembly.in_force)
    plan = Plan.of_assembly(registry, assembly, read, metric)
    how = How(
        metric, given["direction"], given["trials"], given["sampler"], given["pruner"], given["storage"], given["name"],
        assembly.settings.seed,
    )  # fmt: skip
    return plan, read, spaces, how, {"workers": given["workers"], "scheduler": given["scheduler"]}


def as_data(found: "Sweep") -> dict[str, Any]:
    """Return a sweep as data for JSON."""
    names = found.trials.names
    best = found.best
    return {
        "schema_version": 1,
        "kind": "sweep",
        "metric": found.metric,
        "direction": found.direction,
        "interrupted": found.interrupted,
        "best": best and {"number": best.number, "settings": dict(best.settings), "value": best.value},
        "beside": [one._asdict() for one in found.beside],
        "warnings": list(found.warnings),
        "trials": [dict(zip(names, row, strict=True)) for row in found.trials],
    }


def lines(found: "Sweep") -> list[str]:
    """Return what is printed of a sweep."""
    from lab.research.sweep_page import top

    whole = sum(row[1] == "complete" for row in found.trials)
    said = [f"{len(found.trials):,} trials, {whole:,} complete; {found.direction} {found.metric}"]
    rows = top(found, _SHOWN)
    if rows:
        names = [name for name in found.trials.names if name not in {"state", "seconds", "error", found.metric}]
        places = [found.trials.names.index(name) for name in names]
        header = [found.metric if name == "value" else name for name in names]
        said += ["", output.table([[cell(row[at]) for at in places] for row in rows], header)]
    if found.best is not None:
        chosen = ", ".join(f"{key} {value}" for key, value in found.best.settings.items())
        said += ["", f"best: trial {found.best.number}: {chosen}"]
    return [*said, *(f"  {text}" for text in found.warnings)]


def cell(value: Any) -> str:
    """Return a figure of a table."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
