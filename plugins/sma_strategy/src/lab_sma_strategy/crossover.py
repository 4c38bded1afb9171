"""The state of one crossover: which average is above, what is held, and which levels guard it.

Apart from its settings, so that it can be compiled: `lab_sma_strategy.strategy` has those.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from lab import Candle, OrderFilled, OrderRequest, Quote, Side, View
from lab.domain.money import as_decimal
from mypy_extensions import mypyc_attr

from lab_sma_strategy.averages import EQUAL, average_true_range, closes_sum

# A level no price reaches, with its sign.
_NEVER: Final = 1e300

# Python 3.11 looks an enum's member up in 90 ns.
_BUY: Final = Side.BUY
_SELL: Final = Side.SELL


@mypyc_attr(allow_interpreted_subclasses=True)
class Crossover:
    """Decides by two averages, as `lab_sma_strategy.strategy.SmaCross` says."""

    __slots__ = (
        "_above", "_atr_min_percent", "_atr_period", "_below", "_closes", "_confirmation", "_direction", "_entry_ns",
        "_fast", "_fast_at", "_fast_sum", "_held", "_held_text", "_high", "_leaving", "_levels", "_low",
        "_max_leverage", "_price_format", "_quantity", "_risk_percent", "_risk_text", "_side", "_slow", "_slow_sum",
        "_stop_percent", "_symbol", "_target_percent", "_until_exact", "_way", "_why",
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
        self._symbol = ""
        self._fast_sum = 0.0
        self._slow_sum = 0.0
        self._until_exact = 0  # candles until the running sums are summed up afresh; 0 = now
        self._side = 0  # the confirmed side: 1 above, -1 below, 0 not known yet
        self._held = 0  # candles the other side has held so far
        self._way = 0  # what stop and target guard: 1 a long, -1 a short, 0 nothing
        self._low = 0.0  # the levels around the price: a long's stop and target,
        self._high = 0.0  # a short's target and stop
        self._entry_ns = 0  # what a candle saw until then is older than the entry
        self._leaving = ""  # the leg that was triggered: the exit is due until flat
        self._why = ""
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

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest]:
        """Ask for exit and entry on the candle that confirms a crossing; without quotes, watch stop and target."""
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
        if not self._way or (self._low < candle[5] and candle[4] < self._high):
            return ()
        return self._watch_candle(candle, view)

    def on_quote(self, quote: Quote, view: View) -> Iterable[OrderRequest]:
        """Leave when the bid (of a long) or the ask (of a short) reaches stop or target."""
        way = self._way
        if not way:
            return ()
        price = quote[2] if way > 0 else quote[4]
        if self._low < price < self._high:
            return ()
        return self._leave("bid" if way > 0 else "ask", price, price, view)

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        """Set stop and target around the average entry price; forget them when flat. A smaller position keeps them."""
        held = fill.position
        if not held:
            self._way, self._leaving = 0, ""
            return
        if (fill.side is _BUY) is not (held > 0):
            return
        if not (self._stop_percent or self._target_percent):
            return
        way = 1 if held > 0 else -1
        price = view.position(fill.symbol).price
        stop, target = self._levels[way]
        below = float(price * stop) if self._stop_percent else -way * _NEVER
        beyond = float(price * target) if self._target_percent else way * _NEVER
        self._low, self._high = (below, beyond) if way > 0 else (beyond, below)
        self._way, self._leaving = way, ""
        self._entry_ns = fill.fill.time_ns

    def on_history(self, view: View) -> None:
        """Recompute the sums at the next candle, because history was filled in."""
        self._until_exact = 0

    # -- averages ----------------------------------------------------------------------------------------------------

    def _sum_up(self, symbol: str, candles: Sequence[Candle]) -> bool:
        """Sum both windows exactly, so that rounding never adds up; ``False`` while candles are too few."""
        if self._symbol and symbol != self._symbol:
            raise ValueError(
                f"sma trades one symbol: it has {self._symbol} and was given {symbol}; give each symbol a run"
            )
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

    def _cross(self, candle: Candle, view: View) -> Sequence[OrderRequest]:
        """Return a confirmed crossing's requests: a stop or target of the same candle takes the exit's place."""
        symbol, way = self._symbol, self._side
        held = view.position(symbol).quantity
        now = 0 if not held else 1 if held > 0 else -1
        shown = self._price_format or self._learn_format(view)
        fast, slow = format(self._fast_sum / self._fast, shown), format(self._slow_sum / self._slow, shown)
        text = f"fast {fast} crossed {'above' if way > 0 else 'below'} slow {slow}, {self._held_text}"
        requests = list(self._watch_candle(candle, view)) if self._way else []
        if now == -way and not requests and not view.orders(symbol):
            requests.append(_close(symbol, held, "exit", f"{text}; leaves {_name(held)} {abs(held)}"))
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
        symbol = self._symbol
        instrument = view.instrument(symbol)
        quote = view.quote(symbol)
        price = as_decimal(candle.close if quote is None else quote.ask if way > 0 else quote.bid)
        quantity = self._quantity
        if not quantity:
            equity = view.equity
            by_risk = equity * self._risk_percent / (price * self._stop_percent)
            by_notional = equity * self._max_leverage / price
            wanted, rule = (by_notional, "max_leverage") if by_notional < by_risk else (by_risk, "risk")
            # A size under one lot is sent as it is: the engine refuses it, and the journal has the figures.
            quantity = instrument.floor_quantity(wanted) or wanted
            risk = f"{self._risk_percent} % of equity {float(equity):.2f} at {price:f}"
            text = f"{text}; size by {rule}: {risk} {self._risk_text}"
        side = _BUY if way > 0 else _SELL
        return OrderRequest(symbol, side, quantity, leg="entry", reason=text)

    # -- leaving -----------------------------------------------------------------------------------------------------

    def _watch_candle(self, candle: Candle, view: View) -> Sequence[OrderRequest]:
        """Watch stop and target on a source without quotes. Of the entry's own candle only the close is newer."""
        if view.quote(self._symbol) is not None:
            return ()
        whole = candle.time_ns > self._entry_ns
        low, high = (candle.low, candle.high) if whole else (candle.close, candle.close)
        if self._low < low and high < self._high:
            return ()
        worst, best = (low, high) if self._way > 0 else (high, low)
        return self._leave("candle", worst, best, view)

    def _leave(self, source: str, worst: float, best: float, view: View) -> Sequence[OrderRequest]:
        """Ask for the exit that stop or target demands; the stop comes first. Nothing while an order works."""
        symbol = self._symbol
        if view.orders(symbol):
            return ()
        held = view.position(symbol).quantity
        if not held:
            self._way, self._leaving = 0, ""
            return ()
        if not self._leaving:
            way = self._way
            stop, target = (self._low, self._high) if way > 0 else (self._high, self._low)
            stopped = (worst - stop) * way <= 0
            self._leaving = "stop" if stopped else "target"
            level, price = (stop, worst) if stopped else (target, best)
            shown = format(level, self._price_format or self._learn_format(view))
            where = "below" if stopped is (way > 0) else "above"
            seen = format(as_decimal(price), "f")
            self._why = f"{source} {seen} at or {where} the {self._leaving} {shown} of {_name(held)} {abs(held)}"
            # The exit is due now, even if its order expires and the price comes back: shut the band.
            self._low, self._high = _NEVER, -_NEVER
        return (_close(symbol, held, self._leaving, self._why),)

    def _learn_format(self, view: View) -> str:
        exponent = view.instrument(self._symbol).tick.as_tuple().exponent
        self._price_format = f".{max(2, -exponent) if isinstance(exponent, int) else 2}f"
        return self._price_format


def _close(symbol: str, held: Decimal, leg: str, reason: str) -> OrderRequest:
    side = _SELL if held > 0 else _BUY
    return OrderRequest(symbol, side, abs(held), reduce_only=True, leg=leg, reason=reason)


def _name(held: Decimal) -> str:
    return "long" if held > 0 else "short"
