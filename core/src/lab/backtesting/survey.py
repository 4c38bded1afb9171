"""What a look-ahead proof needs to know of a run first: that it repeats, its decisions, and what its provider reads."""

import os
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Final

from attrs import frozen

from lab.backtesting.changed_file import NotChangeableError, inputs_known, rows_known
from lab.backtesting.changed_future import draw_of
from lab.backtesting.opened_files import on_open, packages_of
from lab.backtesting.recorded_run import recorded_batch
from lab.backtesting.recorded_source import each_path, moved
from lab.backtesting.verify import verify
from lab.composition.assembly import reassemble
from lab.domain.control import Command
from lab.domain.inputs import Input
from lab.domain.ledger import own_context
from lab.domain.market import BACKFILLED, Candle, Depth, Quote, Trade
from lab.engine.engine import Engine
from lab.errors import JournalError
from lab.journal.reader import JournalReader
from lab.journal.schema import FILE_NAME
from lab.journal.store import Journal
from lab.journal.tape import TapeWriter
from lab.plugins.discovery import Registry
from lab.records.run import RunStarted

_ASKED_FOR: Final = frozenset({"signal", "order_accepted", "order_refused"})
"""The kinds of rows that a strategy's own request leads to."""
_BUDGET: Final = 300_000  # inputs stepped for each kind of future, where that allows `_LEAST` cuts
_LEAST: Final = 10
_MOST: Final = 50


@frozen
class Cut:
    """A cut after an input: its number, and the engine's time there."""

    number: int
    now_ns: int


@frozen
class Place:
    """A file or recorded run that a provider's setting names: how much of it was known at each cut."""

    setting: str
    path: str
    is_run: bool
    known: Sequence[int]


@frozen
class Survey:
    """A run that repeats, where to cut it, and what else holds its future."""

    inputs: int
    inputs_in: Path
    """The folder of a tape with every input."""
    decided: Sequence[int] = ()
    """The number of each input on which a strategy was asked, or asked for something."""
    cuts: Sequence[Cut] = ()
    places: Sequence[Place] = ()
    unchanged: Sequence[str] = ()
    read: frozenset[str] = frozenset()
    """The real paths of the files that hold the future."""
    difference: str = ""
    cause: str = ""


@own_context()
def survey(directory: Path, scratch: Path, most: int | None, seed: int) -> Survey:
    """Prove that a run repeats, and find its decisions. For a process of its own.

    A backtest's inputs are written to ``scratch``. Raises `RunError` as `verify` does.
    """
    registry = Registry()
    verdict = verify(directory, registry)
    if not verdict.identical:
        return Survey(verdict.inputs, directory, difference=verdict.difference, cause=verdict.cause)
    reader = JournalReader.open(directory)
    recorded = reader.run_started()
    if not recorded.instruments:  # the provider never described one: nothing was decided
        return Survey(0, directory)
    started = moved(recorded, reader.labels().get("state_dir"), directory)
    acted = {row[2] for row in reader.rows() if row[3] in _ASKED_FOR}
    over = reader.run_ended() is not None
    last = verdict.inputs if over else max((row[2] for row in reader.rows()), default=0)
    pass_ = _Pass()
    inputs_in = pass_.run(directory, scratch, registry, recorded, started, last)
    acted -= pass_.commands  # orders of a flatten are no strategy's
    decided = sorted({*pass_.decided, *acted})
    cuts = [Cut(number, pass_.now_ns[number - 1]) for number in _chosen(decided, acted, last, most, seed)]
    places, unchanged = _places(started, cuts)
    if not places:
        why = "its provider finds it without a path in a setting; whatever else opens it is named"
        unchanged += [f"{Path(path).name}: {why}" for path in sorted(pass_.read)]
    read = pass_.read | {os.path.realpath(path) for _, path in _paths(started)}
    return Survey(last, inputs_in, decided, cuts, places, unchanged, frozenset(read))


