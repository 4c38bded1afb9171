"""Closed trades as rows of the page's table: a trade is a round trip, from flat to flat or to the other side."""

from decimal import Decimal
from typing import Final

import msgspec
from lab.domain.instrument import Instrument
from lab.statistics.round_trip import RoundTrip

from lab_reporters import text

Cells = tuple[str, ...]
Packed = tuple[bytes, Instrument | None]

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(
    tuple[str, str, bool, int, int, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int, Decimal]
).decode


def packed(trade: RoundTrip) -> Packed:
    """Return a trade in a quarter of the memory."""
    *figures, instrument = msgspec.structs.astuple(trade)
    return _encode(figures), instrument


def packed_cells(trade: Packed) -> Cells:
    """Return the row of the page's table, of a trade that was packed."""
    figures, instrument = trade
    return trade_cells(RoundTrip(*_decode(figures), instrument))


def trade_cells(trade: RoundTrip) -> Cells:
    """Return the row of the page's table."""
    side = "long" if trade.long else "short"
    return (
        text.second(trade.entry_ns), text.second(trade.exit_ns), trade.strategy, side, text.exact(trade.quantity),
        trade.symbol, text.exact(_rounded(trade.entry_price)), text.exact(_rounded(trade.exit_price)),
        text.money(trade.fees), text.money(trade.funding), text.money(trade.profit, signed=True),
    )  # fmt: skip


def _rounded(price: Decimal) -> Decimal:
    """Return an average price with ten significant digits: it is a quotient, for the eye."""
    return Decimal(f"{price:.10g}")
