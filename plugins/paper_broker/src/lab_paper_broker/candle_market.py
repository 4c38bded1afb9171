"""The market of symbols without quotes: candles, one after the other, and their volume."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from lab import Candle, MarketView, format_time
from lab.domain.calendar import open_ns
from lab.domain.money import as_decimal
from lab.domain.time import MILLISECOND_NS

from lab_paper_broker.answers import offered_by
from lab_paper_broker.models import Liquidity
from lab_paper_broker.on_candles import counts_whole, is_quiet, meet_candle, meets_open
from lab_paper_broker.on_quotes import Reports
from lab_paper_broker.resting import AT_OPEN, Resting
from lab_paper_broker.terms import Terms
from lab_paper_broker.working import Working

CANDLES_TO_EXPIRE: Final = 2
_ZERO: Final = Decimal(0)


class CandleMarket:
    """Lets working orders meet candles; all orders of a run share a candle's volume, where the candles have one."""

    __slots__ = ("_liquidity", "_most", "_share", "_terms", "_unlimited", "_volumes", "_working", "market")

    def __init__(
        self,
        working: Working,
        terms: Mapping[str, Terms],
        share: Decimal,
        unlimited: bool,
        liquidity: Liquidity | None,
    ) -> None:
        self._working = working
        self._terms = terms
        self._share = share
        self._most = 0.999 * float(share)
        self._unlimited = unlimited
        self._liquidity = liquidity
        self._volumes: dict[str, bool] = {}  # whether the candles of a symbol have a volume
        self.market: MarketView | None = None

    def knows(self, symbol: str) -> bool:
        """Return whether there are candles of a symbol."""
        return symbol in self._volumes or (self.market is not None and len(self.market.candles(symbol)) > 0)

    def note(self, candle: Candle) -> None:
        """Note that there are candles of a symbol, and whether they have a volume."""
        if candle[7]:
            self._volumes[candle[0]] = True
        else:
            self._volumes.setdefault(candle[0], False)

    def observe(self, candle: Candle, event_n: int, reports: Reports) -> None:
        """Let each order meet a candle: first those that meet its open, then those that it reached later.

        Of a group a stop comes first, unless another one is marketable at the open.
        """
        symbol, families = candle[0], self._working.families
        for resting in self._working.orders.values():
            if resting.symbol == symbol and not is_quiet(resting, candle):
                break
        else:
            return
        orders = list(self._working.orders.values())
        typical = self._typical(candle)
        most: Decimal | None = None
        if not self._unlimited and self._has_volume(candle) and not self._is_plenty(candle, orders):
            most = as_decimal(candle[7]) * self._share
        for at_open in (True, False):
            for resting in orders:
                if resting.symbol != symbol or resting.seen_n == event_n:
                    continue
                if at_open and not meets_open(resting, candle):
                    continue
                if resting.group:
                    for other in families.others(resting):
                        if other.seen_n != event_n and _comes_before(other, resting, candle):
                            most = self._meet(other, candle, most, typical, event_n, reports)
                most = self._meet(resting, candle, most, typical, event_n, reports)

    def _has_volume(self, candle: Candle) -> bool:
        """Return whether the candles of a symbol have a volume: one of 0 is then a candle in which nobody traded."""
        symbol = candle[0]
        if not self._volumes[symbol] and self.market is not None:
            self._volumes[symbol] = any(one[7] for one in self.market.candles(symbol))
        return self._volumes[symbol]

    def _is_plenty(self, candle: Candle, orders: Sequence[Resting]) -> bool:
        """Return whether a candle's volume is more than all orders want: then nobody need count it exactly."""
        if self._liquidity is not None:
            return False
        wanted = 0.0
        for resting in orders:
            if resting.symbol == candle[0]:
                wanted += resting.size
        return wanted < candle[7] * self._most

    def _meet(
        self, resting: Resting, candle: Candle, most: Decimal | None, typical: float, event_n: int, reports: Reports
    ) -> Decimal | None:
        """Let an order meet a candle; return what is left of the volume."""
        resting.seen_n = event_n
        late_ns = candle[2] - resting.eligible_ns
        if late_ns < 0 or resting.ended or not resting.left or (resting.leaves and not meets_open(resting, candle)):
            return most
        unmet = resting.first and resting.takes and not resting.waits
        # The first comparison is of small numbers only: a product costs as much as the rest of the line.
        if unmet and late_ns > candle[2] - candle[1] and self._is_too_late(candle, late_ns, resting):
            self._working.end(resting, "expired", _too_late(candle, late_ns, resting), reports)
            return most
        if resting.reduces and not self._working.can_fill(resting, reports):
            return most
        known, before, shown = len(reports), resting.done, most
        if self._liquidity is not None:
            shown = offered_by(self._liquidity, resting.order, most)
        where = meet_candle(resting, candle, shown, typical, self._terms[resting.symbol], reports)
        if len(reports) > known:
            self._working.settle(resting, before, candle[1], where, candle[2], reports)
        resting.show()
        return None if most is None else max(most - (resting.done - before), _ZERO)

    def _is_too_late(self, candle: Candle, late_ns: int, resting: Resting) -> bool:
        """Return whether an order waited for more than two candles; while the market is closed it does not wait."""
        length_ns = candle[2] - candle[1]
        if late_ns <= CANDLES_TO_EXPIRE * length_ns:
            return False
        waited_ns = open_ns(self._terms[candle[0]].instrument.calendar, resting.eligible_ns, candle[1])
        return waited_ns + length_ns > CANDLES_TO_EXPIRE * length_ns

    def _typical(self, candle: Candle) -> float:
        """Return the mean volume of the newest candles, this one's where there are no others; 0: not needed."""
        terms = self._terms[candle[0]]
        if not terms.slippage and terms.slippage_model is None:
            return 0.0
        mean = 0.0 if self.market is None else self.market.mean_volume(candle[0])
        return mean or candle[7]


def _comes_before(other: Resting, resting: Resting, candle: Candle) -> bool:
    """Return whether an order of the same group meets a candle before this one."""
    if other.waits is resting.waits:
        return False
    stop, limit = (other, resting) if other.waits else (resting, other)
    price = candle[3]
    whole = limit.woke_in != candle[1] or limit.awake_at == AT_OPEN
    whole = whole and (limit.awake_at != 0 or counts_whole(limit, candle))
    marketable = limit.takes or (price <= limit.limit if limit.buys else price >= limit.limit)
    at_open = whole and bool(limit.left) and marketable
    return (limit if at_open else stop) is other


def _too_late(candle: Candle, late_ns: int, resting: Resting) -> str:
    allowed_ns = CANDLES_TO_EXPIRE * (candle[2] - candle[1])
    return (
        f"its first candle closed {late_ns // MILLISECOND_NS} ms after its arrival at "
        f"{format_time(resting.eligible_ns)}, later than {CANDLES_TO_EXPIRE} candles "
        f"({allowed_ns // MILLISECOND_NS} ms)"
    )
