"""The file of a download: rows are added to a part file, which becomes the file in one step when all are there."""

import contextlib
import gzip
import json
import os
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from attrs import define, field

from lab.domain.market import Candle
from lab.domain.time import format_time, parse_time
from lab.errors import RunError
from lab.exit_codes import EndReason
from lab.journal.files import sync_folder
from lab.lines import LineTooLong, bounded_lines

_HEADER: Final = b"time,open,high,low,close,volume\n"
_LINE_MOST: Final = 4096
_MARK: Final = b"# "


@define
class PartFile:
    """Rows on their way into ``path``. They lie beside it, under a line that says what they are of."""

    path: Path
    of: Mapping[str, str]
    """What is downloaded; a part file of anything else is not gone on with."""
    newest_ns: int = field(init=False, default=-1)
    """When the newest row opens; -1 where there is none."""
    rows: int = field(init=False, default=0)

    @property
    def part(self) -> Path:
        """The part file."""
        return self.path.with_name(f"{self.path.name}.part")

    def begin(self) -> None:
        """Go on with the part file that is there, or begin one. Raises `RunError`, ``OSError``."""
        if self.path.exists():
            raise RunError(EndReason.CONFIG, f"{self.path} is there already; move it away, or give --out another name")
        if self.part.exists():
            self._go_on()
        else:
            self.part.write_bytes(self._mark())

    def add(self, candles: Iterable[Candle]) -> None:
        """Add rows, ascending."""
        with self.part.open("ab") as file:
            for one in candles:
                file.write(_row(one))
                self.newest_ns = one.open_ns
                self.rows += 1

    def finish(self) -> None:
        """Make the file of its rows, in one step; gzip where it is named so. Synced."""
        made = self.path.with_name(f"{self.path.name}.tmp")
        try:
            with self.part.open("rb") as part, made.open("wb") as raw:
                part.readline()
                # Without a name and a time in it the same rows give the same bytes.
                packed = gzip.GzipFile("", "wb", 6, raw, 0) if self.path.suffix == ".gz" else None
                target = packed or raw
                target.write(_HEADER)
                while data := part.read(1 << 20):
                    target.write(data)
                if packed is not None:
                    packed.close()
                raw.flush()
                os.fsync(raw.fileno())
            made.replace(self.path)
            sync_folder(self.path.parent)
            self.part.unlink()
        except BaseException:
            with contextlib.suppress(OSError):
                made.unlink(missing_ok=True)
            raise

    def _mark(self) -> bytes:
        return _MARK + json.dumps(dict(self.of), sort_keys=True).encode() + b"\n"

    def _go_on(self) -> None:
        """Find the newest whole row, and cut off what was being written when the process ended."""
        whole, newest = 0, b""
        with self.part.open("r+b") as file:
            try:
                for number, line in enumerate(bounded_lines(file.readline, _LINE_MOST)):
                    if number == 0 and line != self._mark():
                        raise RunError(EndReason.CONFIG, self._of_another())
                    if not line.endswith(b"\n"):
                        break
                    whole, newest = whole + len(line), line
                    self.rows = number
            except LineTooLong:
                raise RunError(EndReason.CONFIG, self._of_another()) from None
            file.truncate(whole)
        if not whole:
            self.part.write_bytes(self._mark())
        if self.rows:
            try:
                self.newest_ns = parse_time(newest.partition(b",")[0].decode())
            except ValueError:
                raise RunError(EndReason.CONFIG, self._of_another()) from None

    def _of_another(self) -> str:
        return f"{self.part} is the part of another download; delete it, or give --out another name"


def _row(candle: Candle) -> bytes:
    figures = ",".join(_plain(figure) for figure in candle[3:8])
    return f"{format_time(candle.open_ns)},{figures}\n".encode()


def _plain(figure: float) -> str:
    """Return a number as it is, in digits: no exponent, which other programs may not read."""
    text = repr(figure)
    return f"{Decimal(text):f}" if "e" in text else text
