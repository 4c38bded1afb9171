"""The port of strategies, which decide. Synchronous, without clock, I/O or chance."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from lab.domain.events import OrderEnded, OrderFilled
from lab.domain.market import Candle, Depth, Quote, Trade
from lab.engine.protocols import Action, optional
from lab.engine.view import View
from lab.ports.component import Component


class Strategy(Component, ABC):
    """Decides what to trade. Each instance has one book: it sees the shared market and only its own money.

    ``on_candle`` is first called when `lookback` candles are there, back-filled ones included. Requests made on a
    back-filled candle, or for an entry while trading is halted, are recorded as signals and not placed: the truth about
    what is held is ``view.position``, never the strategy's memory of what it asked for.

    The other methods are optional: only those that a class defines are called. Whatever a method raises stops this
    strategy alone: its entries are cancelled, its position stays, the other strategies go on.
    """

    @property
    def lookback(self) -> int:
        """Candles needed before the first decision. The engine keeps at least 1.5 times as many."""
        return 1

    @property
    def symbols(self) -> Iterable[str]:
        """The symbols it decides on, of a run that has several; none: all of the run's.

        Only their candles, quotes, trades and depth are shown to it. Its orders and its view know all of the run.
        """
        return ()

    @property
    def timer_ns(self) -> int:
        """Nanoseconds between calls of `on_timer`, which come at whole multiples of it in UTC; 0 for none."""
        return 0

    @abstractmethod
    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        """Decide on a closed candle. Called once for each, in order; one that comes late is only put into history."""

    @optional
    def on_quote(self, quote: Quote, view: View) -> Iterable[Action]:
        """Decide on a quote."""
        return ()

    @optional
    def on_trade(self, trade: Trade, view: View) -> Iterable[Action]:
        """Decide on a trade of the market, where the provider gives trades."""
        return ()

    @optional
    def on_depth(self, depth: Depth, view: View) -> Iterable[Action]:
        """Decide on the displayed levels, where the provider gives them."""
        return ()

    @optional
    def on_timer(self, now_ns: int, view: View) -> Iterable[Action]:
        """Decide at a due time of `timer_ns`, before any later event is processed.

        It is called when the first input at or after the due time comes; due times that no input came between are one.
        """
        return ()

    @optional
    def on_fill(self, fill: OrderFilled, view: View) -> None:
        """Learn of a fill of an own order, after all fills of that moment were booked."""

    @optional
    def on_end(self, end: OrderEnded, view: View) -> None:
        """Learn that an own order was cancelled, expired or rejected."""

    @optional
    def on_history(self, view: View) -> None:
        """Learn that history was filled in: recompute what was derived from it. Called once for each back-fill."""
