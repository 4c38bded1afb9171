"""The command line, which `lab_command` starts. Each command is a separate module, imported only when it is called."""

import contextlib
import gc
import os
import sys
import threading
from collections.abc import Sequence
from typing import Final

_YOUNG: Final = 20_000
"""New objects until the garbage collector looks at them. What a start makes it keeps: looked at after each 700, as
Python comes, it is a fifth of the time to the first quote."""


def main(noted: Sequence[int] = ()) -> None:
    """Run ``lab``. Never shows a traceback for something the user did.

    ``noted`` are the signals that came so far; one that comes now may still be added to them.
    """
    from lab.live.signals import Interrupts

    interrupts = Interrupts()
    interrupts.install(noted)
    interrupts.own_process = True
    gc.set_threshold(_YOUNG)
    try:
        from lab.cli.main import run_command_line

        code = run_command_line(interrupts)
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        code = 130
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        print("lab: interrupted", file=sys.stderr)
        code = 130
    interrupts.ignore()
    if threading.active_count() > 1:
        _leave_at_once(code)
    sys.exit(code)


def _leave_at_once(code: int) -> None:
    """End the process although threads still run: those of reporters that did not end, or those of a plugin.

    The interpreter would wait for them, or crash where one holds a stream's lock.
    """
    flushing = threading.Thread(target=_flush, daemon=True)
    try:
        flushing.start()
    except RuntimeError:  # without memory no thread starts
        _flush()
    else:
        flushing.join(timeout=0.5)
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or nobody takes it any more
            stream.flush()
