"""The ``lab`` command: takes the signals first, then imports all the rest, which takes a while on a busy machine.

Nothing is imported for it that Python has not imported already. A signal that comes while Python itself is starting, in
the first ten to twenty milliseconds, is answered as by any Python program: the process ends, with nothing begun.
"""

import _signal  # what `signal` is made of, without its enums, whose import takes longer than all of this

_noted: list[int] = []


def main() -> None:
    """Run ``lab``; what comes of signals that arrive before `lab.cli` takes them is decided there."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGBREAK"):
        number = getattr(_signal, name, None)
        if number is not None and (name != "SIGHUP" or _signal.getsignal(number) != _signal.SIG_IGN):  # not under nohup
            _signal.signal(number, _note)
    from lab.cli import main

    main(_noted)


def _note(number: int, frame: object) -> None:
    _noted.append(number)