class _Pass:
    """One more pass through the inputs, which notes who was asked, the time, and which files the provider opened."""

    def __init__(self) -> None:
        self.decided: list[int] = []
        self.commands: set[int] = set()
        self.now_ns = array("q")
        self.read: set[str] = set()
        self._provider = ""
        self._asking_provider = False

    def run(
        self, directory: Path, scratch: Path, registry: Registry, recorded: RunStarted, started: RunStarted, last: int
    ) -> Path:
        """Step the first ``last`` inputs; return the folder of a tape that holds all of the run's."""
        assembly = reassemble(registry, started)
        self._provider = type(assembly.provider.component).__module__.partition(".")[0]
        again = Journal(None, durable=False, labels={})
        on_open(self._note)
        self._asking_provider = recorded.kind != "run"
        batch = recorded_batch(directory, assembly, recorded, again, last)
        self._asking_provider = False
        tape = None
        if recorded.kind != "run":
            folder = scratch / "inputs"
            folder.mkdir()
            tape = TapeWriter(folder)
        again.append(batch.engine.begin(), 0, 0)
        for event in chain.from_iterable(self._asked(iter(batch.batches), recorded.kind != "run")):
            if tape is not None:
                tape.add(event)
            self._step(batch.engine, event, again)
            if len(self.now_ns) == last:
                break
        again.close()
        if tape is None:
            return directory
        tape.close()
        return folder

    def _step(self, engine: Engine, event: Input, journal: Journal) -> None:
        engine.step_all((event,), journal.append)
        self.now_ns.append(engine.state.now_ns)
        if isinstance(event, Command):
            self.commands.add(engine.stepped)
        elif _is_asked(engine, event):
            self.decided.append(engine.stepped)

    def _asked(self, batches: Iterator[Sequence[Input]], provider: bool) -> Iterator[Sequence[Input]]:
        while True:
            self._asking_provider = provider
            batch = next(batches, None)
            self._asking_provider = False
            if batch is None:
                return
            yield batch

    def _note(self, path: str, frame: FrameType) -> None:
        if self._asking_provider and self._provider in packages_of(frame):
            self.read.add(path)


def _is_asked(engine: Engine, event: Input) -> bool:
    """Return whether a strategy was asked about an input just stepped."""
    symbol = getattr(event, "symbol", "")
    going = [one for one in engine.strategies if not one.failed and symbol in one.symbols]
    if isinstance(event, Candle):
        history = engine.state.markets[event.symbol].history
        newest = history.next_ns == event.open_ns + history.interval_ns
        return event.status != BACKFILLED and newest and any(history.count >= one.lookback for one in going)
    name = {Quote: "on_quote", Trade: "on_trade", Depth: "on_depth"}.get(type(event))
    return name is not None and any(getattr(one, name) is not None for one in going)


def _chosen(decided: Sequence[int], acted: set[int], inputs: int, most: int | None, seed: int) -> list[int]:
    """Return the decisions to cut after, ascending: all that have a future, or a sample of them.

    Half of a sample is of decisions that asked for something, as far as there are so many.
    """
    if most is None:
        most = min(_MOST, max(_LEAST, _BUDGET // max(inputs, 1)))
    free = [number for number in decided if number < inputs]
    if len(free) <= most:
        return free
    draw = draw_of(seed, "cuts")
    drawn = sorted(free, key=draw)
    first = [number for number in drawn if number in acted][: (most + 1) // 2]
    return sorted([*first, *[number for number in drawn if number not in set(first)][: most - len(first)]])


def _paths(started: RunStarted) -> list[tuple[str, str]]:
    """Return setting and path of each file or recorded run that the provider's settings name."""
    found: list[tuple[str, str]] = []
    for key, value in started.provider.settings.items():
        texts: list[str] = []
        each_path(value, lambda text, texts=texts: texts.append(text) or text)  # type: ignore[misc]
        for number, text in enumerate(texts):
            path = Path(text)
            if path.is_absolute() and (path.is_file() or _is_run(path)):
                found.append((f"{started.provider.name}.{key}{f'.{number + 1}' if len(texts) > 1 else ''}", text))
    return found


def _places(started: RunStarted, cuts: Sequence[Cut]) -> tuple[list[Place], list[str]]:
    """Return what the provider reads as far as it can be changed, and what can't be, with the reason."""
    places, unchanged = [], []
    times_ns = [cut.now_ns for cut in cuts]
    for setting, path in _paths(started):
        run = _is_run(Path(path))
        try:
            known = inputs_known(Path(path), times_ns) if run else rows_known(Path(path), times_ns, started.interval_ns)
        except (NotChangeableError, JournalError) as error:
            unchanged.append(f"{setting}: {error}")
            continue
        places.append(Place(setting, path, run, known))
    return places, unchanged


def _is_run(path: Path) -> bool:
    return path.is_dir() and (path / FILE_NAME).is_file()
