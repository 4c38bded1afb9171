"""Watches which clocks, random numbers and files a component's code uses while it runs."""

import datetime
import gc
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from lab.engine.view import View

_CLOCKS: Final = frozenset(
    {
        "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "localtime",
        "gmtime", "sleep", "ctime", "strftime",
    }
)  # fmt: skip
_FORBIDDEN: Final = {
    "time": _CLOCKS,
    "posix": frozenset({"urandom", "open", "system", "getrandom", "read", "write"}),
    "nt": frozenset({"urandom", "open", "system", "read", "write"}),
    "io": frozenset({"open", "open_code"}),
    "_io": frozenset({"open", "open_code"}),
    "builtins": frozenset({"input", "print"}),
    "_thread": frozenset({"start_new_thread", "start_joinable_thread"}),
    "_socket": frozenset({"getaddrinfo", "gethostbyname"}),
    "_uuid": frozenset({"generate_time_safe"}),
}


@contextmanager
def calls_outside(found: set[str]) -> Iterator[None]:
    """Add to ``found`` every clock, random number, file, socket or thread that is used inside, such as ``time.time``.

    It reads the interpreter's profile events, so it sees calls however the name was imported; Python code in between
    (`random.choice`, `logging`) is reported as the function that it calls in the end. The garbage collector rests
    meanwhile: its callbacks and finalizers are not the component's.
    """

    def notice(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            name = _outside(called)
            if name is not None:
                code = frame.f_code
                found.add(f"{name} (called in {Path(code.co_filename).name}:{frame.f_lineno})")

    before, collecting = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(notice)
    try:
        yield
    finally:
        sys.setprofile(before)
        if collecting:
            gc.enable()


def _outside(called: Any) -> str | None:
    name = getattr(called, "__name__", "")
    owner = getattr(called, "__self__", None)
    if isinstance(owner, random._random.Random) and name in {"random", "getrandbits", "seed"}:  # type: ignore[attr-defined] # noqa: SLF001
        return f"random.{name}"
    if isinstance(owner, type) and issubclass(owner, datetime.date) and name in {"now", "utcnow", "today"}:
        return f"{owner.__name__}.{name}"
    if type(owner).__module__ == "_socket":
        return f"socket.{name}"
    module = getattr(called, "__module__", None) or ""
    if name in _FORBIDDEN.get(module, ()):
        return f"{module.removeprefix('_')}.{name}"
    return None


@contextmanager
def unchanged(view: View, symbol: str) -> Iterator[None]:
    """Assert that what the view shows is the same afterwards: candles, quote, position, cash, working orders."""
    before = _seen(view, symbol)
    yield
    after = _seen(view, symbol)
    for name, value in before.items():
        assert after[name] == value, f"view.{name} changed from {str(value)[-200:]} to {str(after[name])[-200:]}"


def _seen(view: View, symbol: str) -> dict[str, object]:
    held = view.position(symbol)
    return {
        "candles": list(view.candles(symbol)),
        "quote": view.quote(symbol),
        "position": (held.quantity, held.cost),
        "cash": view.cash,
        "orders": [str(order) for order in view.orders(symbol)],
    }


class _Writes:
    """The process's audit hook: it cannot be removed, so it is installed once and listens only when asked to."""

    def __init__(self) -> None:
        self.found: list[str] | None = None
        self._installed = False

    def listen(self, found: list[str] | None) -> None:
        if not self._installed:
            sys.addaudithook(self)
            self._installed = True
        self.found = found

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.found is None:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if isinstance(flags, int) else False
            if isinstance(mode, str):
                writes = writes or any(sign in mode for sign in "wax+")
            touched = [path] if writes else []
        elif event in {"os.mkdir", "os.remove", "os.rmdir", "os.truncate", "sqlite3.connect"}:
            touched = [arguments[0]]
        elif event in {"os.rename", "os.link", "os.symlink"}:
            touched = list(arguments[:2])
        else:
            return
        self.found += [os.fsdecode(path) for path in touched if isinstance(path, str | bytes | os.PathLike)]


_writes: Final = _Writes()


@contextmanager
def written_paths(found: list[str]) -> Iterator[None]:
    """Add to ``found`` every path that is written, made, moved or removed inside, by any thread.

    Byte-code caches and devices are left out.
    """
    everything: list[str] = []
    _writes.listen(everything)
    try:
        yield
    finally:
        _writes.listen(None)
        found += [path for path in everything if "__pycache__" not in path and not path.startswith(("/dev/", ":"))]
