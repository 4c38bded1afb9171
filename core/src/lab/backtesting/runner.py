"""Backtests: the same engine and journal, fed from a file or a seed without a clock."""

import contextlib
import gc
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Final

import attrs
import msgspec
from msgspec.structs import replace

from lab.backtesting.data import BatchData, ProviderData
from lab.backtesting.source import GuardedSource
from lab.composition.assembly import Assembly, Part
from lab.composition.header import left_open, make_header, status_of
from lab.composition.subscription import run_instrument, settle_interval
from lab.domain.control import Command, CommandAction
from lab.domain.inputs import Input
from lab.domain.ledger import own_context
from lab.domain.market import Candle
from lab.engine.engine import Engine
from lab.errors import (
    EngineError,
    JournalError,
    PluginError,
    ProviderError,
    RunError,
    describe_error,
    message_of,
    text_of,
)
from lab.exit_codes import EndReason
from lab.journal.codec import encode
from lab.journal.reader import rows_after
from lab.journal.report import build_report, starting_equity
from lab.journal.schema import FILE_NAME
from lab.journal.state import end_state, ended
from lab.journal.store import Journal
from lab.ports import FeedState, Reporter, RunInfo
from lab.records.report import Header, Report
from lab.records.run import Counters, ReportersState, RunKind, RunStarted, SessionState
from lab.runs import directory as directories
from lab.runs.failures import FailureLog
from lab.runs.previous import running
from lab.runs.result import Echo, RunResult, labels_of, to_stderr
from lab.statistics.run import RunStatistics

Progress = Callable[[str, int, int | None], None]
"""Takes what is being done, how much of it is done, and how much there is (``None``: unknown)."""

_GARBAGE: Final = 50_000  # inputs hold no cycles: looking for garbage every 700 objects is up to a tenth of a backtest
_COMMIT_ROWS: Final = 128  # more of them leave the processor's cache before they are written: a tenth slower at 4,096


@attrs.define
class Batch:
    """A backtest that is ready: its engine, its data, how it is started, and the venue time of its first input."""

    assembly: Assembly
    engine: Engine
    started: RunStarted
    batches: Iterable[Sequence[Input]]
    """Guarded where they come from a provider: a `GuardedSource`."""
    data: BatchData | None = None
    """Where they come from; ``None`` for the tape of a session."""
    first_ns: int = 0

    def degradations(self) -> list[str]:
        """Return the degradations of the source for the report: the events that it held out."""
        return self.batches.degradations() if isinstance(self.batches, GuardedSource) else []


def prepare(
    assembly: Assembly,
    kind: RunKind = "backtest",
    archive: Callable[[str], str | None] | None = None,
    recorded: RunStarted | None = None,
    failures: FailureLog | None = None,
    data: BatchData | None = None,
) -> Batch:
    """Open the source and build the engine; write nothing. ``data`` is what is fed instead of the provider's own.

    ``recorded`` is how a run was started that is fed again: what it took over from the one it restarted counts again,
    of a gate's memory what is of the same gate with the same settings.

    Raises `RunError` where the provider fails or its file cannot be used. Tracebacks of what it raises go to
    ``failures``.
    """
    name, provider = assembly.provider.name, assembly.provider.component
    failures = failures or FailureLog()
    if data is None:
        settle_interval(assembly)
        data = ProviderData(assembly)
    run = assembly.settings
    call = "batches"
    try:
        wanted, batches = data.wanted(), data.batches()
        call = "batch_instrument"
        found = {symbol: data.instrument(symbol) for symbol in run.symbols}
        if batches is None or None in found.values():
            text = f"provider {name!r} has no recorded data; use replay (a file) or mock (a seed)"
            raise RunError(EndReason.CONFIG, text)
        instruments = {symbol: run_instrument(name, symbol, call, one) for symbol, one in found.items()}
        call = "batches"
        first = next(batches, None)
        if first is None:
            raise RunError(EndReason.CONFIG, f"{provider.origin()}: holds no data for {', '.join(run.symbols)}")
        if not isinstance(first, Sequence):
            raise TypeError(f"it gave {text_of(repr, first, 60)}, expected sequences of inputs")
        call = "source"
        source = msgspec.convert(data.source(), dict[str, str])
        encode(source)  # raises where it can't be recorded
        started = assembly.describe(kind, instruments, source)
        if recorded is not None:
            memory = {
                gate.name: recorded.gate_memory[gate.name]
                for gate in started.gates
                if gate in recorded.gates and gate.name in recorded.gate_memory
            }
            started = replace(started, carried_loss=recorded.carried_loss, gate_memory=memory)
            if recorded.kind == kind:  # the same run once more: code of another version may still decide the same
                started = replace(started, config_hash=recorded.config_hash)
    except ProviderError as error:
        raise RunError(EndReason.CONFIG, message_of(error)) from None
    except (RunError, PluginError):
        raise
    except BaseException as error:
        failures.note("provider", name, call, error)
        raise RunError(EndReason.PLUGIN, f"provider {name} failed in {call}: {describe_error(error)}") from None

    guarded = GuardedSource(name, wanted, chain((first,), batches), failures)
    begun_ns = getattr(first[0], "time_ns", 0) if first else 0
    first_ns = begun_ns if begun_ns.__class__ is int else 0
    engine = assembly.engine(started, archive=archive, on_failure=failures.note)
    return Batch(assembly, engine, started, guarded, data, first_ns)


