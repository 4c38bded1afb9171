"""``events.jsonl``: every row of the journal as one readable line."""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import anyio
import msgspec
from anyio.lowlevel import checkpoint
from attrs import define, field, validators
from lab.journal.files import private
from lab.ports import Record, Reporter, RunInfo
from lab.records.base import as_data

from lab_reporters import text
from lab_reporters.decoding import malformed, plain_body

SCHEMA_VERSION: Final = 1
_FLUSH_S: Final = 0.1
_TAIL_BYTES: Final = 1 << 20
_STAMPED_KINDS: Final = frozenset({"command", "trading_state", "symbol_state", "notice"})


@define(kw_only=True)
class Jsonl(Reporter):
    """Writes ``events.jsonl`` into the run's directory, and nothing where the run has none.

    Each file begins with a header line ``{"schema_version":1,"kind":"header",...}``. Then one line a row: ``seq``,
    ``time`` (when it happened, ISO 8601, UTC; null before the first data), ``kind`` and ``body``, an object with the
    field names. A row whose body cannot be read is written with ``body`` null and its text under ``malformed``. Lines
    reach the file within 0.1 s. The file is a copy for reading: after a crash only the journal is complete.
    """

    rotate_bytes: int = field(
        default=10_000_000,
        validator=validators.ge(10_000),
        metadata={"help": "size at which events.jsonl becomes events.jsonl.1, in bytes"},
    )
    keep: int = field(
        default=5, validator=[validators.ge(1), validators.le(99)], metadata={"help": "how many old files are kept"}
    )

    async def report(self, run: RunInfo, records: AsyncIterator[Record]) -> None:
        """Write each row. Raises ``OSError`` when the disk does not take them."""
        if run.directory is None:
            async for _ in records:
                pass
            return
        lines = Lines(run, run.directory / "events.jsonl", rotate_bytes=self.rotate_bytes, keep=self.keep)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lines.flush_soon)
                async for record in records:
                    lines.write(record)
                    if not record.seq & 255:
                        await checkpoint()
                tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # raise the disk's error, not that of the task group
        finally:
            lines.close()


class Lines:
    """The file, its size and its rotation. Goes on where an earlier process of the same run stopped."""

    def __init__(self, run: RunInfo, path: Path, *, rotate_bytes: int, keep: int) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._keep = keep
        self._header = _encoded(
            {"schema_version": SCHEMA_VERSION, "kind": "header", "run_id": run.run_id, "run": as_data(run.header)}
        )
        self._written = anyio.Event()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._seq = self._resume(run.run_id)
        self._file = self._open()

    def write(self, record: Record) -> None:
        """Write the row's line, unless the file has it already. Rotates first where it would grow too big."""
        if record.seq <= self._seq:
            return
        line = _encoded(_readable(record))
        if self._size + len(line) > self._rotate_bytes and self._size > len(self._header):
            self._file.close()
            self._rotate()
            self._file = self._open()
        self._file.write(line)
        self._size += len(line)
        self._seq = record.seq
        self._written.set()

    async def flush_soon(self) -> None:
        """Flush what a burst of rows left, soon after it, until cancelled."""
        while True:
            await self._written.wait()
            await anyio.sleep(_FLUSH_S)
            self._written = anyio.Event()
            self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self._file.close()

    def _open(self) -> BinaryIO:
        file = open(self._path, "ab", opener=private)  # noqa: SIM115 - closed in `close`
        self._size = file.tell()
        if not self._size:
            file.write(self._header)
            self._size = len(self._header)
        return file

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            if self._numbered(number).exists():
                self._numbered(number).replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _resume(self, run_id: str) -> int:
        """Return the last row's number, which is in the file before where a rotation was cut off.

        A torn last line is cut off; another run's file is rotated away.
        """
        newest = self._last_row(self._path, run_id)
        if newest is None:
            self._rotate()
            return 0
        return newest or self._last_row(self._numbered(1), run_id) or 0

    def _last_row(self, path: Path, run_id: str) -> int | None:
        """Return the last row's number, 0 where the file holds no row, ``None`` where it is another run's."""
        if not path.exists() or not path.stat().st_size:
            return 0
        with path.open("r+b") as file:
            first = file.readline(_TAIL_BYTES)
            if self._header.startswith(first) and not first.endswith(b"\n"):
                file.truncate(0)  # killed while the header was written
                return 0
            header = _decoded(first)
            if header.get("kind") != "header" or header.get("run_id") != run_id:
                return None
            end = file.seek(0, os.SEEK_END)
            start = file.seek(max(0, end - _TAIL_BYTES))
            tail = file.read()
            whole = tail[: tail.rfind(b"\n") + 1]
            if not whole:
                return None
            file.truncate(start + len(whole))
            seq = _decoded(whole[whole.rfind(b"\n", 0, -1) + 1 :]).get("seq", 0)
            return seq if isinstance(seq, int) else 0


def _readable(record: Record) -> dict[str, Any]:
    more: dict[str, Any] = {}
    try:
        body = plain_body(record)
    except (ValueError, RecursionError) as error:
        malformed(record, error)
        body, more = None, {"malformed": record.body.decode("utf-8", "backslashreplace")}
    time_ns = _moment(record, body)
    time = text.moment(time_ns) if time_ns else None
    return {"seq": record.seq, "time": time, "kind": record.kind, "body": body, **more}


def _moment(record: Record, body: Any) -> int:
    """Return when it happened, as `lab_reporters.decoding.moment_of` does."""
    own_ns = body.get("time_ns") if record.kind in _STAMPED_KINDS and isinstance(body, dict) else None
    return max(own_ns, record.time_ns) if isinstance(own_ns, int) else record.time_ns


def _encoded(line: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(line, enc_hook=str) + b"\n"


def _decoded(line: bytes) -> Mapping[str, Any]:
    try:
        found = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
