"""Trials on the workers of a Dask scheduler, which may be other machines."""

import contextlib
import importlib
import logging
import pickle
import queue
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final

from lab.errors import ConfigError, RunError, describe_error, message_of, text_of
from lab.exit_codes import EndReason
from lab.research.pickling import dumped
from lab.research.prices import Prices
from lab.research.shared import Block, Events, PriceFile
from lab.research.tasks import Outcome, Task
from lab.research.trials import Plan
from lab.research.workers import Asked, at_once

_CONNECT_S: Final = 5.0
_WORKERS_S: Final = 5.0
_BACK_S: Final = 30.0  # a nanny starts a worker that died within seconds
_WAIT_S: Final = 0.2
_TRIES: Final = 2
_ready: Final[dict[str, tuple[Plan, Events]]] = {}
"""On a worker: what a sweep's trials have in common, by its key. It holds the newest sweep only."""


class DaskWorkers:
    """Runs trials on Dask's workers: prices and plan go to each once. Dask itself hands the trials of one that dies to
    another; a trial that comes back as lost is begun again, once.
    """

    def __init__(self, plan: Plan, prices: Prices, scheduler: str) -> None:
        self._distributed = _distributed()
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tasks: dict[Any, tuple[Task, int, Any]] = {}
        self._client = self._connected(scheduler)
        self._levels = {log: log.level for log in map(logging.getLogger, ("distributed", "distributed.client"))}
        for log in self._levels:
            log.setLevel(logging.CRITICAL)  # they write tracebacks of what is an error of one line here
        try:
            threads = self._threads(scheduler)
            self.slots = at_once(threads, 2 * threads)
            with PriceFile(prices) as file:
                content, blocks = file.content(), file.blocks
            self._packed = (dumped(plan, plan.abouts(), whole_files=True), blocks, content)
            self._shared = self._spread()
        except BaseException:
            self.close()
            raise

    def begin(self, task: Task) -> None:
        """Send a trial."""
        if task.watched:
            raise ConfigError("pruner: trials on Dask's workers are not given up; leave pruner or scheduler out")
        self._submit(task, 1)

    def wait(self, asked: Asked) -> Iterator[tuple[Task, Outcome]]:
        """Yield trials that ended; begin one again that was lost."""
        try:
            future = self._ended.get(timeout=_WAIT_S)
        except queue.Empty:
            self._check_there()
            return
        found = self._tasks.pop(future.key, None)
        if found is None:
            return
        task, tries, _ = found
        try:
            outcome: Outcome = future.result()
        except Exception as error:  # a trial raises nothing: its worker died before it ended, or with what came of it
            self._check_there()
            if tries >= _TRIES:
                outcome = Outcome(error=f"its worker died {_TRIES} times ({describe_error(error):.200})")
        else:
            tries = _TRIES
        if tries < _TRIES:
            self._shared = self._spread()
            self._submit(task, tries + 1)
        else:
            yield task, outcome

    def _spread(self) -> Any:
        """Send what all trials have in common to the workers. Raises `RunError` where none that died comes back."""
        until = time.monotonic() + _BACK_S
        while True:
            try:
                self._client.wait_for_workers(1, timeout=max(until - time.monotonic(), _WAIT_S))
                return self._client.scatter(self._packed, broadcast=True, hash=False)
            except Exception as error:  # the one that was there has just died
                self._check_there()
                if time.monotonic() >= until:
                    text = f"no Dask worker came back within {_BACK_S:g} s ({describe_error(error):.80})"
                    raise RunError(EndReason.STORAGE, f"{text}; start one, and the same sweep goes on") from None
                time.sleep(_WAIT_S)

    def _check_there(self) -> None:
        """Raise `RunError` where the scheduler is gone: what has ended is kept."""
        if self._client.status != "running":
            raise RunError(EndReason.STORAGE, "the Dask scheduler is gone; start it, and the same sweep goes on")

    def close(self) -> None:
        """Take back what goes on, and leave the scheduler."""
        with contextlib.suppress(Exception):
            self._client.cancel([future for _, _, future in self._tasks.values()])
        with contextlib.suppress(Exception):
            self._client.close(timeout=_CONNECT_S)
        for log, level in self._levels.items():
            log.setLevel(level)

    def _submit(self, task: Task, tries: int) -> None:
        sweep = self._client.id
        key = f"lab-{sweep}-{task.number}-{tries}"
        future = self._client.submit(_outcome, self._shared, sweep, task, key=key, pure=False)
        self._tasks[future.key] = (task, tries, future)
        future.add_done_callback(self._ended.put)

    def _connected(self, scheduler: str) -> Any:
        try:
            return self._distributed.Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            cure = "start one: dask scheduler, and a worker for it: dask worker ADDRESS"
            text = f"scheduler {text_of(str, scheduler, 80)}: no Dask scheduler answers there within {_CONNECT_S:g} s"
            raise RunError(EndReason.CONFIG, f"{text} ({message_of(error)[:80]}); {cure}") from None

    def _threads(self, scheduler: str) -> int:
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS_S)
        except Exception:
            text = f"scheduler {scheduler:.80}: it has no worker; start one: dask worker {scheduler:.80}"
            raise RunError(EndReason.CONFIG, text) from None
        ours = _versions()
        for address, theirs in self._client.run(_versions, on_error="return").items():
            if isinstance(theirs, OSError):
                continue  # it has just died
            if isinstance(theirs, BaseException):
                text = f"the Dask worker {address:.80} cannot run lab: {describe_error(theirs):.80}"
                raise RunError(EndReason.CONFIG, f"{text}; install lab-trading there")
            if theirs != ours:
                text = (
                    f"the Dask worker {address:.80} has {_shown(theirs)}, and this is {_shown(ours)}; install the same"
                )
                raise RunError(EndReason.CONFIG, text)
        return int(sum(self._client.nthreads().values()))


def _versions() -> dict[str, Any]:
    return {"lab": version("lab-trading"), "python": sys.version_info[:2]}


def _shown(versions: Mapping[str, Any]) -> str:
    return f"lab {versions['lab']} on Python {'.'.join(map(str, versions['python']))}"


def _outcome(shared: tuple[bytes, list[Block], bytes], sweep: str, task: Task) -> Outcome:
    """Run a trial on a worker."""
    if sweep not in _ready:
        plan_bytes, blocks, content = shared
        plan: Plan = pickle.loads(plan_bytes)
        _ready.clear()
        _ready[sweep] = plan, Events.mapped(blocks, content, plan.rows)
    plan, events = _ready[sweep]
    return plan.outcome(events, task)


def _distributed() -> Any:
    try:
        return importlib.import_module("distributed")
    except ImportError:
        raise ConfigError("scheduler needs Dask: pip install 'lab-trading[dask]'") from None
