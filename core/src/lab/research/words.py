"""What a program reads: where a message names an option of the command, it names the argument of the call."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lab.errors import LabError

_OPTION: Final = re.compile(r"(?<![^\s(`])--([a-z]+(?:-[a-z]+)*)(?:[ =]([^\s,;)]*[^\s,;:.)]))?")
_OTHERS: Final = {"strategy": "strategy", "gate": "gates", "reporter": "reporters", "from": "since", "to": "until"}
"""Options whose arguments have another name."""
_SAME: Final = frozenset({
    "account", "broker", "config", "direction", "equity", "fills", "in-sample", "interval", "latency-ms", "leverage",
    "margin", "metric", "minutes", "name", "out-of-sample", "provider", "pruner", "sampler", "scheduler", "seed",
    "speed", "state-dir", "storage", "symbol", "trials", "workers",
})  # fmt: skip
_SWITCHES: Final = frozenset({"anchored", "no-orders"})
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")


def in_python(message: str) -> str:
    """Return a message with arguments for options: ``settings={"sma.fast": 5}`` for ``--set sma.fast=5``."""
    return _OPTION.sub(_argument, message)


@contextmanager
def said_in_python() -> Iterator[None]:
    """Let what is raised name arguments. Also a decorator, for every function that a program calls."""
    try:
        yield
    except LabError as error:
        error.args = tuple(in_python(one) if isinstance(one, str) else one for one in error.args)
        raise


def _argument(found: re.Match[str]) -> str:
    option, value = found[1], found[2]
    if option == "set":
        dotted, equals, given = (value or "").partition("=")
        return f'settings={{"{dotted}": {_literal(given)}}}' if equals else _with("settings=", value)
    if option in _SWITCHES:
        return _with(f"{option.replace('-', '_')}=True", value)
    name = _OTHERS.get(option) or (option.replace("-", "_") if option in _SAME else "")
    if not name:
        return found[0]
    return f"{name}={_literal(value)}" if value else f"{name}="


def _with(argument: str, word: str | None) -> str:
    return f"{argument} {word}" if word else argument


def _literal(text: str) -> str:
    if text in {"true", "false"}:
        return text.title()
    return text if _NUMBER.fullmatch(text) else f'"{text}"'
