"""Extension points of lab. A hook offers classes by name; it never trades.

A plugin is one installable distribution with two things:

1. a module with hook implementations. Each names the classes it offers as ``module:Class``, which lab imports when a
   run chooses them, or gives the classes themselves:

       from lab import hookimpl

       @hookimpl
       def lab_strategies():
           return {"mine": "my_package.strategy:MyStrategy"}

2. an entry point in the group ``lab``:

       [project.entry-points.lab]
       my_plugin = "my_package"

Hooks are called once, while a run is assembled. Importing a plugin does nothing: no network, no files, no state.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import pluggy

if TYPE_CHECKING:
    from lab.ports import Broker, Provider, Reporter, RiskGate, Strategy

PROJECT = "lab"
GROUP = "lab"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class PluginCommand(NamedTuple):
    """A command line of a plugin: ``target`` is ``module:attribute`` of a click command, imported when it is called."""

    help: str
    target: str


@hookspec
def lab_providers() -> Mapping[str, "type[Provider] | str"]:  # type: ignore[empty-body]
    """Offer sources of market data, by the name used on the command line and as TOML table."""


@hookspec
def lab_strategies() -> Mapping[str, "type[Strategy] | str"]:  # type: ignore[empty-body]
    """Offer strategies, by the name used on the command line and as TOML table."""


@hookspec
def lab_risk_gates() -> Mapping[str, "type[RiskGate] | str"]:  # type: ignore[empty-body]
    """Offer risk gates, by the name used on the command line and as TOML table."""


@hookspec
def lab_brokers() -> Mapping[str, "type[Broker] | str"]:  # type: ignore[empty-body]
    """Offer brokers, by the name used on the command line and as TOML table."""


@hookspec
def lab_reporters() -> Mapping[str, "type[Reporter] | str"]:  # type: ignore[empty-body]
    """Offer reporters, by the name used on the command line and as TOML table."""


@hookspec
def lab_commands() -> Mapping[str, PluginCommand]:  # type: ignore[empty-body]
    """Offer further commands of ``lab``, by name. None may carry the name of a built-in one."""
