"""Options that several commands share, and the assembly they lead to."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from lab.cli import output
from lab.composition.assembly import FLAGS, Assembly, Given, assemble, layers_for
from lab.composition.config import RunSettings
from lab.errors import ConfigError
from lab.plugins.discovery import Registry
from lab.plugins.settings import Layers, build, convert, settings_of
from lab.secret import Secret

_STATE_DIR: Final = ("LAB_RUN_STATE_DIR",)
_FILE: Final = "lab.toml"

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


class _Place(click.Path):
    """A path that was named: an empty text, as an unset shell variable gives it, is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("is empty; name one, or leave the option out", param, ctx)
        return super().convert(value, param, ctx)


def _sets_once(_context: click.Context, _parameter: click.Parameter, sets: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse two values for one setting: which one was meant can't be known."""
    seen: dict[str, str] = {}
    for text in sets:
        key = text.partition("=")[0].strip().replace("-", "_")
        if key in seen:
            raise click.UsageError(f"--set gives {key} twice: {seen[key]} and {text}; keep one")
        seen[key] = text
    return sets


state_dir = click.option(
    "--state-dir", type=_Place(path_type=Path, file_okay=False),
    help="The folder that holds runs/. Default: the current folder.",
)  # fmt: skip
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
config = click.option(
    "--config", type=_Place(path_type=Path, dir_okay=False), help="A TOML file with a table a component, and [run]."
)
place = apply(config, state_dir)
"""Where runs lie, for commands that assemble nothing: `state_dir_of` reads both."""

sets = click.option(
    "--set", "sets", multiple=True, metavar="NAME.KEY=VALUE", callback=_sets_once,
    help="Set one setting of one component; may be repeated.",
)  # fmt: skip
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
    click.option(
        "--symbol",
        "symbols",
        multiple=True,
        metavar="SYMBOL",
        help="The instrument; may be repeated, for a run of several. Default: BTCUSDT.",
    ),
    click.option(
        "--interval", metavar="LENGTH", help="Length of a candle: 1m, 1h ... Default: the data's own, else 1m."
    ),
    click.option(
        "--gate", "gates", multiple=True, metavar="NAME", help="A risk gate, in order; `--gate none` for no gates."
    ),
    click.option("--broker", metavar="NAME", help="What works on orders. Default: paper."),
    click.option(
        "--reporter", "reporters", multiple=True, metavar="NAME", help="What shows and writes the run; `none` for none."
    ),
    click.option("--equity", metavar="MONEY", help="Starting money of each account. Default: 10000."),
    click.option(
        "--account",
        metavar="MODE",
        help="separate or shared: an account each, or one for all. Default: separate.",
    ),
    click.option("--leverage", metavar="TIMES", help="Margin is notional / leverage. Default: 10."),
    click.option("--margin", metavar="MODE", help="cross or isolated: what backs a position. Default: cross."),
    click.option("--latency-ms", metavar="MS", help="Simulated latency of orders. Default: the broker's (200)."),
    click.option(
        "--fills",
        metavar="RULE",
        help="Fills where a candle cannot tell: pessimistic, expected or optimistic. Default: the broker's (expected).",
    ),
    click.option("--seed", metavar="NUMBER", help="Seed of everything drawn. Default: 0."),
    click.option("--no-orders", is_flag=True, default=None, help="Compute and record signals, place no order."),
    click.option("--no-write", is_flag=True, default=None, help="Leave no file behind."),
    state_dir,
)


