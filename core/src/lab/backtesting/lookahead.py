"""`lab lookahead`: no decision of a run may change when only what came after it changes.

The recorded inputs are cut after a decision, and another future is put behind the cut: in the stream, in what the
provider reads, and in every setting that names it. A new engine with new components takes the past again. All rows up
to the cut must be the recorded ones, byte for byte. Each changed run is a process of its own, and its provider is
never asked for data: what a source has left in a module is not there.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
from attrs import define, field, frozen
from msgspec.structs import replace

from lab.backtesting.apart import each_apart
from lab.backtesting.changed_file import change_csv, change_run
from lab.backtesting.changed_future import FUTURES, Future, changed_inputs, draw_of
from lab.backtesting.opened_files import on_open, packages_of
from lab.backtesting.recorded_source import each_path, moved
from lab.backtesting.runner import Progress
from lab.backtesting.survey import Cut, Place, Survey, survey
from lab.composition.assembly import Assembly, Part, reassemble
from lab.domain.ledger import own_context
from lab.domain.time import format_time
from lab.errors import ConfigError, PluginError
from lab.journal.chain import Row
from lab.journal.codec import INPUT_KINDS, RUN_ENDED
from lab.journal.reader import JournalReader
from lab.journal.store import Journal
from lab.journal.tape import read_tape
from lab.plugins.discovery import Registry
from lab.records.run import ComponentRecord, RunStarted

_BATCH: Final = 4096
_AHEAD: Final = 1024  # inputs of the changed future that lie in memory behind the cut
_SHOWN_MOST: Final = 10


@frozen
class Finding:
    """A decision that changed with its future: the first row that differs, what it was and what it became."""

    row: int
    input: int
    event: str
    strategy: str
    was: str
    became: str
    cut: int
    future: Future


@frozen
class Proof:
    """What `lookahead` found. ``clean``: nothing changed, and nothing read the run's data beside the changed copies.

    ``difference`` is not empty where the run doesn't even repeat with its own inputs: then nothing was changed.
    """

    run: str
    clean: bool
    inputs: int
    decisions: int
    """How many decisions were compared: those up to the last cut."""
    decisions_of_run: int
    cuts: int
    futures: int
    changed: int
    """How many decisions changed."""
    findings: Sequence[Finding]
    """The first of them."""
    reads: Sequence[str]
    """Components that opened the run's own data file, whose future could not be changed for them."""
    replaced: Sequence[str]
    """What held another future, beside the stream of inputs."""
    unchanged: Sequence[str]
    """What the provider reads and could not be changed, and why."""
    difference: str = ""
    cause: str = ""


def lookahead(
    directory: Path,
    *,
    cuts: int | None = None,
    seed: int = 0,
    stopped: Callable[[], object] | None = None,
    progress: Progress | None = None,
) -> Proof:
    """Cut a run after its decisions, change what came later, and compare every row up to the cut.

    ``cuts`` limits the decisions that are cut after; ``None``: 50, or as many as keep a long run within 300,000 inputs
    a kind of future, 10 at least. Where there are more decisions, half of the cuts are drawn from those that asked for
    something, the others from all. Raises `RunError` as `verify` does.
    """

    def say(what: str, done: int = 0, total: int | None = None) -> None:
        if progress is not None:
            progress(what, done, total)

    with tempfile.TemporaryDirectory(prefix="lab-lookahead-") as scratch:
        say("running the recorded inputs again")
        first = partial(survey, directory, Path(scratch), cuts, seed)
        (found,) = each_apart(directory.name, [first], stopped=stopped)
        results: list[_Result] = []
        calls = [
            partial(changed_run, directory, Path(scratch), found, number, how, seed)
            for number in range(len(found.cuts))
            for how in FUTURES
        ]
        for result in each_apart(directory.name, calls, at_once=min(4, os.cpu_count() or 1), stopped=stopped):
            results.append(result)
            say("changed futures", len(results), len(calls))
    return _proof(directory.name, found, results)


@define
class _Result:
    """What one changed run came to."""

    finding: Finding | None = None
    reads: list[str] = field(factory=list)


@own_context()
def changed_run(directory: Path, scratch: Path, found: Survey, number: int, how: Future, seed: int) -> _Result:
    """Run the inputs up to one cut with another future behind it. For a process of its own."""
    cut = found.cuts[number]
    result = _Result()
    opened: list[tuple[str, set[str]]] = []
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        copies = _copies(found.places, number, how, seed, Path(folder))
        on_open(lambda path, frame: opened.append((path, packages_of(frame))), of=found.read)
        reader = JournalReader.open(directory)
        started = reader.run_started()
        now = moved(started, reader.labels().get("state_dir"), directory)
        events = read_tape(found.inputs_in, torn_ok=True)
        again = Journal(None, durable=False, labels={})
        try:
            assembly = reassemble(Registry(), _pointed(now, copies))
        except (ConfigError, PluginError) as error:
            became = f"cannot be assembled: {error}"
            result.finding = Finding(1, 0, "the start of the run", "", "assembled", became, cut.number, how)
            return result
        engine = assembly.engine(started, archive=again.outcome)
        again.append_record(started, 0, 0)
        again.append(engine.begin(), 0, 0)
        while engine.stepped < cut.number:
            batch = list(islice(events, min(_BATCH, cut.number - engine.stepped)))
            left = len(batch)
            if engine.stepped + left == cut.number:
                # Behind the past, in one list, as a source that reads ahead has it.
                draw = draw_of(seed, f"inputs {cut.number}")
                batch += changed_inputs(list(islice(events, _AHEAD)), how, draw)
            engine.step_all(islice(batch, left), again.append)
        again.commit()
        result.finding = _first_difference(reader, again.reader(), found, cut, how)
        result.reads = sorted({f"{name} opened {path}" for path, by in opened for name in _owners(assembly, by)})
    return result


