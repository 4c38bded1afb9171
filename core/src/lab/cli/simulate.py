"""``lab simulate``."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from lab.cli import options, output
from lab.cli.progress import Line
from lab.exit_codes import EndReason
from lab.live.signals import Interrupts

if TYPE_CHECKING:
    from lab.campaign.seeds import Table
    from lab.campaign.trial import Trial, Verdict

_LEAST_MINUTES: Final = 3.0
_MOST_MINUTES: Final = 10_080.0
_SHRUNK_MOST: Final = 3


class _Seeds(click.ParamType[range]):
    """A range of seeds: ``0:500`` is 0 to 499."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        first, colon, end = str(value).partition(":")
        if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end) < 10**9):
            self.fail(f"{value!r}: expected FIRST:END, for example 0:500, which is 0 to 499", param, ctx)
        return range(int(first), int(end))


@click.command("simulate")
@click.option(
    "--seeds", type=_Seeds(), default="0:20", show_default=True, metavar="FIRST:END", help="The seeds, without END."
)
@click.option("--provider", metavar="NAME", default="bitunix", show_default=True, help="Where market data comes from.")
@click.option(
    "--strategy", "strategies", multiple=True, metavar="NAME",
    help="A strategy, or alias=name; may be repeated. Default: busy, which asks for something of every kind.",
)  # fmt: skip
@click.option(
    "--symbol", "symbols", multiple=True, metavar="SYMBOL",
    help="The instrument; may be repeated. Default: what the provider's rehearsal has, else BTCUSDT.",
)  # fmt: skip
@click.option("--interval", metavar="LENGTH", help="Length of a candle: 1m, 5m, 1h ... Default: 1m.")
@click.option(
    "--minutes", type=click.FloatRange(_LEAST_MINUTES, _MOST_MINUTES), default=12.0, show_default=True,
    help="Virtual minutes of a session; faults end 70 s before.",
)  # fmt: skip
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, metavar="NUMBER", help="Processes to use."
)
@click.option("--faults", metavar="TEXT", help="These faults in place of those that a seed draws; empty for none.")
@click.option(
    "--keep", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Keep the files of sessions that violate an invariant in this folder.",
)  # fmt: skip
@options.config
@options.sets
@options.as_json
@click.pass_obj
def command(
    interrupts: Interrupts,
    /,
    seeds: range,
    minutes: float,
    jobs: int,
    faults: str | None,
    keep: Path | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Run whole sessions in virtual time with faults drawn from seeds, and check every invariant of what they leave.

    Sessions are killed and resumed, connections are reset, answers damaged, clocks stepped. Then all faults end, and
    trading must be open again within a minute. Exit code 0: nothing was violated; 1: each violation is printed, with
    the fewest faults that show it and what to type to see it again.

    \b
    Examples:
      lab simulate --seeds 0:500 --jobs 2
      lab simulate --seeds 17:18 --faults "reset@30,kill=5@93.2" --keep found
      lab simulate --provider mock --strategy sma --set sma.fast=2
    """
    from lab.campaign.faults import parts_of
    from lab.campaign.seeds import Table, run_all

    trial, table = _trial(given, minutes, keep), Table()
    with Line() as line:
        given_faults = parts_of(faults) if faults is not None else None
        for verdict in run_all(trial, seeds, jobs, lambda: interrupts.count, given_faults):
            table.add(verdict)
            line.step("simulating, sessions", table.seeds, len(seeds))
        small = {one.seed: trial.shrink(one) for one in table.violated[:_SHRUNK_MOST]}
    if as_json:
        output.print_json({
            "schema_version": 1, "kind": "simulate", "seeds": table.seeds, "rows": table.rows, "commits": table.commits,
            "heads": {str(seed): head for seed, head in table.heads.items()},
            "faults": dict(sorted(table.faults.items())), "states": dict(sorted(table.states.items())),
            "violated": [_as_data(small.get(one.seed, one)) for one in table.violated],
        })  # fmt: skip
    else:
        _show(table, small, _again(given, minutes))
    if interrupts.count:
        return EndReason.INTERRUPTED.exit_code
    return 1 if table.violated else 0


def _trial(given: dict[str, Any], minutes: float, keep: Path | None) -> "Trial":
    """Return what runs the seeds; whatever is wrong with the options is said here, before the first one."""
    import tempfile

    from lab.campaign.busy import NAME
    from lab.campaign.plan import Recipe
    from lab.campaign.trial import Trial

    named = {key: given[key] for key in ("provider", "interval") if given[key] is not None}
    typed = {f"run.{key}": value for key, value in named.items()}
    if given["symbols"]:
        typed["run.symbol"] = ",".join(given["symbols"])
    typed["run.strategies"] = list(given["strategies"]) or [NAME]
    trial = Trial(Recipe(typed, tuple(given["sets"]), given["config"]), minutes, keep)
    assembly = trial.recipe.assembly(trial.registry, 0, minutes, {}, Path(tempfile.gettempdir()))
    options.say_unused(assembly)
    return trial


def _again(given: dict[str, Any], minutes: float) -> str:
    """Return what to type for the same campaign, without its seeds and faults."""
    words = ["lab", "simulate", "--provider", given["provider"], "--minutes", f"{minutes:g}"]
    for symbol in given["symbols"]:
        words += ["--symbol", symbol]
    for flag, key in (("--interval", "interval"), ("--config", "config")):
        words += [flag, str(given[key])] if given[key] is not None else []
    for name in given["strategies"]:
        words += ["--strategy", name]
    for text in given["sets"]:
        words += ["--set", text]
    return shlex.join(words)


def _show(table: "Table", small: "dict[int, Verdict]", again: str) -> None:
    bad = len(table.violated)
    verdict = "nothing was violated" if not bad else f"{bad} VIOLATED an invariant"
    figures = f"{sum(table.faults.values()):,} faults, {table.commits:,} commits, {table.rows:,} rows"
    click.echo(f"{table.seeds:,} sessions, {figures}: {verdict}")
    for title, counts in (("faults", table.faults), ("states reached", table.states)):
        told = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
        click.echo(f"  {title}: {told or 'none'}")
    for one in table.violated:
        shrunk = small.get(one.seed, one)
        click.echo(f"  seed {one.seed}:")
        for text in shrunk.violations:
            click.echo(f"    {output.clean(text)}")
        typed = shlex.quote(",".join(shrunk.faults))
        click.echo(f"    again: {again} --seeds {one.seed}:{one.seed + 1} --faults {typed}")


def _as_data(verdict: "Verdict") -> dict[str, Any]:
    return {**attrs.asdict(verdict), "states": sorted(verdict.states)}
