"""A provider and a strategy for sessions that are killed and go on: both are functions of the time and of what came."""

import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lab.errors import LabError

STEADY: Final = '''
"""A provider whose prices are a function of the time; a strategy that counts quotes and trades on some."""
from decimal import Decimal
from typing import Any

import anyio
from attrs import define, field
from lab import Candle, FeedState, Instrument, OrderRequest, PriceSource, Provider, Quote, Realm, Strategy, hookimpl
from lab.domain.time import MINUTE_NS

STEP_NS = 10_000_000

def price(time_ns):
    return round(50_000.0 + (time_ns // STEP_NS * 7919 % 1000) / 10, 1)

@define(kw_only=True, eq=False)
class Steady(Provider):
    _runtime: Any = field(init=False, default=None)

    def realm(self): return Realm.SYNTHETIC
    def price_source(self): return PriceSource.QUOTE

    async def start(self, runtime):
        self._runtime = runtime

    async def stop(self):
        pass

    async def instrument(self, symbol):
        step, rate = Decimal("0.0001"), Decimal("0.0006")
        return Instrument(
            symbol=symbol, base="BTC", quote="USDT", tick=Decimal("0.1"), lot=step, quantity_min=step,
            maker_fee_rate=rate, taker_fee_rate=rate,
        )

    async def history(self, symbol, interval_ns, *, end_ns, count):
        end = (end_ns or self._runtime.clock.wall_ns()) // interval_ns * interval_ns
        opens = range(end - count * interval_ns, end, interval_ns)
        return [Candle(symbol, one, one + interval_ns, *[price(one)] * 4, 1.0, "final") for one in opens]

    async def stream(self, wanted, sink):
        sink.feed(FeedState.LIVE)
        while True:
            now = self._runtime.clock.wall_ns() // STEP_NS * STEP_NS
            for one in wanted:
                sink.put(Quote(one.symbol, now, price(now), 50.0, price(now) + 0.1, 50.0))
            await anyio.sleep(0.004)

@define(kw_only=True)
class Counter(Strategy):
    """Buys on each eighth quote it was ever shown, and sells on the one four behind it."""
    lookback = 0
    seen: int = field(init=False, default=0)

    def on_candle(self, candle, view):
        return []

    def on_quote(self, quote, view):
        self.seen += 1
        if self.seen % 8 == 0:
            return [OrderRequest.buy(quote.symbol, Decimal("0.001"), reason=f"quote {self.seen}")]
        held = view.position(quote.symbol).quantity
        if self.seen % 8 == 4 and held > 0:
            return [OrderRequest.sell(quote.symbol, held, reduce_only=True, reason=f"quote {self.seen}")]
        return []

@hookimpl
def lab_providers():
    return {"steady": Steady}

@hookimpl
def lab_strategies():
    return {"counter": Counter}
'''

RUN: Final = ("run", "--provider", "steady", "--strategy", "counter", "--reporter", "none", "--gate", "none")


def proved(lab: Any) -> None:
    """Check that the newest run is what its inputs give again, and sound."""
    for command in ("verify", "audit"):
        result = lab(command)
        assert result.code == 0, result.out + result.err


def resumptions(run: Any) -> int:
    """Return how often a run went on."""
    return sum(body[1] == "session" and body[2]["state"] == "resumed" for _, _, body in run.rows("notice"))


def wait_for(condition: Callable[[], Any], seconds: float = 40.0) -> Any:
    """Return what a condition gives, once it is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not so within {seconds} s")


def session_of(folder: Path) -> int:
    """Return the id of the process that has the tape of a run open, 0 where none has."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(link.readlink()).startswith(f"{folder.resolve()}/tape-"):
                return int(link.parts[2])
    return 0


def rows(lab: Any, kind: str) -> list[Any]:
    """Return the bodies of the newest run's rows of a kind; none while its journal is being made."""
    with contextlib.suppress(LabError):
        return [body for _, _, body in lab.run().rows(kind)]
    return []


def fills(lab: Any) -> int:
    """Return how many fills the newest run has by now."""
    return len(rows(lab, "order_filled"))


def causes(run: Any, *, entries: bool = True) -> list[int]:
    """Return the times of the quotes that made a strategy place its orders: their ids tell."""
    rows = [body for _, _, body in run.rows("order_accepted") if not (entries and body["reduce_only"])]
    return [int(found[1]) for body in rows if (found := re.search(r"-q(\d+)-", body["order_id"]))]
