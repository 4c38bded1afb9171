"""What two runs were started with, where it decides and differs, in the names that a user gives."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from lab.backtesting.row_text import short
from lab.records.base import as_data
from lab.records.run import ComponentRecord, RunStarted

_OF_THE_RUN: Final = (
    "symbol", "interval", "equity", "account", "leverage", "margin", "seed", "no_orders", "carried_loss", "lab",
)  # fmt: skip


def setting_differences(one: RunStarted, other: RunStarted) -> list[str]:
    """Return a line for each thing that decides and differs, nothing where all is the same."""
    found = list(_components("strategies", one.strategies, other.strategies))
    found += _components("gates", one.gates, other.gates)
    found += _components("broker", (one.broker,), (other.broker,))
    for name in _OF_THE_RUN:
        found += _differences(name, as_data(getattr(one, name)), as_data(getattr(other, name)))
    if one.symbol == other.symbol:  # otherwise that says it
        found += _differences("instruments", as_data(one.instruments), as_data(other.instruments))
    return [f"settings differ: {text}" for text in found]


def _components(what: str, one: Sequence[ComponentRecord], other: Sequence[ComponentRecord]) -> Iterator[str]:
    names, others = ([f"{part.name} ({part.type})" for part in parts] for parts in (one, other))
    if names != others:
        yield _differ(what, ", ".join(names) or "none", ", ".join(others) or "none")
        return
    for was, now in zip(one, other, strict=True):
        yield from _differences(was.name, as_data(was.settings), as_data(now.settings))
        code, other_code = (f"{part.distribution} {part.version}" for part in (was, now))
        if code != other_code:
            yield _differ(f"the code of {was.name}", code, other_code)


def _differences(name: str, was: Any, now: Any) -> Iterator[str]:
    """Yield what differs in two values, by dotted names inside objects."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in sorted({*was, *now}):
            yield from _differences(f"{name}.{key}", was.get(key), now.get(key))
    elif was != now:
        yield _differ(name, was, now)


def _differ(name: str, was: object, now: object) -> str:
    first, second = ("not there" if value is None else short(str(value)) for value in (was, now))
    return f"{name} is {first} in the first run, {second} in the second"
