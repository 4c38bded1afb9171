"""Calls in processes of their own, so that none finds what another has left in a module, a cache or the environment."""

import contextlib
import multiprocessing
import os
import pickle
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, TypeVar

from lab.errors import LabError, RunError, describe_error
from lab.exit_codes import EndReason

T = TypeVar("T")
_LOOK_S: Final = 0.1  # how long an interrupt waits to be seen


def each_apart(
    run: str, calls: Sequence[Callable[[], T]], *, at_once: int = 1, stopped: Callable[[], object] | None = None
) -> Iterator[T]:
    """Make each call in a new process, up to ``at_once`` of them at a time, and yield what they return, in order.

    Nothing a call writes on standard output or error is shown. What it raises as a `LabError` is raised here as a
    `RunError`; so is a process that ends without an answer. Calls and what they return must be picklable. Once
    ``stopped`` is true, and whenever the iterator is closed, no process is left. Raises `RunError` then, naming the
    ``run``.
    """
    # A fork takes over what is imported, and a tenth of the time; with other threads it might take over a held lock.
    forks = "fork" in multiprocessing.get_all_start_methods() and threading.active_count() == 1
    context: Any = multiprocessing.get_context("fork" if forks else "spawn")
    waiting, running = deque(calls), deque[tuple[BaseProcess, Connection]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_answer, args=(waiting.popleft(), theirs), daemon=True)
                with warnings.catch_warnings():
                    warnings.simplefilter(
                        "ignore", DeprecationWarning
                    )  # of a fork beside threads that are not Python's
                    process.start()
                theirs.close()
                running.append((process, ours))
            process, answer = running[0]
            while not wait([answer], _LOOK_S):
                if stopped is not None and stopped():
                    raise RunError(EndReason.INTERRUPTED, f"{run}: interrupted; nothing is proved")
            running.popleft()
            yield _received(run, process, answer)
    finally:
        for process, answer in running:
            process.kill()
            process.join()
            answer.close()


def _received(run: str, process: BaseProcess, answer: Connection) -> Any:
    """Return a call's answer. Raises `RunError` for what it raised."""
    try:
        reason, value = answer.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        process.join()
        text = f"{run}: a component ended the process it ran in (exit code {process.exitcode}); nothing is proved"
        raise RunError(EndReason.PLUGIN, text) from None
    finally:
        answer.close()
    process.join()
    if reason is not None:
        raise RunError(reason, value)
    return value


def _answer(call: Callable[[], object], answer: Connection) -> None:
    """Make the call and send what it returns, or the reason and the text of what it raised."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        with contextlib.redirect_stderr(nowhere):
            try:
                found: tuple[EndReason | None, object] = (None, call())
            except LabError as error:
                found = (error.reason, str(error))
            except BaseException as error:
                found = (EndReason.INTERNAL, f"a changed future can't be tried: {describe_error(error)}")
        answer.send(found)
    answer.close()
    os._exit(0)  # at once: what the parent has not flushed yet is not written twice
