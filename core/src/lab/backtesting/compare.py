"""`lab compare`: the first decision, fill or end in which two runs differ, and whether their inputs did before."""

from collections.abc import Iterator, Sequence
from itertools import count, zip_longest
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from lab.backtesting.recorded_run import recorded_inputs
from lab.backtesting.row_text import row_text, short
from lab.backtesting.runner import Progress
from lab.backtesting.setting_differences import setting_differences
from lab.domain.control import ClockStepped, Command, CommandAction, SymbolState, TradingState
from lab.domain.events import DayEnded, OrderEnded
from lab.domain.inputs import Input
from lab.domain.ledger import own_context
from lab.domain.market import MARKET_DATA, Backfill
from lab.errors import JournalError, RunError
from lab.exit_codes import EndReason
from lab.journal.chain import Row
from lab.journal.codec import INPUT_KINDS, KINDS, RUN_ENDED, RUN_STARTED, encode
from lab.journal.reader import JournalReader, check_chain
from lab.plugins.discovery import Registry
from lab.runs.previous import check_begun

_NOT_COMPARED: Final = frozenset({RUN_STARTED, RUN_ENDED, KINDS[DayEnded], *INPUT_KINDS.values()})
_ENDED: Final = KINDS[OrderEnded]
_BY_THE_END: Final = f'"reason":"{CommandAction.STOP} by '.encode()
_EVERY: Final = 4096
_CAUSES_MOST: Final = 10
_INPUT_MOST: Final = 200
_SAID: Final = (Command, TradingState, SymbolState, ClockStepped)


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
    are read from the tape, or from the source again. Raises `RunError` where a run can't be read, or was changed.
    """
    directories = (one, other)
    readers: list[JournalReader] = []
    try:
        for directory in directories:
            readers.append(JournalReader.open(directory))
            check_begun(directory, readers[-1])
            _check_unchanged(directory, readers[-1])
        rows, parted = _outputs(readers[0], readers[1])
        if parted is None:
            return Comparison((one.name, other.name), True, rows, "", ())
        started = [reader.run_started() for reader in readers]
        sides = [
            _Side(_inputs(directory, registry, reader), None if row is None else row[2])
            for directory, reader, row in zip(directories, readers, parted, strict=True)
        ]
        causes = _input_causes(sides[0], sides[1], progress) + setting_differences(*started)
    except JournalError as error:
        raise RunError(EndReason.STORAGE, str(error)) from None
    finally:
        for reader in readers:
            reader.close()
    alike = (
        "equal inputs and settings: the code was changed without a new version number, or is not deterministic; "
        "`lab verify` of each run tells which one still repeats"
    )
    difference = _difference(directories, parted, [each.config_hash for each in started])
    return Comparison((one.name, other.name), False, rows, difference, causes[:_CAUSES_MOST] or [alike])


def _check_unchanged(directory: Path, reader: JournalReader) -> None:
    broken = check_chain(reader)
    if broken is not None:
        text = f"row {broken} was changed after it was written; nothing is compared"
        raise RunError(EndReason.STORAGE, f"{directory.name}: {text}")


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


def _difference(runs: Sequence[Path], parted: Sequence[Row | None], hashes: Sequence[str]) -> str:
    """Return what each run has where they part; of two rows of one kind what differs, beside the hash in the ids."""
    one, other = (
        None if row is None else (*row[:5], row[5].replace(f"{begin}-".encode(), b""), row[6])
        for row, begin in zip(parted, hashes, strict=True)
    )
    texts = [
        f"{run.name} has {'nothing more' if row is None else f'row {row[0]}, {row_text(row, against)}'}"
        for run, row, against in zip(runs, (one, other), (other, one), strict=True)
    ]
    return "; ".join(texts)


# -- inputs ----------------------------------------------------------------------------------------------------------


def _inputs(directory: Path, registry: Registry, reader: JournalReader) -> Iterator[tuple[int, Input]]:
    """Yield the inputs of a run, each with its number."""
    if reader.run_started().instruments:
        yield from enumerate(recorded_inputs(directory, registry), 1)


class _Side:
    """The inputs of one of two runs: those that are read, and not compared yet.

    ``until`` is the input that led to the row in which the runs part; without one all of them count.
    """

    def __init__(self, inputs: Iterator[tuple[int, Input]], until: int | None) -> None:
        self._inputs = inputs
        self._until = until
        self._over = self._reached = False
        self.market: list[tuple[int, Any]] = []
        self.said: list[tuple[int, Any]] = []

    def read(self, *, more: bool) -> bool:
        """Read an input up to the one that counts last, or beyond it where the other run needs ``more`` to compare."""
        if self._over or (self._reached and not more):
            return False
        numbered = next(self._inputs, None)
        if numbered is None:
            self._over = True
            return False
        number, event = numbered
        kinds = self.said if isinstance(event, _SAID) else self.market
        kinds += [(number, part) for part in _parts(event)]
        self._reached = self._until is not None and number >= self._until
        return True

    def counting(self, parts: Sequence[tuple[int, Any]]) -> Sequence[tuple[int, Any]]:
        """Return those that came no later than the row in which the runs part."""
        return [part for part in parts if self._until is None or part[0] <= self._until]


def _input_causes(one: _Side, other: _Side, progress: Progress | None) -> list[str]:
    """Return the first difference of the inputs, of the market before that of what the sessions said."""
    for step in count(1):
        if progress is not None and step % _EVERY == 0:
            progress("comparing inputs", step, None)
        # One run parted on an earlier input than the other: it goes on, because it was fed those that follow, too.
        wanted, other_wanted = bool(one.counting(one.market)), bool(other.counting(other.market))
        read = one.read(more=other_wanted)
        if not other.read(more=wanted) and not read:
            break
        causes = _parted("inputs", one.market, other.market)
        if causes:
            return causes
    return _more("inputs", one, one.market, other, other.market) or (
        _parted("what the sessions said", one.said, other.said)
        or _more("what the sessions said", one, one.said, other, other.said)
    )


def _parts(event: Input) -> Sequence[Any]:
    """Return the market data of an input, back-filled candles one by one; nothing for a timer or a notice."""
    if isinstance(event, Backfill):
        return event.candles
    return (event,) if isinstance(event, (*MARKET_DATA, *_SAID)) else ()


def _parted(what: str, one: list[tuple[int, Any]], other: list[tuple[int, Any]]) -> list[str]:
    """Compare what both sides have, and forget it; return the first difference in words."""
    known = min(len(one), len(other))
    for (first, was), (second, now) in zip(one[:known], other[:known], strict=True):
        if type(was) is not type(now) or encode(was) != encode(now):
            return [f"{what} differ: the first run has {_shown(first, was)}, the second {_shown(second, now)}"]
    del one[:known], other[:known]
    return []


def _more(
    what: str, one: _Side, mine: Sequence[tuple[int, Any]], other: _Side, theirs: Sequence[tuple[int, Any]]
) -> list[str]:
    """Return in words what only one side has of what counts."""
    for which, left in (("first", one.counting(mine)), ("second", other.counting(theirs))):
        if left:
            return [f"{what} differ: only the {which} run has {_shown(*left[0])}"]
    return []


def _shown(number: int, event: Any) -> str:
    return f"input {number}, {INPUT_KINDS[type(event)]} {short(encode(event).decode(), _INPUT_MOST)}"
