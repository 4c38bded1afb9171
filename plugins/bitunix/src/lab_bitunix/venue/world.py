"""The data of the local venue at any moment: markets, funding rates and faults. No I/O, no clock."""

from random import Random
from typing import Final

from attrs import define, field
from lab.domain.time import SECOND_NS, parse_time

from lab_bitunix.venue.faults import Faults
from lab_bitunix.venue.intervals import Interval
from lab_bitunix.venue.market import Bar, Contract, Market, listing, load_path, minute_of

HISTORY_START_NS: Final = parse_time("2022-04-17T00:00:00Z")
"""The oldest candles Bitunix was seen to have."""
FUNDING_NS: Final = 8 * 3600 * SECOND_NS
DAY_NS: Final = 24 * 3600 * SECOND_NS


@define(eq=False)
class World:
    """The venue's data by venue time in UTC nanoseconds. The same arguments give the same answers."""

    faults: Faults
    seed: int
    start_ns: int
    contracts: dict[str, Contract]
    markets: dict[str, Market] = field(factory=dict)

    @classmethod
    def make(cls, recording: str, symbol: str, faults: Faults, seed: int, start_ns: int | None) -> "World":
        """Load the recording; without ``start_ns`` the venue starts where the recording does.

        Raises `lab_recordings.RecordingError`.
        """
        path = load_path(recording, seed)
        begin_ns = minute_of(path.start_ns) if start_ns is None else start_ns
        contracts = listing(symbol, path)
        world = cls(faults, seed, begin_ns, contracts)
        anchor_ns = minute_of(begin_ns)
        for name, contract in contracts.items():
            world.markets[name] = Market(contract, path, anchor_ns)
        return world

    def elapsed_s(self, time_ns: int) -> float:
        """Return venue seconds since the start: the time of faults."""
        return (time_ns - self.start_ns) / SECOND_NS

    def traded(self, symbol: str) -> Market | None:
        """Return the market of a symbol that trades, or ``None``."""
        market = self.markets.get(symbol)
        return market if market is not None and market.contract.status == "OPEN" else None

    def bar(self, market: Market, interval: Interval, open_ns: int, now_ns: int, *, mark: bool = False) -> Bar:
        """Return the candle that opened at a time, as far as it has come; once closed it stays the same."""
        end_ns = interval.after(open_ns)
        bar = market.closed_bar(open_ns, end_ns) if end_ns <= now_ns else market.bar(open_ns, now_ns)
        if mark:
            basis = -market.contract.tick
            bar = Bar(bar.open + basis, bar.high + basis, bar.low + basis, bar.close + basis, bar.coins, bar.turnover)
        chance = Random(f"{self.seed}/open/{open_ns}")
        if self.faults.strikes("open_outside", self.elapsed_s(open_ns), chance):
            away = 11 * market.contract.tick
            bar = bar._replace(open=bar.high + away if chance.random() < 0.5 else bar.low - away)
        return bar

    def day(self, market: Market, now_ns: int) -> Bar:
        """Return the last 24 hours, rolling by the second."""
        end_ns = now_ns - now_ns % SECOND_NS
        return market.closed_bar(end_ns - DAY_NS, end_ns)

    def settled_percent(self, settlement_ns: int) -> float:
        """Return the funding rate charged at a settlement, in percent; within the cap of 0.3."""
        return Random(f"{self.seed}/funding/{settlement_ns}").uniform(-0.006, 0.018)

    def estimated_percent(self, now_ns: int) -> float:
        """Return the estimate for the next settlement: each minute it moves from the last rate towards the next."""
        last_ns = now_ns - now_ns % FUNDING_NS
        part = (minute_of(now_ns) - last_ns) / FUNDING_NS
        return self.settled_percent(last_ns) * (1 - part) + self.settled_percent(last_ns + FUNDING_NS) * part