def run_through(
    batch: Batch, journal: Journal, stopped: Callable[[], object] | None = None, progress: Progress | None = None
) -> tuple[int, EndReason, str]:
    """Step every input, then cancel every working order, so that each order has an end.

    Positions stay open: there is no later price to close them on. Return as `feed` does.
    """
    engine = batch.engine
    state = engine.state

    def over() -> bool:
        """Return whether a signal asks for the end, or nothing further can happen."""
        asked = stopped is not None and bool(stopped())
        return asked or ((state.exhausted or state.failure is not None) and not state.working)

    number, reason, error = feed(batch, journal, over, progress)
    if state.working or state.liquidating or not state.stopping:
        why = "the data ended" if reason is EndReason.COMPLETED else reason.code
        out = engine.step(Command(state.now_ns, CommandAction.STOP, "backtest", why))
        journal.append(out, state.now_ns, number)
    return number, reason, error


def feed(
    batch: Batch, journal: Journal, stopped: Callable[[], object] | None = None, progress: Progress | None = None
) -> tuple[int, EndReason, str]:
    """Step every input and journal the outputs; return the number of inputs, the reason of the end and its error."""
    engine = batch.engine
    asked = EndReason.COMPLETED
    try:
        for events in batch.batches:
            engine.step_all(events, journal.append)
            if journal.waiting >= _COMMIT_ROWS:
                journal.commit()
            if progress is not None:
                progress("inputs", engine.stepped, None)
            if stopped is not None and stopped():
                asked = EndReason.STOPPED
                break
    except ProviderError as error:
        return engine.stepped, EndReason.PLUGIN, message_of(error)
    except EngineError as error:
        journal.append(engine.abandon(str(error)), engine.state.now_ns, engine.stepped)
        return engine.stepped, EndReason.INTERNAL, str(error)
    number = engine.stepped
    if engine.state.failure is not None:
        return number, engine.state.failure.reason, str(engine.state.failure)
    if engine.state.exhausted:
        return number, EndReason.RISK_HALT, "every book was liquidated"
    if all(strategy.failed for strategy in engine.strategies):
        return number, EndReason.PLUGIN, "every strategy has failed"
    return number, asked, ""


def run_batch(
    assembly: Assembly,
    *,
    wall_ns: Callable[[], int],
    seconds: Callable[[], float],
    stopped: Callable[[], object] | None = None,
    progress: Progress | None = None,
    kind: RunKind = "backtest",
    recorded: RunStarted | None = None,
    quiet: bool = False,
    say: Echo = to_stderr,
) -> RunResult:
    """Run a backtest to its end, then its reporters over the journal.

    Raises `RunError` for what stops it before it begins; then nothing was written.
    """
    gc.freeze()  # what the command has imported: there is no garbage among it
    try:
        ended = conduct(
            assembly, wall_ns=wall_ns, seconds=seconds, stopped=stopped, progress=progress, kind=kind,
            recorded=recorded, quiet=quiet, say=say,
        )  # fmt: skip
    finally:
        gc.unfreeze()
    ended.journal.close()
    return RunResult(ended.report, ended.directory, ended.report.exit_code)


@attrs.frozen
class Ended:
    """A backtest that ended: its report, its journal, which is open still, and what its reporters were told."""

    report: Report
    directory: Path | None
    journal: Journal
    batch: Batch
    info: RunInfo

    @property
    def inputs(self) -> "Callable[[], Iterator[Input]]":
        """What reads the inputs that it took once more; it holds on to the data alone, not to the run."""
        return _again(self.batch, self.report.counters.inputs, FailureLog())


