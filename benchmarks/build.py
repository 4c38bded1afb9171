"""Assemblies of the shipped parts, with the benchmark's plugin beside the installed ones."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from lab.plugins.discovery import Registry
from lab.plugins.hookspecs import GROUP
from lab.session.assembly import Assembly, assemble, layers_for

SMA: Final = {
    "fast": 10,
    "slow": 30,
    "confirmation": 1,
    "stop_percent": 0,
    "target_percent": 0,
    "quantity": "0.001",
}
"""SMA 10/30 that trades every crossing, without stop or target, at a fixed size."""


def assembly(
    provider: str,
    strategy: str,
    *,
    run: Mapping[str, Any] | None = None,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
) -> Assembly:
    """Return an assembly with broker ``paper`` (6 bps taker) and the gates a user gets; no reporters."""
    points = [*entry_points(group=GROUP), EntryPoint("benchmarks", "benchmarks.offers", GROUP)]
    layers = layers_for(None, [], {})
    chosen: dict[str, Any] = {"provider": provider, "strategies": [strategy], "reporters": [], **(run or {})}
    every = {"run": chosen, "paper": {"taker_fee": "0.0006"}, **(tables or {})}
    for table, settings in every.items():
        for key, value in settings.items():
            layers.put(table, key, value, "benchmark")
    return assemble(Registry(points), layers, {}, reporters=False)
