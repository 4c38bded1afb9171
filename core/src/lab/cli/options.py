"""Options that several commands share, and the assembly they lead to."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from lab.composition.assembly import FLAGS, Assembly, assemble, layers_for
from lab.plugins.discovery import Registry

BATCH_DEFAULTS: Final[Mapping[str, Any]] = {"run.reporters": []}
"""A backtest shows its report; who wants more names reporters."""

F = TypeVar("F", bound=Callable[..., Any])


def apply(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator for several options, listed in this order by ``--help``."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _state_dir(**more: Any) -> Callable[[F], F]:
    text = "The folder that holds runs/. Default: the current folder."
    return click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), help=text, **more)


# Where there is no assembly to read the environment for, click does.
state_dir = _state_dir(envvar="LAB_RUN_STATE_DIR")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
config = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="A TOML file with a table a component, and [run]."
)
sets = click.option(
    "--set", "sets", multiple=True, metavar="NAME.KEY=VALUE", help="Set one setting of one component; may be repeated."
)
strategies = click.option(
    "--strategy",
    "strategies",
    multiple=True,
    metavar="NAME",
    help="A strategy, or alias=name to run one twice; may be repeated.",
)
parts = apply(
    config,
    sets,
    strategies,
    click.option("--symbol", metavar="SYMBOL", help="The instrument. Default: BTCUSDT."),
    click.option("--interval", metavar="LENGTH", help="Length of a candle: 1m, 5m, 1h ... Default: 1m."),
    click.option(
        "--gate", "gates", multiple=True, metavar="NAME", help="A risk gate, in order; `--gate none` for no gates."
    ),
    click.option("--broker", metavar="NAME", help="What works on orders. Default: paper."),
    click.option(
        "--reporter", "reporters", multiple=True, metavar="NAME", help="What shows and writes the run; `none` for none."
    ),
    click.option("--equity", metavar="MONEY", help="Each strategy's starting money. Default: 10000."),
    click.option("--leverage", metavar="TIMES", help="Margin is notional / leverage. Default: 10."),
    click.option("--latency-ms", metavar="MS", help="Simulated latency of orders. Default: the broker's (200)."),
    click.option("--seed", metavar="NUMBER", help="Seed of everything drawn. Default: 0."),
    click.option("--no-orders", is_flag=True, default=None, help="Compute and record signals, place no order."),
    click.option("--no-write", is_flag=True, default=None, help="Leave no file behind."),
    _state_dir(),
)


def gather(
    given: Mapping[str, Any],
    *,
    registry: Registry | None = None,
    defaults: Mapping[str, Any] | None = None,
    **fixed: Any,
) -> tuple[Registry, Assembly]:
    """Return the registry and the assembly that a command's options ask for. Raises what `assemble` raises.

    ``defaults`` are the command's own: file, environment and command line count over them. ``fixed`` counts over all.
    """
    registry = registry or Registry()
    options: dict[str, Any] = {}
    for key in (
        "provider", "symbol", "interval", "broker", "equity", "leverage", "seed", "speed", "minutes", "no_orders",
        "no_write", "state_dir",
    ):  # fmt: skip
        options[f"run.{key}"] = given.get(key)
    for key, flag in FLAGS.items():
        values = list(given.get(key) or ())
        if "none" in values and set(values) != {"none"}:
            raise click.UsageError(f"{flag} none goes with no other {flag}; leave it out, or the others")
        options[f"run.{key}"] = [] if "none" in values else values or None
    if given.get("latency_ms") is not None:
        options[f"{given.get('broker') or 'paper'}.latency_ms"] = given["latency_ms"]
    options.update({key.replace("__", "."): value for key, value in fixed.items()})
    if options["run.state_dir"] is not None:
        options["run.state_dir"] = str(options["run.state_dir"])
    layers = layers_for(given.get("config"), list(given.get("sets") or ()), options, defaults)
    assembly = assemble(registry, layers, os.environ)
    for name in assembly.unknown_variables:
        click.echo(f"lab: the environment variable {name} is of no component in this run; ignored", err=True)
    return registry, assembly
