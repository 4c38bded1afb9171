"""Closed candles kept in the state directory, so that a restart fetches only those that ended since.

One file for each provider, origin, symbol and interval. Its first line says which; each further line is a candle with a
hash over all of that, so that a line that was damaged, cut short or moved there from another file counts as missing.
"""

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.domain.market import BACKFILLED, UNCONFIRMED, Candle, candle_from_row

FOLDER: Final = "candles"
_LINE_BYTES: Final = 512
_SPARE: Final = 1000
_HASH: Final = 32
_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)


class CandleCache:
    """The newest closed candles of one symbol, as the provider confirmed them.

    ``key`` says where they come from; candles of another key are never read. At most ``keep`` are read; the file has
    at most 1,000 more. What the disk refuses is in ``problem``, and then nothing more is written.
    """

    def __init__(self, state_dir: Path, key: Mapping[str, str], *, keep: int) -> None:
        self.key = dict(key)
        self.keep = keep
        self.problem = ""
        self._head = msgspec.json.encode({"schema": 1, **self.key}, order="sorted")
        readable = re.sub(r"[^A-Za-z0-9._]+", "_", "-".join((key["provider"], key["symbol"], key["interval"])))[:80]
        self.path = state_dir / FOLDER / f"{readable}-{sha256(self._head).hexdigest()[:12]}.jsonl"
        self._lines = 0
        self._known: set[int] = set()

    def read(self) -> Sequence[Candle]:
        """Return the candles that are whole, ascending, each once, as history."""
        found: dict[int, Candle] = {}
        for line in self._read_lines():
            candle = self._candle(line)
            if candle is not None:
                found[candle.open_ns] = candle
        candles = [found[open_ns] for open_ns in sorted(found)][-self.keep :]
        self._known = {candle.open_ns for candle in candles}
        return candles

    def add(self, candles: Iterable[Candle]) -> None:
        """Add those that are not there yet; an unconfirmed one may still change and is left out.

        The file is written anew, whole or not at all, where it has grown too long, did not begin as it should, or
        lacks a candle among those it has.
        """
        if self.problem:
            return
        oldest_ns, newest_ns = min(self._known, default=0), max(self._known, default=0)
        confirmed = [one for one in candles if one.status != UNCONFIRMED and one.open_ns > oldest_ns]
        new = [one for one in confirmed if one.open_ns not in self._known]
        if not new:
            return
        try:
            if self._lines and new[0].open_ns > newest_ns and self._lines + len(new) <= self.keep + _SPARE:
                self._append(b"".join(map(self._line, new)))
                self._lines += len(new)
                self._known.update(one.open_ns for one in new)
            else:
                kept = {candle.open_ns: candle for candle in (*self.read(), *confirmed)}
                self._write([kept[open_ns] for open_ns in sorted(kept)][-self.keep :])
        except OSError as error:
            self.problem = f"{self.path}: {error.strerror or error}"

    def _read_lines(self) -> Sequence[bytes]:
        self._lines = 0
        most = len(self._head) + 1 + (self.keep + _SPARE) * _LINE_BYTES
        try:
            with os.fdopen(os.open(self.path, os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > most:
                    return ()
                head, *lines = file.read(most).split(b"\n")
        except OSError:
            return ()
        if head != self._head or not lines or lines[-1]:  # another file's, or its last line was cut short
            return lines[:-1] if head == self._head else ()
        self._lines = len(lines) - 1
        return lines[:-1]

    def _line(self, candle: Candle) -> bytes:
        body = msgspec.json.encode(candle[1:8])
        return msgspec.json.encode([msgspec.Raw(body), self._hash(body)]) + b"\n"

    def _hash(self, body: bytes) -> str:
        return sha256(self._head + body).hexdigest()[:_HASH]

    def _candle(self, line: bytes) -> Candle | None:
        try:
            body, found = msgspec.json.decode(line, type=tuple[msgspec.Raw, str])
            figures: Any = msgspec.json.decode(body, type=tuple[int, int, float, float, float, float, float])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        if found != self._hash(bytes(body)):
            return None
        return candle_from_row((self.key["symbol"], *figures, BACKFILLED))

    def _append(self, data: bytes) -> None:
        with os.fdopen(os.open(self.path, os.O_WRONLY | os.O_APPEND | _NO_FOLLOW), "ab") as file:
            file.write(data)

    def _write(self, candles: Sequence[Candle]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600), "wb") as file:
            file.write(b"\n".join((self._head, b"")) + b"".join(map(self._line, candles)))
        temporary.replace(self.path)
        self._lines = len(candles)
        self._known = {candle.open_ns for candle in candles}
