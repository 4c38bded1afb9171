"""Calls the strategies of a run, acts on their decisions, and tells them and the gates of fills and ends."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal, getcontext, setcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from lab.domain.events import BrokerFailed, EntriesHalted, OrderAccepted, OrderEnded, OrderFilled, StrategyStopped
from lab.domain.ledger import EXACT
from lab.domain.orders import CancelRequest, OrderRequest
from lab.engine.checks import validated_actions
from lab.engine.gates import Gates
from lab.engine.orders import OrderEntry
from lab.engine.protocols import Action, OnFailure, StrategyProtocol, declared, describe_failure, overridden
from lab.engine.state import Book, EngineState, Outputs
from lab.engine.valuation import Valuation
from lab.engine.view import View
from lab.errors import ComponentError

if TYPE_CHECKING:
    from lab.domain.market import Candle

# Compiled code reads a name that is Final at once, where it looks any other up in its module.
_ACCEPTED: Final = OrderAccepted
_ENDED: Final = OrderEnded
_FILLED: Final = OrderFilled
_REQUEST: Final = OrderRequest
_getcontext: Final = getcontext
_setcontext: Final = setcontext
Method = Callable[..., Any]


class BoundStrategy:
    """A strategy with its book, its view and its bound methods. Methods it does not have are ``None``."""

    __slots__ = (
        "book",
        "context",
        "failed",
        "lookback",
        "name",
        "next_timer_ns",
        "on_candle",
        "on_depth",
        "on_end",
        "on_fill",
        "on_history",
        "on_quote",
        "on_timer",
        "on_trade",
        "retired_at",
        "skips",
        "symbols",
        "timer_ns",
        "view",
    )  # fmt: skip

    def __init__(self, name: str, strategy: StrategyProtocol, book: Book, view: View) -> None:
        self.name = name
        self.book = book
        self.view = view
        self.context: Context = getcontext().copy()
        """The decimal context its code runs in, where there are several strategies: one cannot change another's."""
        self.lookback = strategy.lookback
        self.symbols: frozenset[str] = frozenset(getattr(strategy, "symbols", ()) or view.symbols)
        """The symbols whose market data it is shown."""
        self.failed = False
        self.skips = 0
        """Live candles on which it was not asked: its look-back was not there, or the broker failed before its turn."""
        self.retired_at: int | None = None
        """How many live candles had come when it was asked for the last time."""
        self.on_candle: Callable[[Candle, View], Iterable[Action]] = strategy.on_candle
        self.on_quote: Method | None = overridden(strategy, "on_quote")
        self.on_trade: Method | None = overridden(strategy, "on_trade")
        self.on_depth: Method | None = overridden(strategy, "on_depth")
        self.on_timer: Method | None = overridden(strategy, "on_timer")
        self.on_fill: Method | None = overridden(strategy, "on_fill")
        self.on_end: Method | None = overridden(strategy, "on_end")
        self.on_history: Method | None = overridden(strategy, "on_history")
        self.timer_ns = int(getattr(strategy, "timer_ns", 0)) if self.on_timer is not None else 0
        self.next_timer_ns = 0

    def let_go(self) -> None:
        """Keep nothing of a strategy that is not called any more: what it holds in memory may be why it failed."""
        self.on_candle = _nothing
        self.on_quote = self.on_trade = self.on_depth = self.on_timer = None
        self.on_fill = self.on_end = self.on_history = None


def _nothing(candle: "Candle", view: View) -> Iterable[Action]:
    return ()


CandleCalls = tuple[tuple[int, Callable[["Candle", View], Iterable[Action]], View, BoundStrategy], ...]
"""What is called on a candle: look-back, method, view and strategy of each."""
QuoteCalls = tuple[tuple[Method, View, BoundStrategy], ...]


