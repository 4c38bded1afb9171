"""The recorded data that a backtest read: where it lies now, and whether it is still the same."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from lab.records.run import RunStarted

_NAMES: Final = frozenset({"file", "run", "notes"})  # they do not decide whether a source is the same


def moved(started: RunStarted, state_dir: str | None, directory: Path) -> RunStarted:
    """Return the record of a run's start with the present paths of the provider's files.

    A file that is gone from its place is looked for at the same place as seen from the state directory, which may have
    been moved or copied with it: ``state_dir`` is the state directory then, ``directory`` the run's folder now.
    """
    settings = dict(started.provider.settings)
    if state_dir is not None:
        now = directory.resolve().parent.parent
        for key, value in settings.items():
            settings[key] = each_path(value, partial(_beside, now, state_dir))
    return replace(started, provider=replace(started.provider, settings=settings))


def each_path(value: Any, other: Callable[[str], str]) -> Any:
    """Return a setting with every text replaced: in a list each one, of ``NAME=PATH`` the path."""
    if isinstance(value, list | tuple):
        return [each_path(one, other) for one in value]
    if not isinstance(value, str) or not value:
        return value
    name, equals, path = value.partition("=/")
    return f"{name}={other(f'/{path}')}" if equals and "/" not in name else other(value)


def _beside(now: Path, state_dir: str, value: str) -> str:
    if not Path(value).is_absolute() or Path(value).exists():
        return value
    beside = Path(os.path.normpath(now / os.path.relpath(value, state_dir)))
    return str(beside) if beside.exists() else value


def changed(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return how a source differs from the one the run read, or an empty text. Names of files may differ."""
    name = now.get("file") or now.get("run") or "the source"
    for key in sorted({*then, *now} - _NAMES):
        was, found = (source.get(key, "not given") for source in (then, now))
        if was != found:
            what = "SHA-256" if key == "sha256" else key
            return f"{name} has changed since the run: its {what} was {was}, it is {found}"
    return ""
