"""`lab verify`: feed the recorded inputs to the same engine again, and compare its rows with the journal's."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Final

import attrs
from attrs import frozen

from lab.backtesting.recorded_run import assembled_again, components, recorded_batch
from lab.backtesting.row_text import row_text
from lab.backtesting.runner import Batch, Progress, feed, run_through
from lab.composition.assembly import Assembly
from lab.domain.inputs import Input
from lab.domain.ledger import own_context
from lab.errors import JournalError, ProviderError, RunError
from lab.exit_codes import EndReason
from lab.journal.chain import GENESIS, Row
from lab.journal.codec import RUN_ENDED
from lab.journal.reader import JournalReader, check_chain
from lab.journal.state import end_state
from lab.journal.store import Journal
from lab.journal.tape import read_tape
from lab.plugins.discovery import Registry
from lab.plugins.references import FILE_VERSION
from lab.records.base import as_data
from lab.records.run import ComponentRecord, RunEnded, RunKind, RunStarted
from lab.runs.previous import check_begun

_BATCH: Final = 4096
_CHANGED: Final = "the journal was changed after it was written"
_REPLAYED: Final = ("totals", "equity", "books", "gate_memory")


@frozen
class Verdict:
    """What `verify` found. ``rows`` were compared; ``difference`` is empty when all are identical.

    ``note`` names the files of components that changed since the run, and made no difference.
    """

    run: str
    identical: bool
    rows: int
    inputs: int
    head: str
    difference: str
    cause: str
    note: str = ""


@own_context()
def verify(
    directory: Path,
    registry: Registry,
    *,
    stopped: Callable[[], object] | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Check the hash chain, run the recorded inputs again, and compare row by row, byte for byte.

    ``stopped`` is asked now and then: once it is true, nothing is proved. Raises `RunError` then, and where the run
    can't be read or its components aren't available.
    """
    watch = _Watch(directory.name, stopped, progress)
    try:
        reader = JournalReader.open(directory)
    except JournalError as error:
        raise RunError(EndReason.STORAGE, str(error)) from None
    try:
        check_begun(directory, reader)
        broken = check_chain(reader, watch)
        if broken is not None:
            return Verdict(
                directory.name,
                False,
                broken,
                0,
                "",
                f"row {broken}: its hash does not follow",
                _CHANGED,
            )
        lost = reader.lost()
        if lost:
            return Verdict(directory.name, False, reader.count(), 0, "", lost, _CHANGED)
        started = reader.run_started()
        if not started.instruments:  # the provider never described the instrument: nothing was decided
            head = [row[6] for row in reader.rows()][-1]
            return Verdict(directory.name, True, reader.count(), 0, head.hex(), "", "")
        damage = _check_tape(reader, directory, watch) if started.kind == "run" else ""
        if damage:
            text = "the tape is not what the run took in"
            return Verdict(directory.name, False, 0, 0, "", text, damage)
        assembly = assembled_again(directory, registry, reader)
        again = Journal(None, durable=False, labels={})
        batch, inputs = _again(directory, assembly, started, reader, again, watch)
        verdict = _compare(directory, reader, again, batch, inputs, watch)
        wrong = reader.damage() or reader.state_damage() if verdict.identical else ""
        if wrong:
            return attrs.evolve(verdict, identical=False, difference=wrong, cause=_CHANGED)
        return attrs.evolve(verdict, note=_changed_files(batch)) if verdict.identical else verdict
    except JournalError as error:
        raise RunError(EndReason.STORAGE, str(error)) from None
    finally:
        reader.close()


class _Watch:
    """Shows the progress of the proof, and stops it on request."""

    def __init__(self, run: str, stopped: Callable[[], object] | None, progress: Progress | None) -> None:
        self._run = run
        self._stopped = stopped
        self._progress = progress

    def __call__(self, what: str, done: int, total: int | None = None) -> None:
        """Take a step of the proof. Raises `RunError` when it is to stop."""
        if self.stopped():
            raise RunError(EndReason.INTERRUPTED, f"{self._run}: interrupted; nothing is proved")
        if self._progress is not None:
            self._progress(what, done, total)

    def stopped(self) -> bool:
        """Return whether the proof is to stop."""
        return self._stopped is not None and bool(self._stopped())


class _Part:
    """The inputs of a backtest that ended before its data did: as many as it took, all where ``most`` is ``None``.

    With ``failure`` the provider failed then, and fails again.
    """

    def __init__(self, batches: Iterable[Sequence[Input]], most: int | None, failure: str) -> None:
        self._batches = batches
        self._left = most
        self._failure = failure

    def __iter__(self) -> Iterator[Sequence[Input]]:
        for events in self._batches:
            taken = events if self._left is None else events[: self._left]
            if self._left is not None:
                self._left -= len(taken)
            yield taken
            if self._failure and not self._left:
                raise ProviderError(self._failure)

    def is_over(self) -> bool:
        """Return whether the part ends here, though the data does not."""
        return self._left == 0 and not self._failure


