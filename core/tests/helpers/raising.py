"""A strategy that raises where and what it is told to, what a component may raise, and a note of who raised what."""

from asyncio import CancelledError
from collections.abc import Callable, Iterable
from decimal import Decimal

from attrs import define, field
from lab.domain.events import OrderEnded, OrderFilled
from lab.domain.market import Candle, Depth, Quote, Trade
from lab.domain.orders import CancelRequest, OrderRequest, OrderType, Side
from lab.domain.time import MINUTE_NS
from lab.engine.view import View
from lab.ports import Strategy

SYMBOL = "BTCUSDT"
RESTING = OrderRequest.buy(SYMBOL, Decimal(1), type=OrderType.LIMIT, limit=Decimal(1))
RAISED = [
    ValueError, RecursionError, MemoryError, StopIteration, CancelledError, GeneratorExit, BaseException,
    KeyboardInterrupt, SystemExit,
]  # fmt: skip
Failures = list[tuple[str, str, str, type[BaseException]]]
"""role, name, call and the error's class of each failure, in order"""


def noting(failures: Failures | None) -> Callable[[str, str, str, BaseException], None]:
    """Return what an engine is to call with each failure; it is noted in the list, if there is one."""

    def on_failure(role: str, name: str, call: str, error: BaseException) -> None:
        if failures is not None:
            failures.append((role, name, call, type(error)))

    return on_failure


@define(kw_only=True, eq=False)
class Trading(Strategy):
    """Trades on candles, cancels now and then, listens to everything; raises where and what it was told to."""

    where: str = ""
    error: type[BaseException] = ValueError
    after: int = 3
    calls: int = field(init=False, default=0)
    seen: int = field(init=False, default=0)

    @property
    def timer_ns(self) -> int:
        return 5 * MINUTE_NS

    def call(self, where: str) -> None:
        if where == self.where:
            self.calls += 1
            if self.calls == self.after:
                raise self.error("on purpose")

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest | CancelRequest]:
        self.call("on_candle")
        self.seen += 1
        side = Side.BUY if self.seen % 4 < 2 else Side.SELL
        actions: list[OrderRequest | CancelRequest] = [
            OrderRequest(SYMBOL, side, Decimal(self.seen % 7 + 1) / 100),
            RESTING,
        ]
        return [*actions, *(CancelRequest(order.id) for order in view.orders(SYMBOL) if order.limit == 1)]

    def on_quote(self, quote: Quote, view: View) -> Iterable[OrderRequest]:
        self.call("on_quote")
        return ()

    def on_trade(self, trade: Trade, view: View) -> Iterable[OrderRequest]:
        self.call("on_trade")
        return ()

    def on_depth(self, depth: Depth, view: View) -> Iterable[OrderRequest]:
        self.call("on_depth")
        return ()

    def on_timer(self, now_ns: int, view: View) -> Iterable[OrderRequest]:
        self.call("on_timer")
        return ()

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self.call("on_fill")

    def on_end(self, end: OrderEnded, view: View) -> None:
        self.call("on_end")

    def on_history(self, view: View) -> None:
        self.call("on_history")
