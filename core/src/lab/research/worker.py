"""A worker of a sweep, as a process: ``python -m lab.research.worker``. It reads trials and writes what they came to.

Messages are pickles, each after its length. Standard output is the program's that started it, so what a strategy prints
goes to standard error instead.
"""

import os
import pickle
import struct
import sys
from typing import IO, Any, Final

_LENGTH: Final = struct.Struct("=q")
INSIDE: Final = "LAB_SWEEP_WORKER"
"""The environment variable that marks a worker, so that a script that is run again in it begins no sweep."""


def send(stream: IO[bytes], message: object) -> None:
    """Write one message. Raises ``OSError`` or ``ValueError`` where nobody reads any more."""
    data = pickle.dumps(message)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Return the next message; raise ``EOFError`` where there will be none."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)


def main() -> None:
    """Take the first message, which says what all trials have, then trials until the other end is closed."""
    reads, writes = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.environ[INSIDE] = "1"
    try:
        first = receive(reads)
        sys.path[:] = first["path"]
        _serve(first, reads, writes)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return


def _serve(first: dict[str, Any], reads: IO[bytes], writes: IO[bytes]) -> None:
    from lab.errors import LabError, describe_error
    from lab.plugins.references import load_file
    from lab.research.code import changed_file
    from lab.research.shared import open_events

    try:
        if changed := changed_file(first["seen"]):
            send(writes, ("unable", f"{changed} changed since it was imported; start the program anew"))
            return
        for file, name in first["files"]:
            load_file(file, name)
        plan = pickle.loads(first["plan"])
        events = open_events(first["prices"], first["blocks"], plan.rows)
    except LabError as error:
        send(writes, ("unable", str(error)))
        return
    except Exception as error:
        send(writes, ("unable", f"a worker cannot load what it is to run: {describe_error(error)}"))
        return
    send(writes, ("ready", os.getpid()))
    while True:
        task = receive(reads)

        def watch(step: int, value: float) -> bool:
            send(writes, ("value", step, value))
            return bool(receive(reads))

        send(writes, ("done", plan.outcome(events, task, watch)))


if __name__ == "__main__":
    main()
