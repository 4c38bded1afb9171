"""A time limit for code that may never come back: it runs in a thread, which is left behind when it goes on."""

import sys
import threading
import traceback
from collections.abc import Callable
from contextvars import copy_context
from ctypes import c_ulong, py_object, pythonapi
from pathlib import Path
from typing import Final

_STOP_S: Final = 1.0
_stuck: Final[dict[object, str]] = {}


class _Stop(BaseException):
    """Thrown into a thread that took too long."""


def call_within(limit_s: float, owner: object, work: Callable[[], None]) -> None:
    """Run ``work`` and raise what it raises, ``BaseException`` included.

    Raises ``AssertionError`` where it takes longer, and from then on at once for the same ``owner``: what hung once
    would hang again.
    """
    assert owner not in _stuck, f"not run, because something hung before: {_stuck[owner]}"
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), name="contract rule", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        where = _place(thread)
        pythonapi.PyThreadState_SetAsyncExc(c_ulong(thread.ident or 0), py_object(_Stop))
        thread.join(_STOP_S)
        _stuck[owner] = f"it did not come back within {limit_s:g} s{where}"
        raise AssertionError(_stuck[owner])
    if raised:
        raise raised[0]


def _place(thread: threading.Thread) -> str:
    """Return where a thread is at work."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - documented, underscore and all
    if frame is None:
        return ""
    newest = traceback.extract_stack(frame)[-1]
    return f" and was at {Path(newest.filename).name}:{newest.lineno}"
