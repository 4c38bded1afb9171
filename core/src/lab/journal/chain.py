"""The hash chain of a journal's rows: each row's hash covers the row and the hash before it.

A row's hash is SHA-256 of the previous row's hash and every column of the row, each ended by a newline, so that no text
can be moved from one column to the next unseen.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Final

from lab.domain.events import key_of
from lab.journal.codec import KINDS, encode

GENESIS: Final = b"\0" * 32
"""What stands for the hash before the first row."""

Row = tuple[int, int, int, str, str | None, bytes, bytes]
"""seq, time_ns, input_n, kind, key, body and hash."""
WrittenRow = tuple[int, int, int, str, str | None, str, bytes]
"""The same as it is written: SQLite stores the body as text."""
Gathered = tuple[object, int, int]
"""An event or input that will be a row, its time, and the number of the input that caused it."""


def row_hash(previous: bytes, seq: Any, time_ns: Any, input_n: Any, kind: Any, key: Any, body: bytes) -> bytes:
    """Return a row's hash in the chain. A damaged row may have a value of any class: its hash is then another one."""
    head = f"{seq}\n{time_ns}\n{input_n}\n{kind}\n{key or ''}\n"
    return sha256(previous + head.encode() + body).digest()


def chain_rows(gathered: Iterable[Gathered], seq: int, previous: bytes) -> list[WrittenRow]:
    """Return the rows of events that follow row ``seq``, whose hash is ``previous``."""
    rows = []
    for event, time_ns, input_n in gathered:
        seq += 1
        kind, key, body = KINDS[type(event)], key_of(event), encode(event)
        previous = row_hash(previous, seq, time_ns, input_n, kind, key, body)
        rows.append((seq, time_ns, input_n, kind, key, body.decode(), previous))
    return rows
