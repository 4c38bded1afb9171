"""The hash chain of a journal's rows: each row's hash covers the row and the hash before it.

A row's hash is SHA-256 of the previous row's hash and every column of the row, each ended by a newline, so that no text
can be moved from one column to the next unseen.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

from lab.domain.events import (
    DayEnded,
    Deposited,
    EntriesHalted,
    FundingPaid,
    GateFailed,
    OrderAccepted,
    OrderEnded,
    OrderFilled,
    OrderRefused,
    StrategyStopped,
)
from lab.domain.market import Candle
from lab.journal.codec import KINDS, encode
from lab.secret import bytes_without_secrets, knows_secrets

# Compiled code reads a name that is Final at once, where it looks any other up in its module.
_ACCEPTED: Final = OrderAccepted
_ENDED: Final = OrderEnded
_FILLED: Final = OrderFilled
_bytearray: Final = bytearray
_sha256: Final = sha256
GENESIS: Final = b"\0" * 32
"""What stands for the hash before the first row."""

Row = tuple[int, int, int, str, str | None, bytes, bytes]
"""seq, time_ns, input_n, kind, key, body and hash."""
WrittenRow = tuple[int, int, int, str, str | None, str, bytes | bytearray]
"""The same as it is written: SQLite stores the body as text. Its module looks for an adapter of ``bytes``."""
Gathered = tuple[Sequence[object], int, int]
"""The events or inputs of one step that will be rows, their time, and the number of the input that caused them."""


def key_of(event: object) -> str | None:
    """Return the idempotency key of an event or input that happens once, else ``None``.

    Accepted and refused orders share the order's key: an id has one outcome. Only a duplicate's own refusal has none.
    """
    if type(event) is _ACCEPTED:
        return f"order:{event.order_id}"
    if type(event) is _FILLED:
        return f"fill:{event.fill_id}"
    if type(event) is _ENDED:
        return f"end:{event.order_id}"
    if type(event) is OrderRefused:
        return None if event.by == "duplicate" else f"order:{event.order_id}"
    if type(event) is Candle:
        return f"candle:{event.symbol}:{event.open_ns}"
    if type(event) is Deposited:
        return f"deposit:{event.strategy}"
    if type(event) is FundingPaid:
        return f"funding:{event.strategy}:{event.symbol}:{event.window_ns}"
    if type(event) is StrategyStopped:
        return f"stopped:{event.strategy}"
    if type(event) is GateFailed:
        return f"failed:{event.gate}"
    if type(event) is EntriesHalted:
        return f"halted:{event.strategy}:{event.gate}"
    if type(event) is DayEnded:
        return f"day:{event.day_ns}"
    return None


def row_hash(previous: bytes, seq: Any, time_ns: Any, input_n: Any, kind: Any, key: Any, body: bytes) -> bytes:
    """Return a row's hash in the chain. A damaged row may have a value of any class: its hash is then another one."""
    return _hashed(previous, f"{seq}\n{time_ns}\n{input_n}\n{kind}\n{key or ''}\n", body)


def _hashed(previous: bytes, head: str, body: bytes) -> bytes:
    return _sha256(previous + head.encode() + body).digest()


def state_seal(head: bytes, body: bytes) -> bytes:
    """Return what tells a state from one that was changed, or that belongs to other rows: ``head`` is its row's hash.

    The state is no row, because it is replaced with every commit; with its seal it is as hard to change as a row.
    """
    return _sha256(head + body).digest()


def chain_rows(gathered: Iterable[Gathered], seq: int, previous: bytes) -> list[WrittenRow]:
    """Return the rows of events that follow row ``seq``, whose hash is ``previous``."""
    rows: list[WrittenRow] = []
    kinds, as_json, secrets = KINDS, encode, knows_secrets()
    for events, time_ns, input_n in gathered:
        step = f"\n{time_ns}\n{input_n}\n"
        for event in events:
            seq += 1
            kind, key, body = kinds[type(event)], key_of(event), as_json(event)
            if secrets:
                body = bytes_without_secrets(body)
            previous = _hashed(previous, f"{seq}{step}{kind}\n{key or ''}\n", body)
            rows.append((seq, time_ns, input_n, kind, key, body.decode(), _bytearray(previous)))
    return rows
