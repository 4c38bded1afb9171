"""The event loop a session runs on.

At the pace of real time it is uvloop's where that is installed: it takes a sixth off what a message costs. Nothing else
differs, and nothing needs it. ``LAB_UVLOOP=0`` (or ``false``, ``no``, ``off``) in the environment chooses asyncio's.
"""

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from lab.compiled import LOOP_SWITCH, is_off
from lab.simulation.clocks import Speed, loop_factory


class RealLoop(NamedTuple):
    """The loop of real time."""

    factory: Callable[[], AbstractEventLoop] | None
    """What makes it; ``None`` for asyncio's."""
    what: str
    broken: bool = False
    """Whether uvloop is there and can't be used."""


def real_loop() -> RealLoop:
    """Return the loop that real time runs on, and why it is that one."""
    if is_off(LOOP_SWITCH):
        return RealLoop(None, f"asyncio ({LOOP_SWITCH}={os.environ[LOOP_SWITCH]})")
    try:
        uvloop = import_module("uvloop")
        return RealLoop(uvloop.new_event_loop, f"uvloop {uvloop.__version__}")
    except ModuleNotFoundError as error:
        if error.name == "uvloop":
            return RealLoop(None, "asyncio (uvloop is not installed)")
        problem: Exception = error
    except Exception as error:  # of another Python or another system library: whatever it is, asyncio does
        problem = error
    text = f"asyncio: uvloop is installed and can't be used: {type(problem).__name__}: {problem}; reinstall it"
    return RealLoop(None, text, broken=True)


def loop_options(speed: Speed, seed: int) -> Mapping[str, Any]:
    """Return the options that make `anyio.run` use the loop of this speed."""
    factory = loop_factory(speed, seed) or real_loop().factory
    return {} if factory is None else {"loop_factory": factory}
