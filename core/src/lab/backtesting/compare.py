"""`lab compare`: the first decision, fill or end in which two runs differ, and whether their inputs did before."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from lab.backtesting.recorded_source import moved
from lab.backtesting.runner import Progress
from lab.backtesting.verify import recorded_batch
from lab.composition.assembly import reassemble
from lab.domain.control import Command, CommandAction, TradingState
from lab.domain.events import OrderEnded
from lab.domain.inputs import Input
from lab.domain.ledger import own_context
from lab.domain.market import MARKET_DATA, Backfill
from lab.domain.time import format_time
from lab.errors import ConfigError, JournalError, PluginError, RunError
from lab.exit_codes import EndReason
from lab.journal.chain import Row
from lab.journal.codec import INPUT_KINDS, KINDS, RUN_ENDED, RUN_STARTED, encode
from lab.journal.reader import JournalReader
from lab.journal.store import Journal
from lab.plugins.discovery import Registry
from lab.records.base import as_data
from lab.records.run import RunStarted
from lab.runs.previous import check_begun

_NOT_COMPARED: Final = frozenset({RUN_STARTED, RUN_ENDED, *INPUT_KINDS.values()})
_DECIDING: Final = (
    "strategies", "gates", "broker", "symbol", "interval", "equity", "leverage", "margin", "seed", "no_orders",
    "instruments", "carried_loss", "lab",
)  # fmt: skip
_ENDED: Final = KINDS[OrderEnded]
_BY_THE_END: Final = f'"reason":"{CommandAction.STOP} by '.encode()
_EVERY: Final = 4096
_CAUSES_MOST: Final = 10


@frozen
class Comparison:
    """What `compare` found. ``rows`` outputs are the same; ``difference`` is empty where all are."""

    runs: tuple[str, str]
    same: bool
    rows: int
    difference: str
    causes: Sequence[str]


@own_context()
def compare(one: Path, other: Path, registry: Registry, *, progress: Progress | None = None) -> Comparison:
    """Compare what two runs came to: every output row, in order, by its kind and its content.

    Where they part, the market data up to there is compared, then what the sessions said, then the settings. Inputs
    are read from the tape, or from the source again. Raises `RunError` where a run can't be read.
    """
    directories = (one, other)
    readers: list[JournalReader] = []
    try:
        for directory in directories:
            readers.append(JournalReader.open(directory))
            check_begun(directory, readers[-1])
        rows, parted = _outputs(readers[0], readers[1])
        causes: list[str] = []
        if parted is not None:
            started = tuple(reader.run_started() for reader in readers)
            until = tuple(row[2] if row is not None else None for row in parted)
            streams = [
                _inputs(directory, registry, reader, end)
                for directory, reader, end in zip(directories, readers, until, strict=True)
            ]
            causes = _causes(streams, started, progress)
    except JournalError as error:
        raise RunError(EndReason.STORAGE, str(error)) from None
    except (ConfigError, PluginError) as error:
        raise RunError(EndReason.PLUGIN, f"{one.name}, {other.name}: cannot be assembled again: {error}") from None
    finally:
        for reader in readers:
            reader.close()
    difference = "" if parted is None else f"{_text(one, parted[0])}; {_text(other, parted[1])}"
    return Comparison((one.name, other.name), parted is None, rows, difference, causes)


def _outputs(one: JournalReader, other: JournalReader) -> tuple[int, tuple[Row | None, Row | None] | None]:
    """Return how many output rows are the same, and the first two that are not."""
    same = 0
    # Ids of orders begin with the hash of the settings: where those differ, the ids alone are no difference.
    begin, other_begin = (f"{reader.run_started().config_hash}-".encode() for reader in (one, other))
    for first, second in zip_longest(_compared(one), _compared(other)):
        if first is None or second is None or first[3] != second[3]:
            return same, (first, second)
        if first[5] != second[5] and first[5].replace(begin, b"") != second[5].replace(other_begin, b""):
            return same, (first, second)
        same += 1
    return same, None


def _compared(reader: JournalReader) -> Iterator[Row]:
    """Return the output rows that are compared: not what a run's own end took back, which says how it was ended."""
    return (
        row for row in reader.rows() if row[3] not in _NOT_COMPARED and not (row[3] == _ENDED and _BY_THE_END in row[5])
    )


