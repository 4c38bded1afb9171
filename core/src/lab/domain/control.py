"""What a session tells the engine beside market data: trading state, notices, the time, and commands."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class TradingState(NamedTuple):
    """Trading was halted or opened: entries are placed only while ``halted_by``, the reasons, is empty."""

    time_ns: int
    halted_by: tuple[str, ...]


class Notice(NamedTuple):
    """An event worth a row: the feed's state, a warm-up, malformed input. It changes no decision."""

    time_ns: int
    topic: str
    detail: Mapping[str, str]


class Timer(NamedTuple):
    """Venue time went on while no market data came: orders can expire, and timers of components fall due."""

    time_ns: int


class CommandAction(StrEnum):
    """What a command asks for."""

    CANCEL = "cancel"
    """Cancel every working order."""
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
