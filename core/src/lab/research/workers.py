"""Where trials are run: in this process, or in worker processes, of which each may die without the others."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import define, field

from lab.errors import RunError
from lab.exit_codes import EndReason
from lab.research.code import seen_files
from lab.research.pickling import dumped, files_of
from lab.research.shared import Events, PriceFile
from lab.research.tasks import Outcome, Task
from lab.research.trials import Plan
from lab.research.worker import INSIDE, receive, send

AHEAD: Final = 8
"""A trial is drawn when all but the newest eight before it have ended: so up to eight workers draw the same trials."""
_TRIES: Final = 2
"""How often a trial is begun whose worker dies."""
_WAIT_S: Final = 0.2
_END_S: Final = 5.0
Asked = Callable[[int, int, float], bool]
"""Takes a trial's number, how many tenths of it are done and the profit so far; returns whether to give it up."""


class Runner(Protocol):
    """Runs trials. `wait` is called until each that was begun has come back."""

    slots: int
    """Trials that are begun at once: those that run, and some that wait so that no worker does."""

    def begin(self, task: Task) -> None:
        """Begin a trial."""

    def wait(self, asked: Asked) -> Iterator[tuple[Task, Outcome]]:
        """Yield trials that ended; after a fraction of a second none where none has."""

    def close(self) -> None:
        """End what goes on."""


def at_once(workers: int, wanted: int) -> int:
    """Return how many trials are begun at once: as many as are wanted, as long as that draws the same ones."""
    return max(workers, min(wanted, AHEAD))


class InProcess:
    """Runs one trial after the other, in this process."""

    slots = 1

    def __init__(self, plan: Plan, events: Events, stopped: Callable[[], object]) -> None:
        self._plan, self._events, self._stopped = plan, events, stopped
        self._tasks: deque[Task] = deque()

    def begin(self, task: Task) -> None:
        """Remember a trial."""
        self._tasks.append(task)

    def wait(self, asked: Asked) -> Iterator[tuple[Task, Outcome]]:
        """Run the trials that were begun."""
        while self._tasks:
            task = self._tasks.popleft()
            outcome = self._plan.outcome(self._events, task, partial(asked, task.number), self._stopped)
            if self._stopped():
                return  # it was cut short, maybe
            yield task, outcome

    def close(self) -> None:
        """Do nothing: nothing goes on."""


@define(eq=False)
class _Worker:
    """One process, and the thread that talks to it."""

    tasks: "queue.SimpleQueue[Task | None]" = field(factory=queue.SimpleQueue)
    answers: "queue.SimpleQueue[bool]" = field(factory=queue.SimpleQueue)
    process: "subprocess.Popen[bytes] | None" = None
    thread: threading.Thread | None = None
    idle: bool = True


class Processes:
    """Runs trials in processes of their own. A worker that dies is replaced, and its trial begun again, once."""

    def __init__(self, plan: Plan, prices: PriceFile, workers: int) -> None:
        self.slots = at_once(workers, workers + 1)
        about = [*plan.abouts()]
        self._first: dict[str, Any] = {
            "path": [one or str(Path.cwd()) for one in sys.path],
            "seen": seen_files(about),
            "files": files_of(about),
            "plan": dumped(plan, about),
            "prices": prices.place,
            "blocks": prices.blocks,
        }
        self._inherited = [prices.place] if isinstance(prices.place, int) else []
        self._events: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._tries: dict[int, int] = {}
        self._waiting: deque[Task] = deque()
        self._closing = False
        self._workers = [_Worker() for _ in range(workers)]
        for worker in self._workers:
            worker.thread = threading.Thread(target=self._talk, args=(worker,), name="lab sweep", daemon=True)
            worker.thread.start()

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that are there."""
        return [process.pid for worker in self._workers if (process := worker.process) is not None]

    def begin(self, task: Task) -> None:
        """Give a trial to a worker that is idle, or keep it for the next one that is."""
        self._waiting.append(task)
        self._give()

    def wait(self, asked: Asked) -> Iterator[tuple[Task, Outcome]]:
        """Yield trials that ended; answer those that ask whether to go on."""
        try:
            kind, worker, task, *rest = self._events.get(timeout=_WAIT_S)
        except queue.Empty:
            return
        if kind == "value":
            worker.answers.put(asked(task.number, *rest))
            return
        worker.idle = True
        if kind == "done":
            self._give()
            yield task, rest[0]
        elif kind == "unable":
            raise RunError(EndReason.CONFIG, rest[0])
        elif self._tries[task.number] < _TRIES:
            self._waiting.appendleft(task)
            self._give()
        else:
            self._give()
            yield task, Outcome(error=f"its worker died {_TRIES} times ({rest[0]})")

    def close(self) -> None:
        """End the workers, whatever they do."""
        self._closing = True
        for worker in self._workers:
            worker.tasks.put(None)
            worker.answers.put(True)
            process = worker.process
            if process is not None:
                process.kill()
        for worker in self._workers:
            if worker.thread is not None:
                worker.thread.join(_END_S)

    def _give(self) -> None:
        for worker in self._workers:
            if worker.idle and self._waiting:
                task = self._waiting.popleft()
                self._tries[task.number] = self._tries.get(task.number, 0) + 1
                worker.idle = False
                worker.tasks.put(task)

    def _talk(self, worker: _Worker) -> None:
        """Hand one worker its trials, in a thread of its own, and start its process anew where it died."""
        while (task := worker.tasks.get()) is not None:
            try:
                if worker.process is None and (why := self._start(worker)):
                    self._events.put(("unable", worker, task, why))
                    continue
                process = worker.process
                assert process is not None
                assert process.stdin is not None
                assert process.stdout is not None
                send(process.stdin, task)
                while (message := receive(process.stdout))[0] == "value":
                    self._events.put(("value", worker, task, *message[1:]))
                    send(process.stdin, worker.answers.get())
                self._events.put(("done", worker, task, message[1]))
            except (EOFError, OSError, ValueError):
                how = self._buried(worker)
                if not self._closing:
                    self._events.put(("died", worker, task, how))
        self._buried(worker)

    def _start(self, worker: _Worker) -> str:
        """Start a process; return why that is impossible, or an empty text. Raises ``EOFError`` where it dies."""
        environment = {**os.environ, INSIDE: "1", "PYTHONPATH": os.pathsep.join(self._first["path"])}
        try:
            worker.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "lab.research.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env=environment, pass_fds=self._inherited,
                start_new_session=True,  # Ctrl-C is for the one that began the sweep
            )  # fmt: skip
        except OSError as error:
            return f"a worker cannot be started: {error.strerror or error}"
        assert worker.process.stdin is not None
        assert worker.process.stdout is not None
        send(worker.process.stdin, self._first)
        kind, what = receive(worker.process.stdout)
        return str(what) if kind == "unable" else ""

    @staticmethod
    def _buried(worker: _Worker) -> str:
        """Wait for the end of a process; return how it ended."""
        process, worker.process = worker.process, None
        if process is None:
            return ""
        for stream in (process.stdin, process.stdout):
            try:
                if stream is not None:
                    stream.close()
            except OSError:
                pass  # what was still to be written reaches nobody
        try:
            code = process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code >= 0:
            return f"exit code {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
