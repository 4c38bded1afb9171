"""Calls the broker of a run, in a decimal context that it is lent and finds exact again at its next call."""

from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal, getcontext, setcontext
from functools import partial
from typing import Any, Final

from lab.domain.inputs import Input
from lab.domain.ledger import EXACT, EXACT_DIGITS, exact_context, renew
from lab.domain.market import Candle, Quote
from lab.domain.orders import Accepted, Feature, Order, OrderType, Rejected
from lab.engine.checks import check_answer
from lab.engine.protocols import BrokerProtocol, OnFailure, declared, describe_failure, describe_value
from lab.engine.view import MarketView
from lab.errors import ComponentError

# Compiled code reads a name that is Final at once, where it looks any other up in its module.
_CANDLE: Final = Candle
_QUOTE: Final = Quote
_setcontext: Final = setcontext


class BoundBroker:
    """A broker, its bound methods, and what it declared. Whatever it raises becomes a `ComponentError`."""

    __slots__ = (
        "_broker", "_idle", "_lent", "_observe", "_on_failure", "_submit", "features", "name", "types", "watches",
    )  # fmt: skip

    def __init__(self, name: str, broker: BrokerProtocol, on_failure: OnFailure, market: MarketView) -> None:
        self.name = name
        self._broker = broker
        self._submit = broker.submit
        self._observe = broker.observe
        self._on_failure = on_failure
        self._lent = exact_context()
        self._idle: dict[str, tuple[float, float, int]] = {}
        # Searched by identity: hashing an enum is slow.
        self.types = declared("broker", name, "order_types", partial(_order_types, broker), on_failure)
        self.features = declared("broker", name, "features", partial(_features, broker), on_failure)
        self.watches = bool(declared("broker", name, "watches_market", broker.watches_market, on_failure))
        declared("broker", name, "attach", partial(broker.attach, market), on_failure)

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Return the broker's checked answer. The exact context is in force afterwards."""
        self._idle.clear()
        _setcontext(self._lent)
        try:
            answer = self._submit(order, now_ns)
            check_answer(answer, now_ns)
        except BaseException as error:
            raise self._failure("submit", error) from error
        finally:
            _setcontext(EXACT)
            if self._lent.prec != EXACT_DIGITS or self._lent.rounding != ROUND_HALF_EVEN:
                renew(self._lent)
        return answer

    def observe(self, event: Input) -> object:
        """Return what the broker reports on a market event, unchecked. The exact context is in force afterwards."""
        _setcontext(self._lent)
        try:
            reports = self._observe(event)
            if not reports and (type(event) is _CANDLE or type(event) is _QUOTE):
                self._rest(event[0])
            else:
                self._idle.clear()
            return reports
        except BaseException as error:
            raise self._failure("observe", error) from error
        finally:
            _setcontext(EXACT)
            if self._lent.prec != EXACT_DIGITS or self._lent.rounding != ROUND_HALF_EVEN:
                renew(self._lent)

    def _rest(self, symbol: str) -> None:
        """Learn which events the broker need not be shown."""
        found = self._broker.idle(symbol)
        if found is not None:
            low, high, until_ns = found
            if type(low) is not float or type(high) is not float or type(until_ns) is not int:
                raise TypeError(f"idle() gave {describe_value(found)}; expected two floats and nanoseconds as int")
            self._idle[symbol] = low, high, until_ns

    def is_idle(self, event: Any) -> bool:
        """Return whether the broker said that an event is nothing to it."""
        kind = type(event)
        if kind is _CANDLE:
            symbol, _, time_ns, opened, upper, lower, _, _, _ = event
            if opened > upper:  # it may: venues carry it over from the close before
                upper = opened
            elif opened < lower:
                lower = opened
        elif kind is _QUOTE:
            symbol, time_ns, lower, _, upper, _ = event
        else:
            return False
        found = self._idle.get(symbol)
        return found is not None and lower > found[0] and upper < found[1] and time_ns <= found[2]

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        """Return the broker's checked answer to a cancel."""
        return self._ask("cancel", partial(self._broker.cancel, order_id, now_ns))

    def forget(self, order_id: str) -> None:
        """Let the broker drop an order at once."""
        self._ask("forget", partial(self._forget, order_id))

    def _forget(self, order_id: str) -> Accepted:
        self._broker.forget(order_id)
        return Accepted(0)

    def amend(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Return the broker's checked answer to an amendment."""
        return self._ask("amend", partial(self._broker.amend, order, now_ns))

    def funding_rate(self, symbol: str, fetched: Decimal | None, window_ns: int) -> Decimal | None:
        """Return the broker's checked rate for a window, ``None`` where nothing is paid."""
        before = getcontext()
        setcontext(self._lent)
        try:
            rate = self._broker.funding_rate(symbol, fetched, window_ns)
            if rate is not None and (type(rate) is not Decimal or not rate.is_finite() or not -1 < rate < 1):
                raise TypeError(f"it gave {describe_value(rate)}; expected None or a Decimal between -1 and 1")
            return rate
        except BaseException as error:
            raise self._failure("funding_rate", error) from error
        finally:
            setcontext(before)
            renew(self._lent)

    def _ask(self, call: str, ask: Callable[[], Accepted | Rejected]) -> Accepted | Rejected:
        self._idle.clear()
        before = getcontext()
        setcontext(self._lent)
        try:
            answer = ask()
            check_answer(answer, 0)
        except BaseException as error:
            raise self._failure(call, error) from error
        finally:
            setcontext(before)
            renew(self._lent)
        return answer

    def broke(self, what: str) -> ComponentError:
        """Return the error of a broker that broke its promise."""
        return ComponentError(f"broker {self.name} {what}")

    def _failure(self, call: str, error: BaseException) -> ComponentError:
        self._on_failure("broker", self.name, call, error)
        return ComponentError(f"broker {self.name} failed in {call}: {describe_failure(error)}")


def _order_types(broker: BrokerProtocol) -> tuple[OrderType, ...]:
    types = tuple(broker.order_types())
    for one in types:
        if type(one) is not OrderType:
            raise TypeError(f"it gave {describe_value(one)}; expected OrderType")
    return types


def _features(broker: BrokerProtocol) -> tuple[Feature, ...]:
    features = tuple(broker.features())
    for one in features:
        if type(one) is not Feature:
            raise TypeError(f"it gave {describe_value(one)}; expected Feature")
    return features
