"""The benchmark's own plugin: data in memory, and strategies that measure. Installed nowhere, offered only here."""

import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

from attrs import define, field, setters
from lab import Candle, Instrument, OrderRequest, Provider, Quote, Strategy, View, hookimpl
from lab.domain.market import Input
from lab.ports import ProviderError, Runtime, Sink, Subscription
from lab_sma_strategy.strategy import SmaCross

from benchmarks.data import SYMBOL, Columns

INSTRUMENT: Final = Instrument(
    symbol=SYMBOL, base="BTC", quote="USDT", tick=Decimal("0.1"), lot=Decimal("0.0001"),
    quantity_min=Decimal("0.0001"), maker_fee_rate=Decimal("0.0002"), taker_fee_rate=Decimal("0.0006"),
)  # fmt: skip


@define(kw_only=True)
class Walk(Provider):
    """The first ``count`` candles (or quotes) of a column file, from memory."""

    realm: ClassVar[Literal["real", "recorded", "synthetic"]] = "synthetic"
    path: str = field(default="", metadata={"help": "the column file"})
    count: int = field(default=0, metadata={"help": "how many candles or quotes"})
    quotes: bool = field(default=False, metadata={"help": "quotes, with a candle after each sixty"})

    def batches(self, wanted: Sequence[Subscription], *, seed: int) -> Iterator[Sequence[Input]]:
        """Return the data; the file is read at once, so that only making the events is left."""
        columns = Columns.read(Path(self.path), self.count)
        return columns.quotes() if self.quotes else columns.candles()

    def batch_instrument(self, symbol: str) -> Instrument:
        """Return the one instrument."""
        return INSTRUMENT

    async def start(self, runtime: Runtime) -> None:
        """Refuse: this data has no clock."""
        raise ProviderError("walk: only for backtests")

    async def instrument(self, symbol: str) -> Instrument:
        """Return the one instrument."""
        return INSTRUMENT

    async def history(self, symbol: str, interval_ns: int, *, end_ns: int | None, count: int) -> Sequence[Candle]:
        """Return nothing."""
        return ()

    async def stream(self, wanted: Sequence[Subscription], sink: Sink) -> None:
        """Refuse: this data has no clock."""
        raise ProviderError("walk: only for backtests")

    async def stop(self) -> None:
        """Do nothing."""


@define(kw_only=True, on_setattr=setters.NO_OP)
class Idle(Strategy):
    """Looks at every candle and asks for nothing."""

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest]:
        """Ask for nothing."""
        return ()


@define(kw_only=True, on_setattr=setters.NO_OP)
class Flipper(Strategy):
    """Sends an order every ``every`` candles: in, out, in, out."""

    every: int = field(default=1, metadata={"help": "candles from one order to the next"})
    orders: int = field(default=1, metadata={"help": "how many orders in all"})
    _wait: int = field(init=False, default=0)
    _sent: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        quantity = Decimal("0.001")
        self._pair = ((OrderRequest.buy(SYMBOL, quantity),), (OrderRequest.sell(SYMBOL, quantity),))

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest]:
        """Ask for the next order when it is its turn."""
        if self._wait or self._sent >= self.orders:
            self._wait -= 1
            return ()
        self._wait = self.every - 1
        self._sent += 1
        return self._pair[~self._sent & 1]


class Stamps:
    """What `Clocked` saw, for the benchmark in the same process."""

    delays_ns: ClassVar[list[int]] = []
    first_ns: ClassVar[int] = 0
    last_ns: ClassVar[int] = 0


@define(kw_only=True, on_setattr=setters.NO_OP)
class Clocked(SmaCross):
    """The SMA strategy, noting when each quote reached it. A quote's bid size is the monotonic ns it was sent at."""

    note: str = field(default="", metadata={"help": "file that gets the monotonic time of the first quote"})
    until_sent: int = field(default=0, metadata={"help": "bid size of the quote that ends the run; 0 = none"})
    _over: bool = field(init=False, default=False)
    _noted: bool = field(init=False, default=False)

    def on_quote(self, quote: Quote, view: View) -> Iterable[OrderRequest]:
        """Note the time, then decide as ever."""
        now_ns = time.monotonic_ns()
        if self._over:
            return ()
        if not self._noted:
            self._noted = True
            Stamps.first_ns = now_ns
            if self.note:
                Path(self.note).write_text(str(now_ns), encoding="utf-8")
        Stamps.delays_ns.append(now_ns - int(quote[3]))
        Stamps.last_ns = now_ns
        if quote[3] == self.until_sent:
            self._over = True
            Stamps.first_ns = int(quote[5])
            signal.raise_signal(signal.SIGTERM)
        return SmaCross.on_quote(self, quote, view)


@hookimpl
def lab_providers() -> Mapping[str, Any]:
    """Offer ``walk``."""
    return {"walk": Walk}


@hookimpl
def lab_strategies() -> Mapping[str, Any]:
    """Offer ``idle``, ``flipper`` and ``clocked``."""
    return {"idle": Idle, "flipper": Flipper, "clocked": Clocked}