class Strategies:
    """Calls the strategies, acts on what they decide, and stops the one that fails, alone."""

    __slots__ = (
        "_entry",
        "_gates",
        "_on_failure",
        "_owners",
        "_state",
        "active",
        "bound",
        "listening",
        "several",
    )

    def __init__(
        self,
        state: EngineState,
        valuation: Valuation,
        strategies: Sequence[tuple[str, StrategyProtocol, Decimal]],
        gates: Gates,
        entry: OrderEntry,
        on_failure: OnFailure,
    ) -> None:
        self._state = state
        self._gates = gates
        self._entry = entry
        self._on_failure = on_failure
        self.bound = tuple(
            declared(
                "strategy",
                name,
                "its attributes",
                partial(BoundStrategy, name, strategy, book, View(state, valuation, book)),
                on_failure,
            )
            for (name, strategy, _), book in zip(strategies, state.books, strict=True)
        )
        self._owners = {one.name: one for one in self.bound}
        self.several = len(self.bound) > 1
        self._bind()
        self.listening = gates.listening or any(one.on_fill or one.on_end for one in self.bound)

    # -- decisions ---------------------------------------------------------------------------------------------------

    def ask(
        self, strategy: BoundStrategy, name: str, method: Method, event: object, decision: str, live: bool, out: Outputs
    ) -> None:
        """Call one deciding method in the strategy's own decimal context, and act on what it returns."""
        if strategy.book.stopped:  # the broker failed when another strategy's order was placed
            if live and name == "on_candle":
                strategy.skips += 1
            return
        before = getcontext() if self.several else None
        if before is not None:
            setcontext(strategy.context)
        try:
            actions = method(event, strategy.view)
            if actions:
                actions = validated_actions(actions)
        except BaseException as error:
            self.stop(strategy, name, error, out)
            return
        finally:
            if before is not None:
                setcontext(before)
        if actions:
            self.act(strategy, actions, decision, live, out)

    def act(self, strategy: BoundStrategy, actions: Iterable[Action], decision: str, live: bool, out: Outputs) -> None:
        """Act on a decision's validated actions in their order, in the exact decimal context."""
        before = _getcontext()
        _setcontext(EXACT)
        book, view, entry = strategy.book, strategy.view, self._entry
        place = 0
        try:
            for action in actions:
                if book.stopped:
                    return  # its own order's fill or end made it fail half-way
                known = len(out)
                if isinstance(action, _REQUEST):
                    entry.request(view, book, action, place, decision, live, out)
                    place += 1
                elif live:
                    if isinstance(action, CancelRequest):
                        entry.changes.cancel(book, action, out)
                    else:
                        entry.changes.amend(view, book, action, out)
                # An accepted order comes last where nothing was filled or ended: there is nothing to tell.
                if self.listening and len(out) > known and type(out[-1]) is not _ACCEPTED:
                    self.tell(out, known)
        except ComponentError as error:
            self.fail(error, out)
        finally:
            _setcontext(before)

    # -- what they learn ---------------------------------------------------------------------------------------------

    def tell(self, out: Outputs, first: int) -> None:
        """Tell gates, then strategies, of the fills and ends among the outputs from ``first`` on.

        What they do then (a strategy that fails has its orders cancelled) is passed on as well.
        """
        while True:
            while first < len(out):
                output = out[first]
                first += 1
                kind = type(output)
                if kind is _FILLED:
                    self._tell("on_fill", output, output.strategy, out)  # type: ignore[attr-defined]
                elif kind is _ENDED:
                    self._tell("on_end", output, output.strategy, out)  # type: ignore[attr-defined]
            if self._gates.breakers:
                self.look_for_trips(out)
            if first == len(out):
                return

    def look_for_trips(self, out: Outputs) -> None:
        """Halt the entries of each strategy for which a gate has tripped; ask no more what then has nothing to close.

        Its working entries are cancelled; what guards or closes a position works on. Called after fills, ends and
        refusals, which is when a book changes and when a gate has looked at it.
        """
        if self._state.stopping:
            return
        for strategy in self.active:
            halts = strategy.book.halts
            for gate in self._gates.breakers:
                if gate.name not in halts:
                    reason = self._gates.trip(gate, strategy.view, out)
                    if reason:
                        halts[gate.name] = reason
                        out.append(EntriesHalted(strategy.name, gate.name, reason))
                        self._cancel_entries(strategy, f"entries are halted by {gate.name}", out)
            if halts and strategy.book.idle:
                self.retire(strategy)

    def _tell(self, name: str, what: object, owner: str, out: Outputs) -> None:
        strategy = self._owners[owner]
        if self._gates.listening:
            self._gates.tell(name, what, strategy.view, out)
        method = strategy.on_fill if name == "on_fill" else strategy.on_end
        if method is not None and not strategy.book.stopped:
            self._call(strategy, name, method, (what, strategy.view), out)

    def history_changed(self, out: Outputs) -> None:
        """Tell the strategies that candles were put into the past."""
        known = len(out)
        for strategy in self.active:
            if strategy.on_history is not None and not strategy.book.stopped:
                self._call(strategy, "on_history", strategy.on_history, (strategy.view,), out)
        if self._gates.listening:
            self.tell(out, known)

    def _call(
        self, strategy: BoundStrategy, name: str, method: Method, arguments: tuple[object, ...], out: Outputs
    ) -> None:
        before = getcontext()
        setcontext(strategy.context)
        try:
            method(*arguments)
        except BaseException as error:
            setcontext(before)
            self._stop(strategy, name, error, out)
        finally:
            setcontext(before)

    # -- the end -----------------------------------------------------------------------------------------------------

    def stop(self, strategy: BoundStrategy, call: str, error: BaseException, out: Outputs) -> None:
        """Stop one strategy: its entries are cancelled, its position stays and is reported. Then tell the gates."""
        known = len(out)
        self._stop(strategy, call, error, out)
        if self._gates.listening:
            self.tell(out, known)

    def _stop(self, strategy: BoundStrategy, call: str, error: BaseException, out: Outputs) -> None:
        """Stop one strategy; whoever calls this tells of the ends."""
        self.retire(strategy)
        strategy.failed = True
        out.append(StrategyStopped(strategy.name, describe_failure(error)))
        self._on_failure("strategy", strategy.name, call, error)
        self._cancel_entries(strategy, "its strategy was stopped", out)
        strategy.let_go()

    def _cancel_entries(self, strategy: BoundStrategy, reason: str, out: Outputs) -> None:
        before = getcontext()
        setcontext(EXACT)  # the strategy's own may be in force, as it left it
        try:
            for open_ in list(strategy.book.orders.values()):
                if not open_.order.reduce_only:
                    self._entry.changes.cancel_open(open_, reason, out)
        except ComponentError as failure:
            self.fail(failure, out)
        finally:
            setcontext(before)

    def fail(self, error: ComponentError, out: Outputs) -> None:
        """The broker failed: end every working order without it, and call no strategy again."""
        self._state.failure = error
        out.append(BrokerFailed(self._entry.broker.name, str(error)))
        self.abandon(str(error), out)

    def abandon(self, reason: str, out: Outputs) -> None:
        """End every working order without asking the broker, and call no strategy again."""
        self.retire_all()
        for open_ in list(self._state.working.values()):
            open_.children = ()  # each ends by itself
            self._entry.changes.end(open_, "cancelled", reason, out)

    def retire_all(self) -> None:
        """Call no strategy again: the run is ending."""
        self._state.stopping = True
        for strategy in self.bound:
            self.retire(strategy)

    def retire_book(self, book: Book) -> None:
        """Call the strategy of a book no more."""
        self.retire(self._owners[book.name])

    def retire(self, strategy: BoundStrategy) -> None:
        """Call a strategy no more."""
        if not strategy.book.stopped:
            strategy.retired_at = self.live_candles(strategy)
            strategy.book.stopped = True
            self._bind()

    def _bind(self) -> None:
        """Bind what the hot path calls, once, of every strategy that is still called."""
        self.active = tuple(one for one in self.bound if not one.book.stopped)
        for symbol, market in self._state.markets.items():
            called = [one for one in self.active if symbol in one.symbols]
            market.on_candle = tuple([(one.lookback, one.on_candle, one.view, one) for one in called])
            market.on_quote = tuple([(one.on_quote, one.view, one) for one in called if one.on_quote is not None])

    def decisions(self, strategy: BoundStrategy) -> int:
        """Return how often a strategy was asked about a candle that was not back-filled."""
        came = self.live_candles(strategy) if strategy.retired_at is None else strategy.retired_at
        return came - strategy.skips

    def live_candles(self, strategy: BoundStrategy | None = None) -> int:
        """Return how many candles came that were not back-filled: those a strategy is shown, or all."""
        return sum(
            market.history.count + market.history.dropped - market.history.backfilled
            for symbol, market in self._state.markets.items()
            if strategy is None or symbol in strategy.symbols
        )