def _copies(places: Sequence[Place], number: int, how: Future, seed: int, folder: Path) -> dict[str, str]:
    """Write what the provider reads, with another future; return the path of each copy by that of the original."""
    copies = {}
    for place in places:
        original = Path(place.path)
        target = folder / place.setting / original.name
        draw = draw_of(seed, f"{place.setting} {number}")
        change = change_run if place.is_run else change_csv
        change(original, target, place.known[number], how, draw)
        copies[os.path.realpath(original)] = str(target)
    return copies


def _pointed(started: RunStarted, copies: dict[str, str]) -> RunStarted:
    """Return how the run was started with every setting that names an original naming its copy."""
    if not copies:
        return started

    def other(path: str) -> str:
        return copies.get(os.path.realpath(path), path)

    def pointed(part: ComponentRecord) -> ComponentRecord:
        return replace(part, settings={key: each_path(value, other) for key, value in part.settings.items()})

    return replace(
        started,
        provider=pointed(started.provider),
        strategies=tuple(map(pointed, started.strategies)),
        gates=tuple(map(pointed, started.gates)),
        broker=pointed(started.broker),
    )


def _owners(assembly: Assembly, packages: set[str]) -> Iterable[str]:
    """Return the deciding components whose code is in one of the packages.

    A thread's frames do not say who started it; lab itself reads the run in none.
    """
    if "lab" not in packages:
        yield "a thread, whose component is not known,"
        return
    parts: list[Part[Any]] = [*assembly.strategies, *assembly.gates, assembly.broker]
    for part in parts:
        if type(part.component).__module__.partition(".")[0] in packages:
            yield part.name


def _first_difference(
    reader: JournalReader, again: JournalReader, found: Survey, cut: Cut, how: Future
) -> Finding | None:
    """Compare the rows up to and with the cut, byte for byte."""
    theirs = again.rows()
    for ours in reader.rows():
        if ours[2] > cut.number or ours[3] == RUN_ENDED:
            break
        other = next(theirs, None)
        if other is None or ours[:6] != other[:6]:
            return _finding(found, ours, other, cut, how)
    extra = next(theirs, None)
    return None if extra is None else _finding(found, None, extra, cut, how)


def _finding(found: Survey, was: Row | None, became: Row | None, cut: Cut, how: Future) -> Finding:
    """Name the earlier of two rows: where one is of a later input, the other side did nothing on this one."""
    if was is not None and became is not None and was[2] != became[2]:
        was, became = (was, None) if was[2] < became[2] else (None, became)
    row = was or became
    assert row is not None
    event = next(islice(read_tape(found.inputs_in, torn_ok=True), row[2] - 1, None), None) if row[2] else None
    what = "the start of the run" if event is None else f"{INPUT_KINDS[type(event)]} {format_time(event.time_ns)}"
    return Finding(row[0], row[2], what, _strategy(row), _text(was), _text(became), cut.number, how)


def _strategy(row: Row) -> str:
    body = msgspec.json.decode(row[5])
    return str(body.get("strategy", "")) if isinstance(body, dict) else ""


def _text(row: Row | None) -> str:
    return "nothing" if row is None else f"{row[3]} {row[5].decode()[:400]}"


def _proof(run: str, found: Survey, results: Sequence[_Result]) -> Proof:
    findings: dict[int, Finding] = {}
    for result in results:
        if result.finding is not None:
            findings.setdefault(result.finding.input, result.finding)
    reads = sorted({text for result in results for text in result.reads})
    ordered = [findings[number] for number in sorted(findings)]
    last = max((cut.number for cut in found.cuts), default=0)
    return Proof(
        run=run,
        clean=not findings and not reads and not found.difference,
        inputs=found.inputs,
        decisions=sum(number <= last for number in found.decided),
        decisions_of_run=len(found.decided),
        cuts=len(found.cuts),
        futures=len(results),
        changed=len(findings),
        findings=ordered[:_SHOWN_MOST],
        reads=reads,
        replaced=[place.setting for place in found.places],
        unchanged=found.unchanged,
        difference=found.difference,
        cause=found.cause,
    )
