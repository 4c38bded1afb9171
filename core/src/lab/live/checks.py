"""The checks of ``lab doctor`` and ``lab probe``. Each names what was found, and the cure where it failed."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal

import anyio
from attrs import evolve

from lab.compiled import complaints, forms
from lab.composition.assembly import Assembly
from lab.composition.subscription import run_subscriptions
from lab.domain.time import SECOND_NS, format_time
from lab.errors import ProviderError, describe_error, message_of, text_of
from lab.live.first_contact import Guarded
from lab.live.launch import clock_for
from lab.live.loops import loop_options, real_loop
from lab.live.provider_calls import is_cancellation
from lab.plugins.discovery import Registry
from lab.ports import Check, Runtime
from lab.runs.failures import FailureLog

_FREE_LEAST: Final = 64 * 1024 * 1024
_SQLITE_GOOD: Final = (3, 51, 3)
_SQLITE_LEAST: Final = (3, 37, 0)
_PROBE_S: Final = 30.0


def check_plugins(registry: Registry) -> list[Check]:
    """Return whether every installed plugin loads."""
    for kind in ("provider", "strategy", "risk gate", "broker", "reporter"):
        registry.offers(kind)
    registry.commands()
    bad = [f"{p.distribution}: {p.problems[0]}" for p in registry.plugins if p.problems]
    good = sum(not p.problems for p in registry.plugins)
    return [Check("plugins", not bad, "; ".join(bad) or f"{good} loaded")]


def check_compiled() -> list[Check]:
    """Return which packages run compiled, and whether compiled modules are there that can't be used."""
    text = ", ".join(
        f"{name} in plain Python" if not one.compiled else f"{name} compiled" for name, one in forms().items()
    )
    return [Check("compiled modules", not complaints(), "; ".join(complaints()) or text)]


def check_loop() -> list[Check]:
    """Return which event loop a session in real time runs on, and whether uvloop is there and can't be used."""
    loop = real_loop()
    return [Check("event loop", not loop.broken, loop.what)]


def check_storage(state_dir: Path) -> list[Check]:
    """Return whether the state directory can be written and synced, has room, and which SQLite there is."""
    folder = state_dir.resolve()
    place = next((path for path in (folder, *folder.parents) if path.is_dir()), folder)
    found = []
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".lab-doctor-") as file:
            file.write(b"lab")
            file.flush()
            os.fsync(file.fileno())
        found.append(Check("state directory", True, f"{folder}: writes and syncs"))
    except OSError as error:
        found.append(
            Check("state directory", False, f"{place}: {error.strerror or error}; choose another with --state-dir")
        )
    free = shutil.disk_usage(place).free
    found.append(Check("free space", free >= _FREE_LEAST, f"{free // 2**20} MiB free, 64 MiB are the least"))
    have = tuple(map(int, sqlite3.sqlite_version.split(".")))
    note = "" if have >= _SQLITE_GOOD else "; 3.51.3 and later are advised"
    found.append(Check("sqlite", have >= _SQLITE_LEAST, f"{sqlite3.sqlite_version}{note}"))
    return found


def check_clock(wall_ns: Callable[[], int], monotonic_ns: Callable[[], int]) -> list[Check]:
    """Return whether the wall clock is plausible and advances like the monotonic one."""
    wall, monotonic = wall_ns(), monotonic_ns()
    end = monotonic + SECOND_NS // 20
    while monotonic_ns() < end:
        pass
    apart = abs((wall_ns() - wall) - (monotonic_ns() - monotonic)) / SECOND_NS
    return [
        Check("clock", wall > 1_700_000_000 * SECOND_NS, format_time(wall - wall % SECOND_NS)),
        Check(
            "clock pace", apart < 0.01, f"wall and monotonic clock advanced alike (± {apart * 1000:.3f} ms in 50 ms)"
        ),
    ]


def probe_provider(assembly: Assembly, *, wall_ns: Callable[[], int]) -> Sequence[Check]:
    """Return what the provider's own probe finds, within half a minute."""
    run = assembly.settings
    speed: float | Literal["max"] = "max" if run.speed == "max" else float(run.speed)
    options = dict(loop_options(speed, run.seed))
    return anyio.run(partial(_probe, assembly, speed, wall_ns), backend="asyncio", backend_options=options)


async def _probe(assembly: Assembly, speed: float | Literal["max"], wall_ns: Callable[[], int]) -> Sequence[Check]:
    run = assembly.settings
    provider = assembly.provider.component
    found: Sequence[Check] = [Check("provider", False, f"no answer within {_PROBE_S:g} s")]
    try:
        async with anyio.create_task_group() as tasks:
            runtime = Runtime(clock=clock_for(speed, wall_ns), seed=run.seed, tasks=tasks, speed=speed)
            with anyio.move_on_after(_PROBE_S * runtime.pace):
                try:
                    await provider.start(runtime)
                    found = []
                    for wanted in run_subscriptions(assembly.provider.name, provider, run.symbols, run.interval_ns):
                        checks = _checked(await provider.probe(wanted))
                        if len(run.symbols) > 1:
                            checks = [evolve(one, name=f"{wanted.symbol} {one.name}") for one in checks]
                        found = [*found, *checks]
                except ProviderError as error:
                    found = [Check("provider", False, message_of(error))]
                except BaseException as error:
                    if is_cancellation(error) or issubclass(type(error), KeyboardInterrupt):
                        raise
                    found = [_failed(assembly, error)]
            problem = await Guarded(assembly.provider, FailureLog(), pace=runtime.pace).stop()
            if problem:
                found = [*found, Check("stop", False, problem)]
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as error:  # of tasks that the provider started
        found = [_failed(assembly, error)]
    return found


def _checked(found: object) -> Sequence[Check]:
    """Return what a provider's probe found, as text whatever it is. Raises ``TypeError`` for what are no checks."""
    if not isinstance(found, Sequence) or not all(isinstance(one, Check) for one in found):
        raise TypeError(f"probe() gave {text_of(repr, found, 60)}, expected a sequence of Check")
    return [Check(text_of(str, one.name), one.ok, text_of(str, one.detail)) for one in found]


def _failed(assembly: Assembly, error: BaseException) -> Check:
    return Check("provider", False, f"{assembly.provider.name} failed: {describe_error(error)}")
