"""Counters of a run. They cover the whole run, also what memory no longer holds."""

from decimal import Decimal

from msgspec import Struct

from lab.domain.ledger import ZERO


class RunCounters(Struct):
    """Counts of the whole run, and the extremes of its equity in the quote currency: the engine counts up in them.

    They change with every step, and are complete only as `lab.engine.engine.Engine.counters` gives them.
    `lab.records.run.Totals` is their frozen, checked copy for the journal and the report: it has the same fields (a
    test holds that), says what each means, and is a format that older files are read by, which these are not.
    """

    candles: int = 0
    backfilled: int = 0
    unconfirmed: int = 0
    quotes: int = 0
    late_quotes: int = 0
    decisions: int = 0
    signals: int = 0
    orders: int = 0
    fills: int = 0
    trades: int = 0
    refusals: int = 0
    cancelled: int = 0
    expired: int = 0
    rejected: int = 0
    gaps: int = 0
    ignored_candles: int = 0
    fees_paid: Decimal = ZERO
    peak_equity: Decimal = ZERO
    max_drawdown: Decimal = ZERO