def live_only(flag: str, why: str) -> Callable[[F], F]:
    """Return an option that ``--help`` does not list: who gives it learns why this command has none."""

    def refuse(_context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(f"{flag} is for `lab run`; {why}")

    return click.option(flag, hidden=True, expose_value=False, callback=refuse)


def gather(
    given: Mapping[str, Any],
    *,
    registry: Registry | None = None,
    defaults: Mapping[str, Any] | None = None,
    taken_over: Given | None = None,
    fixed: Given | None = None,
) -> tuple[Registry, Assembly]:
    """Return the registry and the assembly that a command's options ask for. Raises what `assemble` raises.

    ``defaults`` are the command's own: file, environment and command line count over them. ``taken_over`` counts over
    file and environment, ``fixed`` over all.
    """
    registry = registry or Registry()
    options: dict[str, Any] = {}
    for key in (
        "provider", "interval", "broker", "equity", "account", "leverage", "margin", "seed", "speed",
        "minutes", "no_orders", "no_write", "state_dir", "start_timeout", "health_port", "strict_state",
    ):  # fmt: skip
        options[f"run.{key}"] = given.get(key)
    options["run.symbol"] = ",".join(given.get("symbols") or ()) or None
    for key, flag in FLAGS.items():
        values = list(given.get(key) or ())
        if "none" in values and set(values) != {"none"}:
            raise click.UsageError(f"{flag} none goes with no other {flag}; leave it out, or the others")
        options[f"run.{key}"] = [] if "none" in values else values or None
    if options["run.state_dir"] is not None:
        options["run.state_dir"] = str(options["run.state_dir"])
    layers = layers_for(given.get("config"), list(given.get("sets") or ()), options, defaults, taken_over)
    layers.add_command(fixed or {})
    _note_unused_file(given.get("config"))
    _set_broker(registry, layers, {key: given.get(key) for key in ("latency_ms", "fills")})
    assembly = assemble(registry, layers, os.environ)
    for one in assembly.in_force:
        if isinstance(one.value, Secret):
            os.environ.pop(one.origin, None)  # what runs from here on has no use for it
    output.say_what_is_not_compiled()  # plugins have been imported by now
    for name in assembly.unknown_variables:
        output.say(f"the environment variable {name} matches no setting of this run; ignored")
    say_unused(assembly)
    return registry, assembly


def say_unused(assembly: Assembly) -> None:
    """Tell of settings of the command line that are of no component of the run."""
    for name in assembly.unused:
        output.say(f"--set {name}: this run has no component {name.partition('.')[0]}; ignored")


def state_dir_of(given: Mapping[str, Any]) -> Path:
    """Return the folder that holds ``runs/``, as a run with the same options has it. Raises `ConfigError`.

    ``--state-dir`` counts over ``--set run.state_dir``, that over ``LAB_RUN_STATE_DIR``, that over the file.
    """
    layers = layers_for(given.get("config"), list(given.get("sets") or ()), {"run.state_dir": given.get("state_dir")})
    _note_unused_file(given.get("config"))
    layers.add_environment({name: os.environ[name] for name in _STATE_DIR if name in os.environ}, {"run": RunSettings})
    found = layers.tables.get("run", {}).get("state_dir")
    if found is None:
        return Path()
    try:
        return Path(convert(found.raw, Path)).expanduser()
    except ValueError as error:
        raise ConfigError(f"{found.origin}: run.state_dir = {found.raw!r}: {error}") from None


def is_given(given: Mapping[str, Any], table: str, *keys: str) -> bool:
    """Return whether file, environment or ``--set`` give one of these settings."""
    layers = layers_for(given.get("config"), list(given.get("sets") or ()), {})
    names = {f"LAB_{table}_{key}".upper() for key in keys}
    return any(key in layers.tables.get(table, {}) for key in keys) or any(name in os.environ for name in names)


def _set_broker(registry: Registry, layers: Layers, values: Mapping[str, str | None]) -> None:
    """Give settings to the broker of the run, wherever that was chosen. Raises ``click.UsageError``."""
    values = {key: value for key, value in values.items() if value is not None}
    if not values:
        return
    layers.add_environment({k: v for k, v in os.environ.items() if k.startswith("LAB_RUN_")}, {"run": RunSettings})
    run, _ = build("run", RunSettings, layers)
    for key, value in values.items():
        flag = f"--{key.replace('_', '-')}"
        if key not in settings_of(registry.get("broker", run.broker).cls):
            raise click.UsageError(f"{flag}: the broker {run.broker} has no setting {key}; leave it out")
        layers.add_command({f"{run.broker}.{key}": (value, flag)})


def _note_unused_file(config: Path | None) -> None:
    """Warn of a configuration file in the current folder that ``--config`` does not name: lab does not read it."""
    context = click.get_current_context(silent=True)
    seen = context.find_root().meta if context is not None else {}
    if config is None and not seen.get(_FILE) and Path(_FILE).is_file():
        output.say(f"{_FILE} in this folder is not used; --config {_FILE} uses it")
    seen[_FILE] = True
