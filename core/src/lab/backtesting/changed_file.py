"""Copies of what a run's provider reads, with another future: CSV files of prices, and folders of recorded runs."""

import csv
import gzip
import io
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Final, cast

from lab.backtesting.changed_future import STRETCH, Draw, Future, changed_inputs, factor, order_of
from lab.domain.time import DAY_NS, parse_time
from lab.journal.schema import FILE_NAME
from lab.journal.tape import TapeWriter, read_tape
from lab.lines import bounded_lines

_TIMES: Final = ("venue_ms", "time", "timestamp", "datetime", "date", "open_time", "received_ns")
_PRICES: Final = frozenset({"open", "high", "low", "close", "bid", "ask", "price"})
_GZIP: Final = b"\x1f\x8b"
_LONGEST: Final = 1 << 20
_WEEK_NS: Final = 7 * DAY_NS
_MONDAY_NS: Final = 4 * DAY_NS  # 1970-01-05


class NotChangeableError(Exception):
    """A file that is no table of prices by time: no other future can be written for it. The message says why."""


def rows_known(path: Path, cuts_ns: Sequence[int], interval_ns: int) -> list[int]:
    """Return, for each of the ascending times, how many rows of a CSV file of prices were known then.

    A candle is known when its bucket has ended, a tick at its own time. Raises `NotChangeableError`.
    """
    with _opened(path) as file:
        try:
            header = _header(file)
            place = _time_place(header)
            rows_read = csv.reader(_lines(file))
            times_ns: Iterator[int | None] = (parse_time(row[place]) if row else None for row in rows_read)
            if "close" in header and "bid" not in header:
                times_ns = _ends(times_ns, interval_ns)
            counts: list[int] = []
            rows = 0
            for known_ns in times_ns:
                if known_ns is not None:
                    while len(counts) < len(cuts_ns) and known_ns > cuts_ns[len(counts)]:
                        counts.append(rows)
                    if len(counts) == len(cuts_ns):
                        break
                rows += 1
        except (ValueError, IndexError, csv.Error, EOFError, OSError) as error:
            raise NotChangeableError(f"{path.name}: {error}") from None
    return counts + [rows] * (len(cuts_ns) - len(counts))


def _ends(opens_ns: Iterator[int | None], interval_ns: int) -> Iterator[int | None]:
    """Yield the ends of the candles that a run makes of a file's, which may be shorter than those of the run.

    Raises ``ValueError`` where times do not ascend: what is before a row is then not its past.
    """
    begin = list(islice(opens_ns, 2))
    first, second = (*(time_ns for time_ns in begin if time_ns is not None), 0, 0)[:2]
    if 0 < second <= first:
        raise ValueError("its times do not ascend")
    own = not second or second - first >= interval_ns
    phase_ns = _MONDAY_NS if interval_ns % _WEEK_NS == 0 else 0
    before_ns = -1
    for time_ns in chain(begin, opens_ns):
        if time_ns is None:
            yield None
            continue
        if time_ns <= before_ns:
            raise ValueError("its times do not ascend")
        before_ns = time_ns
        yield time_ns + interval_ns - ((time_ns - phase_ns) % interval_ns if not own else 0)


def inputs_known(directory: Path, cuts_ns: Sequence[int]) -> list[int]:
    """Return, for each of the ascending times, how many inputs of a recorded run had come. Raises `JournalError`."""
    counts: list[int] = []
    inputs = 0
    for event in read_tape(directory, torn_ok=True):
        while len(counts) < len(cuts_ns) and event.time_ns > cuts_ns[len(counts)]:
            counts.append(inputs)
        if len(counts) == len(cuts_ns):
            break
        inputs += 1
    return counts + [inputs] * (len(cuts_ns) - len(counts))


def change_csv(path: Path, target: Path, rows: int, how: Future, draw: Draw) -> None:
    """Copy a CSV file of prices: its first ``rows`` rows byte by byte, the others with another future.

    Times stay in their rows. A price keeps as many decimals as the row's finest has.
    """
    with _opened(path) as file, _created(target, packed=_is_packed(path)) as copy:
        first = file.readline(_LONGEST)
        copy.write(first)
        header = _names(first)
        copy.writelines(islice(bounded_lines(file.readline, _LONGEST), rows))
        if how == "ended":
            return
        text = io.TextIOWrapper(copy, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        reader = csv.reader(_lines(file))
        if how == "shuffled":
            writer.writerows(_shuffled(reader, header, draw))
        else:
            writer.writerows(_scaled(reader, header, how, draw))
        text.flush()
        text.detach()


def change_run(directory: Path, target: Path, known: int, how: Future, draw: Draw) -> None:
    """Copy a recorded run's journal and tape: the first ``known`` inputs as they are, then another future.

    Raises `lab.errors.JournalError` for a run without a tape.
    """
    target.mkdir(parents=True)
    shutil.copyfile(directory / FILE_NAME, target / FILE_NAME)
    tape = read_tape(directory, torn_ok=True)
    writer = TapeWriter(target)
    for event in islice(tape, known):
        writer.add(event)
    while how != "ended" and (stretch := list(islice(tape, STRETCH))):
        for event in changed_inputs(stretch, how, lambda place, at=writer.inputs: draw(at + place)):  # type: ignore[misc]
            writer.add(event)
    writer.close()


def _scaled(rows: Iterable[list[str]], header: list[str], how: Future, draw: Draw) -> Iterator[list[str]]:
    places = [place for place, name in enumerate(header) if name in _PRICES]
    for number, row in enumerate(rows):
        given = [place for place in places if place < len(row) and row[place].strip()]
        digits = max((len(row[place].strip().partition(".")[2]) for place in given), default=0)
        least = 10.0**-digits
        by = factor(draw, how, number)
        for place in given:
            row[place] = f"{max(least, float(row[place]) * by):.{digits}f}"
        yield row


def _shuffled(rows: Iterator[list[str]], header: list[str], draw: Draw) -> Iterator[list[str]]:
    stay = [place for place, name in enumerate(header) if name in _TIMES or "time" in name]
    first = 0
    while stretch := list(islice(rows, STRETCH)):
        for row, other in zip(stretch, order_of(draw, first, len(stretch)), strict=True):
            made = list(stretch[other])
            for place in stay:
                made[place] = row[place]
            yield made
        first += len(stretch)


def _time_place(header: list[str]) -> int:
    for name in _TIMES:
        if name in header:
            return header.index(name)
    raise ValueError(f"no column of times; expected one of {', '.join(_TIMES)}")


def _header(file: Iterable[bytes]) -> list[str]:
    return _names(cast("IO[bytes]", file).readline(_LONGEST))


def _names(line: bytes) -> list[str]:
    return [name.strip().lower() for row in csv.reader([line.decode("utf-8-sig")]) for name in row]


def _lines(file: Iterable[bytes]) -> Iterator[str]:
    return map(bytes.decode, bounded_lines(cast("IO[bytes]", file).readline, _LONGEST))


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _opened(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb") if _is_packed(path) else path.open("rb"))


def _created(path: Path, *, packed: bool) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return cast("IO[bytes]", gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb"))
