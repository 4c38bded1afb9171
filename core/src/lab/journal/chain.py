"""The hash chain of a journal's rows: each row's hash covers the row and the hash before it.

A row's hash is SHA-256 of the previous row's hash and every column of the row, each ended by a newline, so that no text
can be moved from one column to the next unseen.
"""

import hashlib
from typing import Final

GENESIS: Final = b"\0" * 32
"""What stands for the hash before the first row."""

Row = tuple[int, int, int, str, str | None, bytes, bytes]
"""seq, time_ns, input_n, kind, key, body and hash."""


def row_hash(previous: bytes, seq: int, time_ns: int, input_n: int, kind: str, key: str | None, body: bytes) -> bytes:
    """Return a row's hash in the chain."""
    head = f"{seq}\n{time_ns}\n{input_n}\n{kind}\n{key or ''}\n"
    return hashlib.sha256(previous + head.encode() + body).digest()
