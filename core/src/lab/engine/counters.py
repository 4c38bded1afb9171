"""Counters of a run. They cover the whole run, also what memory no longer holds."""

from typing import TYPE_CHECKING

from lab.domain.ledger import ZERO

if TYPE_CHECKING:
    from decimal import Decimal


class FillTally:
    """Counts of the fills of one rule."""

    __slots__ = ("fees", "fills", "late", "slippage")

    def __init__(self) -> None:
        self.fills = 0
        self.late = 0
        self.fees = ZERO
        self.slippage = ZERO


class RunCounters:
    """Counts of the whole run, and the extremes of its equity in the quote currency: the engine counts up in them.

    They change with every step, and are complete only as `lab.engine.engine.Engine.counters` gives them.
    `lab.records.run.Totals` is their frozen, checked copy for the journal and the report: it has the same fields (a
    test holds that), says what each means, and is a format that older files are read by, which these are not.
    """

    __slots__ = (
        "amended", "amendments_refused", "backfilled", "cancelled", "candles", "decisions", "expired", "fees_paid",
        "fill_rules", "fills", "first_prices", "funding_paid", "funding_skipped", "gain_at_best", "gaps",
        "ignored_candles", "insurance_paid", "last_prices", "late_quotes", "liquidation_fees", "liquidations",
        "live_since_ns", "longest_drawdown_ns", "loss_at_worst", "lowest_equity", "max_drawdown",
        "max_drawdown_percent", "orders", "peak_equity", "quotes", "refusals", "rejected", "signals", "trades",
        "unconfirmed",
    )  # fmt: skip

    def __init__(self) -> None:
        self.candles = 0
        self.backfilled = 0
        self.unconfirmed = 0
        self.quotes = 0
        self.late_quotes = 0
        self.decisions = 0
        self.signals = 0
        self.orders = 0
        self.fills = 0
        self.trades = 0
        self.refusals = 0
        self.amended = 0
        self.amendments_refused = 0
        self.cancelled = 0
        self.expired = 0
        self.rejected = 0
        self.gaps = 0
        self.ignored_candles = 0
        self.fees_paid = ZERO
        self.fill_rules: dict[str, FillTally] = {}
        self.gain_at_best = ZERO
        self.loss_at_worst = ZERO
        self.funding_paid = ZERO
        self.funding_skipped = 0
        self.liquidations = 0
        self.liquidation_fees = ZERO
        self.insurance_paid = ZERO
        self.peak_equity = ZERO
        self.max_drawdown = ZERO
        self.max_drawdown_percent = ZERO
        self.longest_drawdown_ns = 0
        self.live_since_ns = 0
        self.lowest_equity = ZERO
        self.first_prices: dict[str, Decimal] = {}
        self.last_prices: dict[str, Decimal] = {}
