"""Decodes journal rows to typed events. A malformed row gives a debug line, never an exception."""

import logging
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec
from lab.domain.control import ClockStepped, Command, Notice, SymbolState, TradingState
from lab.domain.events import Deposited, OrderFilled
from lab.journal.codec import INPUT_KINDS, KINDS
from lab.ports import Record

log: Final = logging.getLogger("lab.reporters")
_DIGITS_MAX: Final = 30
_STAMPED: Final = (Command, TradingState, SymbolState, Notice, ClockStepped)
_WITH_EXPONENT: Final = re.compile(rb'"(-?\d+(?:\.\d+)?E[+-]\d{1,2})"')
_INPUTS: Final[Mapping[str, Any]] = {kind: cls for cls, kind in INPUT_KINDS.items()}
_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(cls) for cls, kind in KINDS.items()
}


def malformed(record: Record, error: Exception) -> None:
    """Leave the debug line of a row that cannot be read."""
    log.debug("malformed record: seq %s, kind %s: %s", record.seq, record.kind, error)


def event_of(record: Record) -> Any:
    """Return the row's input or output as its class; ``None`` for other kinds and for a malformed row."""
    decoder = _DECODERS.get(record.kind)
    if decoder is None:
        return None
    try:
        event = decoder.decode(record.body)
        if isinstance(event, (OrderFilled, Deposited)):
            _check_figures(event)
    except ValueError as error:  # msgspec's errors are among them
        malformed(record, error)
        return None
    return event


def moment_of(record: Record, event: Any) -> int:
    """Return when a row's event happened, in venue time.

    What the session itself says has a time of its own: while no market data comes, that goes on and the row's does not.
    """
    return max(event.time_ns, record.time_ns) if isinstance(event, _STAMPED) else record.time_ns


def plain_body(record: Record) -> Any:
    """Return the row's body as plain data, an input's array as an object with its field names, no figure with an ``E``.

    Raises ``ValueError`` (``msgspec.DecodeError`` is one) for a malformed row.
    """
    body = msgspec.json.decode(_WITH_EXPONENT.sub(_written_out, record.body))
    names = _INPUTS.get(record.kind)
    if names is None or isinstance(body, dict):
        return body
    if not isinstance(body, list) or len(body) != len(names._fields):
        raise ValueError(f"expected an array of {len(names._fields)}: {', '.join(names._fields)}")
    return dict(zip(names._fields, body, strict=True))


def _written_out(figure: re.Match[bytes]) -> bytes:
    return b'"%s"' % format(Decimal(figure[1].decode()), "f").encode()


def _check_figures(event: OrderFilled | Deposited) -> None:
    """Refuse the figures that arithmetic could choke on: a Decimal may also be ``sNaN`` or ``1e999999``."""
    figures = [amount for _, amount in event.postings]
    if isinstance(event, OrderFilled):
        fill = event.fill
        figures += [event.remaining, event.position, fill.quantity, fill.price, fill.fee, fill.slippage]
    else:
        figures.append(event.amount)
    for figure in figures:
        if not figure.is_finite() or figure.adjusted() > _DIGITS_MAX:
            raise ValueError(f"not an amount: {str(figure)[:40]}")
