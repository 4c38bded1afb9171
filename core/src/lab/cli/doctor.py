"""``lab doctor``."""

import os
import time
from typing import TYPE_CHECKING, Any

import click

from lab.cli import options
from lab.cli.probe import show_checks

if TYPE_CHECKING:
    from lab.ports import Check


@click.command("doctor")
@click.option("--provider", metavar="NAME", help="Where market data comes from. Default: bitunix.")
@options.config
@options.sets
@options.strategies
@click.option("--offline", is_flag=True, help="Do not try the provider.")
@options.state_dir
@options.as_json
def command(as_json: bool, offline: bool, **given: Any) -> int:
    """Check configuration, plugins, state directory, SQLite, clock and provider; exit code 1 when something failed."""
    from lab.errors import ConfigError, PluginError
    from lab.live import checks
    from lab.plugins.discovery import Registry
    from lab.ports import Check

    registry = Registry()
    found: list[Check] = []
    assembly = None
    try:
        _, assembly = options.gather(given, registry=registry)
    except (ConfigError, PluginError) as error:
        found.append(Check("configuration", False, str(error)))
    else:
        found.append(Check("configuration", True, f"{len(assembly.in_force)} settings; `lab config` shows them"))
    found += checks.check_plugins(registry)
    found += checks.check_compiled()
    found += checks.check_loop()
    found += _storage(given)
    found += checks.check_clock(time.time_ns, time.monotonic_ns)
    if assembly is not None and not offline:
        found += checks.probe_provider(assembly, wall_ns=time.time_ns)
    elif not offline:
        found.append(Check("provider", None, "the configuration must be right first"))
    found.append(Check("process", True, f"pid {os.getpid()}"))
    return show_checks("doctor", found, as_json)


def _storage(given: dict[str, Any]) -> "list[Check]":
    """Check the state directory that a run with these options would have; a broken file names none."""
    from lab.errors import ConfigError
    from lab.live import checks
    from lab.ports import Check

    try:
        return checks.check_storage(options.state_dir_of(given))
    except ConfigError:
        return [Check("state directory", None, "the configuration must be right first")]
