"""
┌──────────────────────────────────────────────────────────────────────────────┐
│ 03  A provider: five coroutines                                              │
│                                                                              │
│ The point: a market is `start`, `instrument`, `history`, `stream`, `stop`.   │
│ This one is a sine wave; one over HTTP awaits an answer where this one       │
│ computes. Sleeping, warm-up, gaps and the trading gate are lab's affair.     │
│                                                                              │
│ Run it:   python 03_a_provider_with_five_coroutines.py                       │
│           (an hour of that market in virtual time: about a second)           │
└──────────────────────────────────────────────────────────────────────────────┘
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib.metadata import EntryPoint, entry_points

import anyio
from attrs import define, field, validators
from lab import (
    Candle,
    FeedState,
    Instrument,
    Provider,
    ProviderError,
    Quote,
    Realm,
    Runtime,
    Sink,
    Subscription,
    hookimpl,
)
from lab.composition.assembly import assemble, layers_for
from lab.live.launch import run_live
from lab.live.signals import Interrupts
from lab.plugins.discovery import Registry

SECOND_NS = 1_000_000_000
HALF_SPREAD = 0.5


@define(kw_only=True)
class SineMarket(Provider):
    """One quote a second on a sine wave; the candles are made of exactly those quotes."""

    price: float = field(default=50_000.0, validator=validators.gt(0), metadata={"help": "middle of the wave, in USDT"})
    period_s: float = field(default=1800.0, validator=validators.gt(0), metadata={"help": "length of a wave, in s"})
    height: float = field(default=0.02, validator=validators.lt(0.5), metadata={"help": "fraction of the price"})

    _runtime: Runtime | None = field(init=False, default=None, repr=False)

    def realm(self) -> Realm:
        """Say which world the prices come from. Real and made-up ones never meet in a session."""
        return Realm.SYNTHETIC

    async def start(self, runtime: Runtime) -> None:
        """Remember the session's clock. A venue opens its connections here."""
        self._runtime = runtime

    async def instrument(self, symbol: str) -> Instrument:
        """Return the steps and fees. Only one symbol is listed."""
        if symbol != "SINEUSDT":
            raise ProviderError(f"sine: no symbol {symbol!r}; there is SINEUSDT")
        return Instrument(
            symbol=symbol, base="SINE", quote="USDT", tick=Decimal("0.1"), lot=Decimal("0.001"),
            quantity_min=Decimal("0.001"), maker_fee_rate=Decimal("0.0002"), taker_fee_rate=Decimal("0.0006"),
        )  # fmt: skip

    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        """Return the newest closed candles that open before ``end_ns``, ascending."""
        newest = self._now_ns() // interval_ns - 1  # the number of the newest closed bucket
        if end_ns is not None:
            newest = min(newest, (end_ns - 1) // interval_ns)
        numbers = range(newest - count + 1, newest + 1)
        return [self._candle(symbol, n * interval_ns, interval_ns, "backfilled") for n in numbers]

    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        """Give a quote each second, and each candle when its bucket has ended, for ever."""
        sink.feed(FeedState.LIVE, "sine")
        second_ns = self._now_ns() // SECOND_NS * SECOND_NS
        while True:
            second_ns += SECOND_NS
            await anyio.sleep(max(0.0, (second_ns - self._now_ns()) / SECOND_NS))
            for one in wanted:
                if second_ns % one.interval_ns == 0:
                    open_ns = second_ns - one.interval_ns
                    sink.put(self._candle(one.symbol, open_ns, one.interval_ns, "final"))
                middle = self._middle(second_ns)
                sink.put(Quote(one.symbol, second_ns, middle - HALF_SPREAD, 5.0, middle + HALF_SPREAD, 5.0))

    async def stop(self) -> None:
        """Release everything. Here that is the clock; a venue closes its connections."""
        self._runtime = None

    def _now_ns(self) -> int:
        assert self._runtime is not None, "start() comes first"
        return self._runtime.clock.wall_ns()

    def _middle(self, time_ns: int) -> float:
        turn = 2 * math.pi * (time_ns / SECOND_NS) / self.period_s
        return round(self.price * (1 + self.height * math.sin(turn)), 1)

    def _candle(self, symbol: str, open_ns: int, interval_ns: int, status: str) -> Candle:
        prices = [self._middle(at) for at in range(open_ns, open_ns + interval_ns, SECOND_NS)]
        low, high = min(prices), max(prices)
        close_ns = open_ns + interval_ns
        return Candle(symbol, open_ns, close_ns, prices[0], high, low, prices[-1], float(len(prices)), status)


@hookimpl
def lab_providers() -> Mapping[str, type[Provider]]:
    """Offer the provider ``sine``."""
    return {"sine": SineMarket}


def main() -> None:
    # A distribution declares this entry point in its pyproject.toml, as example 02 does; a script says it by hand.
    here = EntryPoint(name="sine", value=__name__, group="lab")
    registry = Registry([*entry_points(group="lab"), here])

    sets = ["sma.fast=3", "sma.slow=8", "sma.atr_min_percent=0"]
    options = {"run.provider": "sine", "run.symbol": "SINEUSDT", "run.speed": "max", "run.minutes": 60}
    layers = layers_for(None, sets, {**options, "run.reporters": [], "run.no_write": True})
    finished = run_live(assemble(registry, layers, {}), wall_ns=time.time_ns, interrupts=Interrupts())

    report = finished.report
    print(f"{report.status}: {report.quotes} quotes, {report.candles} candles, {report.fills} fills")
    print(f"profit {report.pnl_absolute} USDT; degradations: {', '.join(report.degradations) or 'none'}")
    sys.exit(finished.exit_code)


if __name__ == "__main__":
    main()
