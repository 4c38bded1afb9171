"""Inputs of the engine that are not market data: trading states, notices, timers and commands."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, NamedTuple


class TradingState(NamedTuple):
    """Whether trading is halted: ``halted_by`` holds the reasons. Entries are placed only while it is empty."""

    time_ns: int
    halted_by: tuple[str, ...]


class SymbolState(NamedTuple):
    """Whether entries of one symbol are halted, beside `TradingState`: only in runs of several symbols."""

    time_ns: int
    symbol: str
    halted_by: tuple[str, ...]


class Notice(NamedTuple):
    """An event worth a row: the feed's state, a warm-up, malformed input. It changes no decision."""

    time_ns: int
    topic: str
    detail: Mapping[str, str]


class Timer(NamedTuple):
    """Venue time passed without market data: orders can expire, and timers of components fall due."""

    time_ns: int


class ClockStepped(NamedTuple):
    """A clock stepped: it parted from the monotonic clock by ``by_ns``, above 0 where it went ahead.

    ``clock`` is ``venue`` or ``wall``. The engine's time follows a step of the venue's to ``time_ns``, also back, and
    working orders expire: what they wait for lies in another time. A step of the machine's changes no decision.
    """

    time_ns: int
    by_ns: int
    clock: Literal["venue", "wall"]
    why: str


class CommandAction(StrEnum):
    """What a command asks for."""

    CANCEL = "cancel"
    """Cancel every working order, but those that close what is being liquidated; `FLATTEN` and `KILL` keep them too."""
    FLATTEN = "flatten"
    """Cancel every working order and close every position with a reduce-only market order."""
    PAUSE = "pause"
    """Place no entry until `RESUME`."""
    RESUME = "resume"
    """Take `PAUSE` back."""
    STOP = "stop"
    """Cancel every working order and call no strategy again: the run ends."""
    KILL = "kill"
    """`STOP`, and close every position with a reduce-only market order."""


class Command(NamedTuple):
    """An order to the engine from outside the strategies: ``who`` gave it and ``why``."""

    time_ns: int
    action: CommandAction
    who: str
    why: str
