"""Adds up fills and round trips to the figures of trades, in constant memory."""

from collections.abc import Iterable
from decimal import Context, Decimal, localcontext
from typing import Final

from msgspec.structs import astuple

from lab.domain.ledger import ZERO
from lab.domain.time import SECOND_NS
from lab.records.base import exact
from lab.records.statistics import TradeFigures
from lab.statistics.round_trip import RoundTrip
from lab.statistics.round_trips import EXACTLY

_astuple: Final = astuple
_QUOTIENTS: Final = Context(prec=20)
_FLOAT_DIGITS: Final = 12


def rounded(value: float) -> float:
    """Return a float with 12 significant digits: the last bits may differ from machine to machine."""
    return float(f"{value:.{_FLOAT_DIGITS}g}")


class Tally:
    """Sums of the fills and round trips of one strategy in one symbol, or of several together.

    Its methods are exact where `lab.statistics.round_trips.EXACTLY` is in force; the caller sets that.
    """

    __slots__ = (
        "best",
        "fees",
        "fills",
        "funding",
        "held_ns",
        "longest_ns",
        "losses",
        "lost",
        "notional",
        "shortest_ns",
        "slippage",
        "trades",
        "wins",
        "won",
        "worst",
    )  # fmt: skip

    def __init__(self) -> None:
        self.trades = self.wins = self.losses = self.fills = 0
        self.won = self.lost = ZERO
        self.best = self.worst = ZERO
        self.held_ns = self.shortest_ns = self.longest_ns = 0
        self.fees = self.slippage = self.funding = self.notional = ZERO

    def count(self, trip: RoundTrip) -> None:
        """Count what the fills and the funding of a round trip came to, be it closed or open."""
        # All fields in one call: a look-up of each costs more.
        _, _, _, _, _, _, paid, received, fees, funding, _, fills, slippage, _ = _astuple(trip)
        self.fills += fills
        self.fees += fees
        self.slippage += slippage
        if funding:
            self.funding += funding
        self.notional += abs(paid) + abs(received)

    def trade(self, trip: RoundTrip) -> None:
        """Count a closed round trip."""
        self.count(trip)
        profit, held_ns = trip.profit, trip.exit_ns - trip.entry_ns
        if profit > ZERO:
            self.wins += 1
            self.won += profit
        elif profit < ZERO:
            self.losses += 1
            self.lost += profit
        first = not self.trades
        self.trades += 1
        if first or profit > self.best:
            self.best = profit
        if first or profit < self.worst:
            self.worst = profit
        self.held_ns += held_ns
        self.shortest_ns = held_ns if first else min(self.shortest_ns, held_ns)
        self.longest_ns = held_ns if first else max(self.longest_ns, held_ns)

    def add(self, other: "Tally") -> None:
        """Add what another one counted."""
        if other.trades:
            mine = self.trades > 0
            self.best = max(self.best, other.best) if mine else other.best
            self.worst = min(self.worst, other.worst) if mine else other.worst
            self.shortest_ns = min(self.shortest_ns, other.shortest_ns) if mine else other.shortest_ns
            self.longest_ns = max(self.longest_ns, other.longest_ns)
        for name in (
            "trades", "wins", "losses", "fills", "held_ns", "won", "lost", "fees", "slippage", "funding", "notional",
        ):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def figures(self) -> TradeFigures:
        """Return what was counted; `lab.records.statistics.TradeFigures` says what each means."""
        trades, profit = self.trades, self.won + self.lost
        return TradeFigures(
            trades=trades,
            wins=self.wins,
            losses=self.losses,
            profit=exact(profit),
            win_rate_percent=rounded(self.wins / trades * 100.0) if trades else None,
            average_win=_quotient(self.won, self.wins),
            average_loss=_quotient(self.lost, self.losses),
            profit_factor=rounded(float(self.won) / -float(self.lost)) if self.losses else None,
            expectancy=_quotient(profit, trades),
            best_trade=exact(self.best) if trades else None,
            worst_trade=exact(self.worst) if trades else None,
            holding_mean_seconds=rounded(self.held_ns / trades / SECOND_NS) if trades else None,
            holding_shortest_seconds=rounded(self.shortest_ns / SECOND_NS) if trades else None,
            holding_longest_seconds=rounded(self.longest_ns / SECOND_NS) if trades else None,
            fills=self.fills,
            fees=exact(self.fees),
            slippage=exact(self.slippage),
            funding=exact(self.funding),
            traded_notional=exact(self.notional),
        )


def trade_figures(trips: Iterable[RoundTrip]) -> TradeFigures:
    """Return what round trips came to; of those that are open only fills and costs count."""
    tally = Tally()
    with localcontext(EXACTLY):
        for trip in trips:
            if trip.exit_ns:
                tally.trade(trip)
            else:
                tally.count(trip)
        return tally.figures()


def _quotient(amount: Decimal, number: int) -> Decimal | None:
    return exact(_QUOTIENTS.divide(amount, Decimal(number))) if number else None