@own_context()
def conduct(
    assembly: Assembly,
    *,
    wall_ns: Callable[[], int],
    seconds: Callable[[], float],
    stopped: Callable[[], object] | None = None,
    progress: Progress | None = None,
    kind: RunKind = "backtest",
    recorded: RunStarted | None = None,
    quiet: bool = False,
    say: Echo = to_stderr,
    data: BatchData | None = None,
    failures: FailureLog | None = None,
) -> Ended:
    """Do what `run_batch` does, and leave the journal open; ``data`` is fed instead of the provider's own.

    ``failures`` takes the tracebacks of components, instead of standard error. The garbage collector is as it was
    afterwards.
    """
    run = assembly.settings
    archive: list[Journal] = []

    def outcome(order_id: str) -> str | None:
        return archive[0].outcome(order_id)  # the journal is made after everything that may refuse to run

    failures = failures or FailureLog(say=say)
    batch = prepare(assembly, kind, outcome, recorded, failures, data)
    form = batch.started.source.get("form")  # what was inferred of a file
    if form and data is None:  # of data that was read before it was said then
        say(f"{batch.started.source.get('file', assembly.provider.name)}: {form}")
    started_ns, began = wall_ns(), seconds()
    label = directories.run_label(started_ns, assembly.provider.name, "+".join(p.name for p in assembly.strategies))
    shown = None if run.no_write else directories.create(run.state_dir, label)
    # A component may change the working folder.
    directory = failures.directory = shown.absolute() if shown is not None else None
    run_id = directory.name if directory is not None else label
    held = contextlib.ExitStack()
    thresholds = gc.get_threshold()
    try:
        held.enter_context(running(directory))
        statistics = RunStatistics(batch.started, starting_equity(batch.started))
        labels = labels_of(run_id, started_ns, run.state_dir)
        journal = Journal(directory, durable=False, labels=labels, watch=statistics.take)
        archive.append(journal)
        gc.set_threshold(_GARBAGE)
        journal.append_record(batch.started, 0, 0)
        journal.append(batch.engine.begin(), 0, 0)
        number, reason, error = run_through(batch, journal, stopped, progress)
        header = make_header(assembly, kind, batch.engine, run_id=run_id, directory=directory)
        session = SessionState(
            duration_seconds=round(seconds() - began, 3),
            first_ns=batch.first_ns,
            limits=header.limits,
            fees=header.fees,
            counters=Counters(inputs=number),
            degradations=(*batch.degradations(), *left_open(batch.engine)),
        )
        end = ended(end_state(batch.engine, session), reason, error)
        journal.append_record(end, batch.engine.state.now_ns, number)
        journal.commit()
        journal.index()
        report = build_report(journal.reader(), statistics)
        if directory is not None:
            _sync(directory / FILE_NAME)
            directories.write_report(directory, report)
        if progress is not None and assembly.reporters:
            progress(f"writing {', '.join(part.name for part in assembly.reporters)}", 0, None)
        info = _info(batch, header, report, run_id, directory, quiet, failures)
        if show(assembly.reporters, journal, info, failures):
            report = build_report(journal.reader())
            if directory is not None:
                directories.write_report(directory, report)
    except (JournalError, OSError) as failure:
        raise RunError(EndReason.STORAGE, str(failure)) from None
    finally:
        held.close()
        gc.set_threshold(*thresholds)
        archive.clear()  # an engine is full of cycles, and would keep the journal until they are collected
    return Ended(report, shown, journal, batch, info)


def show(reporters: Sequence[Part[Reporter]], journal: Journal, info: RunInfo, failures: FailureLog) -> bool:
    """Run reporters over a finished journal, and journal those that failed; return whether one failed."""
    if not reporters:
        return False
    from lab.reporting.host import ReporterHost  # these import asyncio, which costs a backtest a twentieth of a second
    from lab.reporting.rows import RowFeed

    path = journal.path
    feed = RowFeed(journal.since if path is None else partial(rows_after, path.resolve()))
    host = ReporterHost([(part.name, part.component) for part in reporters], feed, info, failures)
    feed.end()
    host.start()
    host.finish(while_taking=True)
    if host.degradations:
        journal.commit(reporters=ReportersState(degradations=tuple(host.degradations)))
    return bool(host.degradations)


def _info(
    batch: Batch,
    header: Header,
    report: Report,
    run_id: str,
    directory: Path | None,
    quiet: bool,
    failures: FailureLog,
) -> RunInfo:
    """Return the run's facts for reporters after a backtest. Its candles are read from the source again."""
    inputs = _again(batch, report.counters.inputs, failures)
    one_at_a_time = threading.Lock()  # reporters ask from several threads, and a provider knows of one

    def candles() -> list[Candle]:
        with one_at_a_time:
            return [event for event in inputs() if isinstance(event, Candle)]

    status = status_of(batch.engine, seconds_left=0.0, feed=FeedState.DOWN, why_not_trading=("the run is over",))
    return RunInfo(
        run_id=run_id,
        header=header,
        directory=directory,
        quiet=quiet,
        status=lambda: status,
        report=lambda: report,
        candles=candles,
    )


def _again(batch: Batch, count: int, failures: FailureLog) -> "Callable[[], Iterator[Input]]":
    """Return what reads the first ``count`` inputs of a batch once more. It raises `lab.errors.ProviderError`."""
    name, data = batch.assembly.provider.name, batch.data
    assert data is not None, "a backtest is fed by its data"

    def inputs() -> Iterator[Input]:
        source = GuardedSource(name, data.wanted(), data.batches() or iter(()), failures)
        return islice(chain.from_iterable(source), count)

    return inputs


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