def _text(run: Path, row: Row | None) -> str:
    if row is None:
        return f"{run.name} has nothing more"
    return f"{run.name} has at {format_time(row[1])} row {row[0]}, {row[3]} {row[5].decode()[:300]}"


def _inputs(
    directory: Path, registry: Registry, reader: JournalReader, until: int | None
) -> Iterator[tuple[int, Input]]:
    """Yield the inputs up to the one that led to a row, each with its number; all of them without one."""
    recorded = reader.run_started()
    if not recorded.instruments:
        return
    assembly = reassemble(registry, moved(recorded, reader.labels().get("state_dir"), directory))
    journal = Journal(None, durable=False, labels={})
    number = 0
    for batch in recorded_batch(directory, assembly, recorded, journal).batches:
        for event in batch:
            number += 1
            if until is not None and number > until:
                return
            yield number, event


def _causes(
    streams: Sequence[Iterator[tuple[int, Input]]], started: Sequence[RunStarted], progress: Progress | None
) -> list[str]:
    market: list[list[tuple[int, Any]]] = [[], []]
    said: list[list[tuple[int, Any]]] = [[], []]
    causes: list[str] = []
    for step, both in enumerate(zip_longest(*streams), 1):
        if progress is not None and step % _EVERY == 0:
            progress("comparing inputs", step, None)
        for side, numbered in enumerate(both):
            if numbered is not None:
                number, event = numbered
                kinds = said if isinstance(event, Command | TradingState) else market
                kinds[side] += [(number, part) for part in _parts(event)]
        if _parted("inputs", market, causes) or len(causes) > _CAUSES_MOST:
            break
    if not causes:
        _parted("inputs", market, causes, at_end=True)
    if not causes:
        _parted("what the sessions said", said, causes, at_end=True)
    causes += _settings(*started)
    alike = "equal inputs and settings: the code was changed without a new version number, or is not deterministic"
    return causes[:_CAUSES_MOST] or [alike]


def _parts(event: Input) -> Sequence[Any]:
    """Return the market data of an input, back-filled candles one by one; nothing for a timer or a notice."""
    if isinstance(event, Backfill):
        return event.candles
    return (event,) if isinstance(event, (*MARKET_DATA, Command, TradingState)) else ()


def _parted(what: str, sides: list[list[tuple[int, Any]]], causes: list[str], *, at_end: bool = False) -> bool:
    """Compare what both sides have, and forget it; note the first difference. At the end one may have more."""
    one, other = sides
    count = min(len(one), len(other))
    for (first, was), (second, now) in zip(one[:count], other[:count], strict=True):
        if type(was) is not type(now) or encode(was) != encode(now):
            causes.append(f"{what} differ: {_shown(first, was)}; {_shown(second, now)}")
            return True
    del one[:count], other[:count]
    if at_end and (one or other):
        side, (number, event) = (0, one[0]) if one else (1, other[0])
        causes.append(f"{what} differ: only the {('first', 'second')[side]} run has {_shown(number, event)}")
        return True
    return False


def _shown(number: int, event: Any) -> str:
    return f"input {number}, {INPUT_KINDS[type(event)]} {encode(event).decode()[:200]}"


def _settings(one: RunStarted, other: RunStarted) -> list[str]:
    """Return a line for each thing that decides and differs."""
    found = []
    for name in _DECIDING:
        was, now = as_data(getattr(one, name)), as_data(getattr(other, name))
        for key, then, after in _differences(name, was, now):
            found.append(f"settings differ: {key} is {then} in the first run, {after} in the second")
    return found


def _differences(key: str, was: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(was, dict) and isinstance(now, dict):
        for name in sorted({*was, *now}):
            yield from _differences(f"{key}.{name}", was.get(name), now.get(name))
    elif isinstance(was, list | tuple) and isinstance(now, list | tuple) and len(was) == len(now):
        for place, (then, after) in enumerate(zip(was, now, strict=True), 1):
            yield from _differences(f"{key} {place}", then, after)
    elif was != now:
        yield key, was, now
