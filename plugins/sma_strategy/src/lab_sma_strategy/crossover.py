"""The state of one crossover: which average is above, and for how long.

Apart from its settings, so that it can be compiled: `lab_sma_strategy.strategy` has those.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from lab import CancelRequest, Candle, OrderRequest, Side, View
from lab.domain.money import as_decimal
from lab.engine.sizing import loss_per_unit
from mypy_extensions import mypyc_attr

from lab_sma_strategy.averages import EQUAL, average_true_range, closes_sum

_NOTHING: Final = Decimal(0)
Action = OrderRequest | CancelRequest

# Python 3.11 looks an enum's member up in 90 ns.
_BUY: Final = Side.BUY
_SELL: Final = Side.SELL


@mypyc_attr(allow_interpreted_subclasses=True)
class Crossover:
    """Decides by two averages, as `lab_sma_strategy.strategy.SmaCross` says."""

    __slots__ = (
        "_above", "_atr_min_percent", "_atr_period", "_below", "_closes", "_confirmation", "_direction", "_fast",
        "_fast_at", "_fast_sum", "_held", "_held_text", "_levels", "_max_leverage", "_others", "_price_format",
        "_quantity", "_risk_percent", "_risk_text", "_side", "_slippage", "_slow", "_slow_sum", "_stop_percent",
        "_symbol", "_target_percent", "_until_exact",
    )  # fmt: skip

    def __init__(
        self,
        fast: int,
        slow: int,
        confirmation: int,
        direction: str,
        risk_percent: Decimal,
        stop_percent: Decimal,
        target_percent: Decimal,
        atr_period: int,
        atr_min_percent: Decimal,
        quantity: Decimal,
        max_leverage: Decimal,
        slippage_bps: Decimal,
    ) -> None:
        self._fast = fast
        self._slow = slow
        self._confirmation = confirmation
        self._direction = direction
        self._risk_percent = risk_percent
        self._stop_percent = stop_percent
        self._target_percent = target_percent
        self._atr_period = atr_period
        self._atr_min_percent = atr_min_percent
        self._quantity = quantity
        self._max_leverage = max_leverage
        self._slippage = slippage_bps / 10_000
        self._symbol = ""
        self._others: dict[str, Crossover] = {}  # of a run's other symbols
        self._fast_sum = 0.0
        self._slow_sum = 0.0
        self._until_exact = 0  # candles until the running sums are summed up afresh; 0 = now
        self._side = 0  # the confirmed side: 1 above, -1 below, 0 not known yet
        self._held = 0  # candles the other side has held so far
        self._fast_at = -fast - 1
        self._closes: deque[float] = deque(maxlen=slow + 1)  # the newest closes: a plain one is read fastest
        hundredth = Decimal("0.01")
        stop, target = stop_percent * hundredth, target_percent * hundredth
        self._levels = {1: (1 - stop, 1 + target), -1: (1 + stop, 1 - target)}
        self._price_format = ""  # how a text shows a price: with the decimals of the tick, at least two
        candles = "1 candle" if confirmation == 1 else f"{confirmation} candles"
        self._held_text = f"held {candles}"
        self._risk_text = f"with the stop {stop_percent} % away, notional at most {max_leverage} × equity"
        self._above, self._below = fast / slow * (1 + EQUAL), fast / slow * (1 - EQUAL)

    # -- deciding ----------------------------------------------------------------------------------------------------

    def on_candle(self, candle: Candle, view: View) -> Iterable[Action]:
        """Ask for exit and entry on the candle that confirms a crossing."""
        # Candles are plain tuples: an index costs less than a name, and this runs for every candle of a backtest.
        symbol = candle[0]
        left = self._until_exact
        if left and symbol == self._symbol:
            self._until_exact = left - 1
            close = candle[6]
            closes = self._closes
            closes.append(close)
            fast_sum = self._fast_sum = self._fast_sum + close - closes[self._fast_at]
            slow_sum = self._slow_sum = self._slow_sum + close - closes[0]
        elif self._symbol and symbol != self._symbol:
            return self._other(symbol).on_candle(candle, view)
        elif self._sum_up(symbol, view.candles(symbol)):
            fast_sum, slow_sum = self._fast_sum, self._slow_sum
        else:
            return ()
        if fast_sum > slow_sum * self._above:
            side = 1
        elif fast_sum < slow_sum * self._below:
            side = -1
        else:
            side = -self._side if self._held else self._side  # equal: where it was
        if side == self._side:
            if self._held:
                self._held = 0
        elif self._turn(side):
            return self._cross(candle, view)
        return ()

    def on_history(self, view: View) -> None:
        """Recompute the sums at the next candle, because history was filled in."""
        self._until_exact = 0
        for other in self._others.values():
            other.on_history(view)

    def _other(self, symbol: str) -> "Crossover":
        """Return the crossover of another symbol of the run."""
        if symbol not in self._others:
            self._others[symbol] = Crossover(
                self._fast, self._slow, self._confirmation, self._direction, self._risk_percent, self._stop_percent,
                self._target_percent, self._atr_period, self._atr_min_percent, self._quantity, self._max_leverage,
                self._slippage * 10_000,
            )  # fmt: skip
        return self._others[symbol]

    # -- averages ----------------------------------------------------------------------------------------------------

    def _sum_up(self, symbol: str, candles: Sequence[Candle]) -> bool:
        """Sum both windows exactly, so that rounding never adds up; ``False`` while candles are too few."""
        if len(candles) < self._slow:
            return False
        if not self._symbol:
            self._symbol = symbol
            self._look_back(candles)
        self._fast_sum = closes_sum(candles, self._fast)
        self._slow_sum = closes_sum(candles, self._slow)
        self._closes.extend([one.close for one in candles[-self._slow - 1 :]])
        self._until_exact = 4 * self._slow
        return True

    def _look_back(self, candles: Sequence[Candle]) -> None:
        """Learn the side from the candles before the first decision, so that a crossing under way is not missed."""
        for skip in range(min(self._confirmation, len(candles) - self._slow), 0, -1):
            fast_sum, slow_sum = closes_sum(candles, self._fast, skip=skip), closes_sum(candles, self._slow, skip=skip)
            side = (fast_sum > slow_sum * self._above) - (fast_sum < slow_sum * self._below)
            if side and side != self._side:
                self._turn(side)
            elif side:
                self._held = 0

    def _turn(self, side: int) -> bool:
        """Count one candle on the other side; ``True`` when that confirms it. The first side ever is no crossing."""
        if not self._side:
            self._side = side
            return False
        self._held += 1
        if self._held < self._confirmation:
            return False
        self._side, self._held = side, 0
        return True

    # -- asking ------------------------------------------------------------------------------------------------------

    def _cross(self, candle: Candle, view: View) -> Sequence[Action]:
        """Return a confirmed crossing's requests: what still works or is held on the other side goes first."""
        symbol, way = self._symbol, self._side
        held = view.position(symbol).quantity
        now = 0 if not held else 1 if held > 0 else -1
        shown = self._price_format or self._learn_format(view)
        fast, slow = format(self._fast_sum / self._fast, shown), format(self._slow_sum / self._slow, shown)
        text = f"fast {fast} crossed {'above' if way > 0 else 'below'} slow {slow}, {self._held_text}"
        requests: list[Action] = []
        leaves = False  # whether an exit works already
        for order in view.orders(symbol):
            if not order.reduce_only:
                requests.append(CancelRequest(order.id, text))
            elif not order.parent:
                leaves = True
        if now == -way and not leaves:
            side, size = (_SELL if held > 0 else _BUY), abs(held)
            reason = f"{text}; leaves {'long' if held > 0 else 'short'} {size}"
            requests.append(OrderRequest(symbol, side, size, reduce_only=True, leg="exit", reason=reason))
        if now == way or self._direction not in ("both", "long" if way > 0 else "short"):
            return requests
        if self._atr_period:
            percent = average_true_range(view.candles(symbol), self._atr_period) / candle.close * 100
            if percent < float(self._atr_min_percent):
                return requests
            text += f"; ATR {percent:.4f} % of the price, at least {self._atr_min_percent} %"
        requests.append(self._entry(way, candle, view, text))
        return requests

    def _entry(self, way: int, candle: Candle, view: View, text: str) -> OrderRequest:
        """Return the entry, with its stop and target around the price of now."""
        symbol = self._symbol
        instrument = view.instrument(symbol)
        quote = view.quote(symbol)
        price = as_decimal(candle.close if quote is None else quote.ask if way > 0 else quote.bid)
        side, out = (_BUY, _SELL) if way > 0 else (_SELL, _BUY)
        stop = target = None
        below, beyond = self._levels[way]
        if self._stop_percent:
            stop = instrument.passive_price(price * below, out)
            if (price - stop) * way <= 0:  # less than a tick away
                stop = instrument.passive_price(price, out) - way * instrument.tick
        if self._target_percent:
            target = instrument.passive_price(price * beyond, out)
            if not target:
                target = None  # a short's target of 0 is none
        quantity = self._quantity
        if not quantity:
            assert stop is not None, "a size by risk needs a stop"  # the settings see to that
            quantity, rule = self._size(side, price, stop, quote is not None, view)
            risk = f"{self._risk_percent} % of equity {float(view.equity):.2f} at {price:f}"
            text = f"{text}; size by {rule}: {risk} {self._risk_text}"
        return OrderRequest(symbol, side, quantity, leg="entry", reason=text, stop_loss=stop, take_profit=target)

    def _size(self, side: Side, price: Decimal, stop: Decimal, quoted: bool, view: View) -> tuple[Decimal, str]:
        """Return the size whose loss at the stop, costs included, is the risk; less where the notional is capped."""
        instrument = view.instrument(self._symbol)
        slippage = _NOTHING if quoted else self._slippage
        equity = view.equity
        by_risk = equity * self._risk_percent / (loss_per_unit(instrument, side, price, stop, slippage) * 100)
        by_notional = equity * self._max_leverage / price
        wanted, rule = (by_notional, "max_leverage") if by_notional < by_risk else (by_risk, "risk")
        # A size under one lot is sent as it is: the engine refuses it, and the journal has the figures.
        return instrument.floor_quantity(wanted) or wanted, rule

    def _learn_format(self, view: View) -> str:
        exponent = view.instrument(self._symbol).tick.as_tuple().exponent
        self._price_format = f".{max(2, -exponent) if isinstance(exponent, int) else 2}f"
        return self._price_format
