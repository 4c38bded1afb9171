"""Assemblies of the shipped parts, with the benchmark's plugin beside the installed ones."""

import tomllib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from lab.composition.assembly import Assembly, assemble, layers_for
from lab.plugins.discovery import Registry
from lab.plugins.hookspecs import GROUP

from benchmarks.backtests import CONFIG


def assembly(provider: str, strategy: str, tables: Mapping[str, Mapping[str, Any]]) -> Assembly:
    """Return the assembly that `benchmarks.backtests` measures, with another provider, strategy and settings."""
    points = [*entry_points(group=GROUP), EntryPoint("benchmarks", "benchmarks.offers", GROUP)]
    layers = layers_for(None, [], {})
    given = tomllib.loads(CONFIG)
    given["run"] |= {"provider": provider, "strategies": [strategy], "reporters": []}
    if strategy not in {"sma", "clocked"}:
        del given["sma"]
    elif strategy == "clocked":
        given["clocked"] = given.pop("sma")
    for table, settings in tables.items():
        given.setdefault(table, {}).update(settings)
    for table, settings in given.items():
        for key, value in settings.items():
            layers.put(table, key, value, "benchmark")
    return assemble(Registry(points), layers, {}, reporters=False)
