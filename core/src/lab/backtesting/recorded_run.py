"""A recorded run put together again: its journal whole, its components, and the inputs it took."""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final

from lab.backtesting.recorded_source import changed, moved
from lab.backtesting.runner import Batch, prepare
from lab.composition.assembly import Assembly, reassemble
from lab.domain.inputs import Input
from lab.errors import ConfigError, JournalError, PluginError, RunError, describe_error
from lab.exit_codes import EndReason
from lab.journal.reader import JournalReader
from lab.journal.store import Journal
from lab.journal.tape import read_tape
from lab.plugins.discovery import Registry
from lab.plugins.references import is_reference
from lab.records.run import ComponentRecord, RunStarted

_BATCH: Final = 4096


def assembled_again(directory: Path, registry: Registry, reader: JournalReader) -> Assembly:
    """Return the components of a recorded run, put together again.

    Raises `RunError` where they can't be, naming the run and the distributions that are not installed any more;
    `JournalError` where the row of its start is damaged.
    """
    started = reader.run_started()
    try:
        return reassemble(registry, moved(started, reader.labels().get("state_dir"), directory))
    except (ConfigError, PluginError) as error:
        installed = {plugin.distribution for plugin in registry.plugins}
        missing = {
            f"{one.distribution} {one.version}"
            for one in components(started)
            if one.distribution not in installed and not is_reference(one.type)
        }
        cure = f"; install {', '.join(sorted(missing))}, which it ran with" if missing else ""
        raise RunError(EndReason.PLUGIN, f"{directory.name} cannot be assembled again: {error}{cure}") from None
    except (LookupError, TypeError, AttributeError) as error:
        raise JournalError(f"{reader.name}: run_started can't be read: {describe_error(error)}") from None


def components(started: RunStarted) -> list[ComponentRecord]:
    """Return all components of a run."""
    return [started.provider, started.broker, *started.strategies, *started.gates]


def recorded_batch(
    directory: Path, assembly: Assembly, started: RunStarted, journal: Journal, most: int | None = None
) -> Batch:
    """Return a new engine for a recorded run, and its inputs: those of its tape, ``most`` of them, or of its source.

    Raises `RunError` where the source can't be read again, or is another one by now.
    """
    if started.kind == "run":
        tape = islice(read_tape(directory, torn_ok=True), most)
        return Batch(assembly, assembly.engine(started, archive=journal.outcome), started, _tape_batches(tape))
    try:
        batch = prepare(assembly, started.kind, journal.outcome, started)
    except RunError as error:
        raise RunError(error.reason, f"{directory.name} cannot read again what it read: {error}; put it back") from None
    difference = changed(started.source, batch.started.source)
    if difference:
        raise RunError(EndReason.CONFIG, f"{directory.name}: {difference}; put back what the run read")
    batch.started = started
    return batch


def recorded_inputs(directory: Path, registry: Registry) -> Iterator[Input]:
    """Yield the inputs of a run in order: of its tape, or of its source, which is read again.

    Raises `RunError` where they can't be read, or the source is another one by now.
    """
    with contextlib.closing(JournalReader.open(directory)) as reader:
        started, ended = reader.run_started(), reader.run_ended()
        if started.kind == "run":
            yield from read_tape(directory, torn_ok=True)
            return
        if not started.instruments:
            return
        assembly = assembled_again(directory, registry, reader)
        batch = recorded_batch(directory, assembly, started, Journal(None, durable=False, labels={}))
        yield from islice(chain.from_iterable(batch.batches), ended.session.counters.inputs if ended else None)


def _tape_batches(tape: Iterator[Input]) -> Iterator[Sequence[Input]]:
    while events := list(islice(tape, _BATCH)):
        yield events
