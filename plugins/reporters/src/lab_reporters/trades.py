"""Closed trades as rows of the page's table: a trade is a round trip, from flat to flat or to the other side."""

from decimal import Decimal

from lab.statistics.round_trip import RoundTrip

from lab_reporters import text

Cells = tuple[str, ...]


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
