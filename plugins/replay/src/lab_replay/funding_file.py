"""Funding rates in CSV, put between the events of a file of prices."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from lab.domain.guard import check_funding
from lab.domain.inputs import Input
from lab.domain.market import BACKFILLED, Candle, Funding
from lab.domain.time import parse_time
from lab_recordings import RecordingError

_BYTES_MOST: Final = 64 * 1024 * 1024


class FundingFile:
    """The rates of one symbol: columns ``time`` (when it was settled), ``rate`` (a fraction) and, if given, ``mark``.

    Read whole when it is made. Raises `RecordingError` with file and line.
    """

    def __init__(self, path: Path) -> None:
        if path.stat().st_size > _BYTES_MOST:
            raise RecordingError(path, None, f"more than {_BYTES_MOST} bytes are no file of funding rates")
        data = path.read_bytes()
        self.sha256 = sha256(data).hexdigest()
        try:
            lines = data.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise RecordingError(path, None, "is no text in UTF-8") from None
        rows = csv.reader(lines)
        header = [name.strip().lower() for name in next(rows, [])]
        if "time" not in header or "rate" not in header:
            raise RecordingError(path, 1, f"expected the columns time, rate and, if known, mark; it has {header}")
        self.rates: list[tuple[int, float, float]] = []
        for row in rows:
            if row:
                self.rates.append(self._rate(path, rows.line_num, dict(zip(header, row, strict=False))))
        if not self.rates:
            raise RecordingError(path, 1, "it holds no rate")

    def _rate(self, path: Path, line: int, row: dict[str, str]) -> tuple[int, float, float]:
        try:
            time_ns = parse_time(row["time"].strip())
            rate, mark = float(row["rate"]), float(row.get("mark", "").strip() or 0.0)
        except (KeyError, ValueError) as error:
            raise RecordingError(path, line, f"time, rate and mark are not all there: {error}") from None
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


def _time(event: Input) -> int:
    return event.time_ns
