"""The benchmark's own plugin: strategies that measure. Installed nowhere, offered only here."""

import signal
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Final

from attrs import define, field, setters
from lab import Candle, OrderRequest, Quote, Strategy, View, hookimpl
from lab_sma_strategy.strategy import SmaCross

SYMBOL: Final = "BTCUSDT"


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
    first: ClassVar[tuple[int, int]] = (0, 0)
    """Monotonic and CPU time at the first quote."""
    last: ClassVar[tuple[int, int]] = (0, 0)
    """Monotonic and CPU time at the quote that was marked as the last one sent."""
    sent_ns: ClassVar[int] = 0
    """What the last one carried as its time of sending."""


@define(kw_only=True, on_setattr=setters.NO_OP)
class Clocked(SmaCross):
    """The SMA strategy, noting when each quote reached it.

    A quote's bid size is the monotonic ns it was sent at; an ask size of 0 marks the last one: the run is asked to end.
    """

    note: str = field(default="", metadata={"help": "file that gets the monotonic time of the first quote"})
    _noted: bool = field(init=False, default=False)
    _over: bool = field(init=False, default=False)

    def on_quote(self, quote: Quote, view: View) -> Iterable[OrderRequest]:
        """Note the time."""
        now_ns = time.monotonic_ns()
        if self._over:
            return ()
        if not self._noted:
            self._noted = True
            Stamps.first = now_ns, time.process_time_ns()
            if self.note:
                Path(self.note).write_text(str(now_ns), encoding="utf-8")
        Stamps.delays_ns.append(now_ns - int(quote[3]))
        if not quote[5]:
            self._over = True
            Stamps.last, Stamps.sent_ns = (now_ns, time.process_time_ns()), int(quote[3])
            signal.raise_signal(signal.SIGTERM)
        return ()


@hookimpl
def lab_strategies() -> Mapping[str, Any]:
    """Offer ``idle``, ``flipper`` and ``clocked``."""
    return {"idle": Idle, "flipper": Flipper, "clocked": Clocked}
