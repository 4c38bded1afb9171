"""The loss of a UTC day against its limit: the figures of the gate ``max_daily_loss``."""

from decimal import Decimal

from lab import View


def limit_of(view: View, usd: Decimal | None, percent: Decimal | None) -> Decimal:
    """Return the limit in force, in the quote currency: the tighter one of an amount and % of the starting equity."""
    if percent is None and usd is not None:
        return usd
    limit = view.session_starting_equity * (percent or 0) / 100
    return limit if usd is None else min(usd, limit)


def is_within(view: View, usd: Decimal | None, percent: Decimal | None) -> bool:
    """Return whether the day's loss is below the limit. Asked at every entry and after every fill."""
    return view.day_starting_equity - view.session_equity < limit_of(view, usd, percent)