def _again(
    directory: Path,
    assembly: Assembly,
    started: RunStarted,
    reader: JournalReader,
    journal: Journal,
    watch: _Watch,
) -> tuple[Batch, int]:
    """Run the recorded inputs through a new engine into a journal in memory.

    Raises `RunError` where the data cannot be read again to where the run came.
    """
    stopped_at, failure = _stopped_at(reader, started.kind), ""
    batch = recorded_batch(directory, assembly, started, journal, stopped_at)
    journal.append_record(started, 0, 0)
    journal.append(batch.engine.begin(), 0, 0)

    def advance(_: str, done: int, total: int | None) -> None:
        watch("running the inputs again", done, total)

    if started.kind == "run":  # the tape holds its commands, also the last stop
        number, _, _ = feed(batch, journal, progress=advance)
    else:
        ended = reader.run_ended()
        failed = ended is not None and ended.reason == EndReason.PLUGIN.code and stopped_at is not None
        if ended is not None and failed and not all(book.stopped for book in ended.books.values()):
            failure = ended.error
        part = _Part(batch.batches, stopped_at, failure)
        number, reason, error = run_through(attrs.evolve(batch, batches=iter(part)), journal, part.is_over, advance)
        others = batch.engine.state.failure is not None or all(one.failed for one in batch.engine.strategies)
        if reason is EndReason.PLUGIN and not others and error != failure:
            raise RunError(EndReason.PLUGIN, f"{directory.name}: {error}; nothing is proved")
    watch("comparing", 0)
    journal.commit()
    return batch, number


def _stopped_at(reader: JournalReader, kind: RunKind) -> int | None:
    """Return after how many inputs the run may have been stopped, ``None`` where it took all.

    A signal stops a backtest, or a provider that fails; one in which nobody could trade any more names that as its
    reason, whatever stopped it. A
    live run that was cut off has inputs on its tape whose rows were never committed.
    """
    ended = reader.run_ended()
    if kind == "run":
        state = reader.run_state() if ended is None else None
        return state.session.counters.inputs if state is not None else None
    if ended is None:
        return None
    ruined = ended.reason == EndReason.RISK_HALT.code or all(book.stopped for book in ended.books.values())
    early = {EndReason.STOPPED.code, EndReason.PLUGIN.code}
    return ended.session.counters.inputs if ruined or ended.reason in early else None


def _check_tape(reader: JournalReader, directory: Path, watch: _Watch) -> str:
    """Return what is wrong with the tape of a finished run, by the digest and the count in its journal."""
    ended = reader.run_ended()
    if ended is None:
        return ""
    digest = hashlib.sha256()
    try:
        number = 0
        for number, _ in enumerate(read_tape(directory, digest=digest), 1):
            if number % _BATCH == 0:
                watch("checking the tape, inputs", number, ended.session.counters.inputs)
    except JournalError as error:
        return f"{error}; put it back from a copy: the inputs of the run are nowhere else"
    if number != ended.session.counters.inputs:
        return f"the tape holds {number} inputs, the run took {ended.session.counters.inputs}"
    if digest.hexdigest() != ended.tape_sha256:
        return "the tape's SHA-256 is not the one in the journal"
    return ""


def _compare(
    directory: Path, reader: JournalReader, again: Journal, batch: Batch, inputs: int, watch: _Watch
) -> Verdict:
    head = GENESIS
    count = 0
    cut_off = batch.started.kind != "run" and reader.run_ended() is None
    for ours, theirs in zip_longest(reader.rows(), again.reader().rows()):
        if ours is None and cut_off:  # it was killed, or still runs: what it had written is proved
            break
        row = ours or theirs
        count = row[0]
        if count % _BATCH == 0:
            watch("comparing, rows", count)
        if ours is not None and ours[3] == RUN_ENDED:
            head = ours[6]
            difference = _compare_end(reader.decoded(RunEnded, ours[0], ours[5]), batch)
        elif ours is None:
            difference = f"row {count}: missing in the journal; the replay gives {row_text(theirs)}"
        elif theirs is None:
            difference = f"row {count}: the journal has {row_text(ours)}; the replay gives nothing more"
        elif ours[:6] != theirs[:6]:
            difference = (
                f"row {count}: the journal has {row_text(ours, theirs)}; the replay gives {row_text(theirs, ours)}"
            )
        else:
            head = ours[6]
            continue
        if difference:
            return Verdict(directory.name, False, count, inputs, head.hex(), difference, _cause(batch, ours))
    return Verdict(directory.name, True, count, inputs, head.hex(), "", "")


def _compare_end(recorded: RunEnded, batch: Batch) -> str:
    """Compare the results of the run: totals, equity and books. Its duration is not compared."""
    replayed = end_state(batch.engine, recorded.session)
    for name in _REPLAYED:
        was, now = getattr(recorded, name), getattr(replayed, name)
        if was != now:
            return f"run_ended: {name} is {as_data(was)} in the journal; the replay gives {as_data(now)}"
    return ""


def _other_code(batch: Batch) -> Iterator[tuple[ComponentRecord, ComponentRecord]]:
    """Yield the components that come from another distribution, version or file now: as recorded, and as they are."""
    current = batch.assembly.describe(batch.started.kind, {}, {})
    for then, now in zip(components(batch.started), components(current), strict=True):
        if (then.distribution, then.version) != (now.distribution, now.version):
            yield then, now


def _changed_files(batch: Batch) -> str:
    changed = [then.distribution for then, _ in _other_code(batch) if then.version.startswith(FILE_VERSION)]
    return f"{', '.join(changed)} changed since the run, and gives the same rows" if changed else ""


def _cause(batch: Batch, row: Row | None) -> str:
    """Return the most likely cause of a difference: other code before other data."""
    recorded = batch.started
    current = batch.assembly.describe(recorded.kind, {}, {})
    for then, now in _other_code(batch):
        was = f"{then.distribution} {then.version}"
        return f"other code: {then.name} came from {was} then, from {now.distribution} {now.version} now"
    if current.lab != recorded.lab:
        return f"other code: lab {recorded.lab} then, {current.lab} now"
    where = f"input {row[2]}" if row is not None else "the end"
    return f"code was changed without a new version number (put it back), or a component is not deterministic ({where})"
