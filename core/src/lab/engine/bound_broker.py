"""Calls the broker of a run, in a decimal context that it is lent and finds exact again at its next call."""

from decimal import ROUND_HALF_EVEN, getcontext, setcontext
from functools import partial

from lab.domain.inputs import Input
from lab.domain.ledger import EXACT, EXACT_DIGITS, exact_context, renew
from lab.domain.orders import Accepted, Order, OrderType, Rejected
from lab.engine.checks import check_answer
from lab.engine.protocols import BrokerProtocol, OnFailure, declared, describe_failure, describe_value
from lab.errors import ComponentError


class BoundBroker:
    """A broker, its bound methods, and what it declared. Whatever it raises becomes a `ComponentError`."""

    __slots__ = ("_broker", "_lent", "_observe", "_on_failure", "_submit", "name", "types", "watches")

    def __init__(self, name: str, broker: BrokerProtocol, on_failure: OnFailure) -> None:
        self.name = name
        self._broker = broker
        self._submit = broker.submit
        self._observe = broker.observe
        self._on_failure = on_failure
        self._lent = exact_context()
        # Searched by identity: hashing an enum is slow.
        self.types = declared("broker", name, "order_types", partial(_order_types, broker), on_failure)
        self.watches = bool(declared("broker", name, "watches_market", broker.watches_market, on_failure))

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Return the broker's checked answer. The exact context is in force afterwards."""
        setcontext(self._lent)
        try:
            answer = self._submit(order, now_ns)
            check_answer(answer, now_ns)
        except BaseException as error:
            raise self._failure("submit", error) from error
        finally:
            setcontext(EXACT)
            if self._lent.prec != EXACT_DIGITS or self._lent.rounding != ROUND_HALF_EVEN:
                renew(self._lent)
        return answer

    def observe(self, event: Input) -> object:
        """Return what the broker reports on a market event, unchecked. The exact context is in force afterwards."""
        setcontext(self._lent)
        try:
            return self._observe(event)
        except BaseException as error:
            raise self._failure("observe", error) from error
        finally:
            setcontext(EXACT)
            if self._lent.prec != EXACT_DIGITS or self._lent.rounding != ROUND_HALF_EVEN:
                renew(self._lent)

    def cancel(self, order_id: str) -> bool:
        """Return whether the broker took the order back."""
        before = getcontext()
        setcontext(self._lent)
        try:
            return bool(self._broker.cancel(order_id))
        except BaseException as error:
            raise self._failure("cancel", error) from error
        finally:
            setcontext(before)
            renew(self._lent)

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
