"""Funding rates in CSV, put between the events of a file of prices."""

import csv
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

from lab.domain.guard import check_funding
from lab.domain.inputs import Input
from lab.domain.market import BACKFILLED, Candle, Funding
from lab.domain.time import parse_time
from lab.lines import LineTooLong, bounded_lines
from lab_recordings import RecordingError
from lab_recordings.errors import listed
from lab_recordings.opening import Digest

_LINE_MOST: Final = 4096  # bytes
_RATES_MOST: Final = 200_000  # one an hour for more than twenty years


class FundingFile:
    """The rates of one symbol: columns ``time`` (when it was settled), ``rate`` (a fraction) and, if given, ``mark``.

    Read whole when it is made. Raises `RecordingError` with file and line.
    """

    def __init__(self, path: Path) -> None:
        self.rates: list[tuple[int, float, float]] = []
        digest = sha256()
        with path.open("rb") as file:
            rows = csv.reader(_texts(file, digest))
            try:
                self._read(path, rows)
            except UnicodeDecodeError:
                raise RecordingError(path, None, "is no text in UTF-8") from None
            except LineTooLong as error:
                raise RecordingError(path, rows.line_num + 1, f"{error}; expected a rate a line") from None
            except csv.Error as error:
                raise RecordingError(path, rows.line_num, f"not CSV ({error})") from None
        self.sha256 = digest.hexdigest()
        if not self.rates:
            raise RecordingError(path, 1, "it holds no rate")

    def _read(self, path: Path, rows: Any) -> None:
        header = [name.strip().lower() for name in next(rows, [])]
        if "time" not in header or "rate" not in header:
            has = listed(header) or "none"
            raise RecordingError(path, 1, f"expected the columns time, rate and, if known, mark; it has {has}")
        for row in rows:
            if row:
                if len(self.rates) == _RATES_MOST:
                    reason = f"more than {_RATES_MOST:,} rates; cut the file to the time that is replayed"
                    raise RecordingError(path, rows.line_num, reason)
                self.rates.append(self._rate(path, rows.line_num, dict(zip(header, row, strict=False))))

    def _rate(self, path: Path, line: int, row: dict[str, str]) -> tuple[int, float, float]:
        try:
            time_ns = parse_time(row["time"].strip())
            rate, mark = float(row["rate"]), float(row.get("mark", "").strip() or 0.0)
        except (KeyError, ValueError) as error:
            raise RecordingError(path, line, f"time, rate and mark are not all there: {str(error)[:200]}") from None
        problem = check_funding(Funding("", time_ns, rate, time_ns, mark))
        if problem is not None:
            raise RecordingError(path, line, problem)
        if self.rates and time_ns <= self.rates[-1][0]:
            raise RecordingError(path, line, "its time is not after that of the line above")
        return time_ns, rate, mark

    def between(self, batches: Iterable[Sequence[Input]], symbol: str) -> Iterator[Sequence[Input]]:
        """Yield the batches with each rate before the first live event of its time or later: nobody knows it sooner.

        Rates from before the first live event are left out.
        """
        place, begun = 0, False
        times = [time_ns for time_ns, _, _ in self.rates]
        for batch in batches:
            if begun and (place == len(times) or not batch or _time(batch[-1]) < times[place]):
                yield batch
                continue
            mixed: list[Input] = []
            for event in batch:
                if not (isinstance(event, Candle) and event.status == BACKFILLED):
                    now_ns = _time(event)
                    while place < len(times) and times[place] <= now_ns:
                        if begun:
                            time_ns, rate, mark = self.rates[place]
                            mixed.append(Funding(symbol, time_ns, rate, time_ns, mark))
                        place += 1
                    begun = True
                mixed.append(event)
            yield mixed


def _texts(file: BinaryIO, digest: Digest) -> Iterator[str]:
    """Yield the lines of a file, which the digest takes in."""
    for line in bounded_lines(file.readline, _LINE_MOST):
        digest.update(line)
        yield line.removeprefix(BOM_UTF8).decode()


def _time(event: Input) -> int:
    return event.time_ns
