"""The models that a setting can replace, and those that are not the default.

Each is any class that keeps one of the protocols here. A setting names it as ``module:Class``, with values of its own
in brackets: ``paper.latency_model = "lab_paper_broker.models:HeavyTail(median_ms=80)"``. A model is deterministic: it
reads no clock and draws nothing but from the order's id and the seed.
"""

import ast
import csv
from collections.abc import Callable, Sequence
from decimal import Decimal
from hashlib import sha256
from importlib import import_module
from math import exp
from pathlib import Path
from statistics import NormalDist, median
from typing import Any, Protocol
from zlib import crc32

from attrs import Attribute, define, field, validators
from lab import MILLISECOND_NS, MarginTier, MarketView, Order
from lab.lines import LineTooLong, bounded_lines

_MEASURED_MOST = 1_000_000
_LINE_MOST = 4096  # bytes
_NUMBER_MOST = 1e15


class Latency(Protocol):
    """How long what is sent is on its way, in nanoseconds, 0 or more."""

    def submit_ns(self, order_id: str, seed: int) -> int: ...
    def cancel_ns(self, order_id: str, seed: int) -> int: ...


class Fees(Protocol):
    """The fee as a fraction of the notional; ``liquidity`` is ``maker`` or ``taker``."""

    def rate(self, order: Order, liquidity: str) -> Decimal: ...


class Slippage(Protocol):
    """The fraction of the price lost beyond the reference, 0 or more.

    ``typical`` is what is displayed at the level, or a candle's typical volume, ``None`` where neither is known;
    ``quoted`` whether the reference is of a quote.
    """

    def fraction(self, order: Order, quantity: Decimal, typical: Decimal | None, quoted: bool) -> Decimal: ...


class Liquidity(Protocol):
    """How much of what is displayed, or of a candle's volume, an order may take; ``None``: all it wants."""

    def available(self, order: Order, shown: Decimal | None) -> Decimal | None: ...


class Queue(Protocol):
    """How much is ahead of an order that begins to rest where ``displayed`` rests; ``None``: it is not known."""

    def ahead(self, order: Order, displayed: Decimal | None) -> Decimal: ...


class Rejects(Protocol):
    """Why the venue rejects an order; an empty text where it does not."""

    def reason(self, order: Order, market: MarketView | None, seed: int) -> str: ...


class Margin(Protocol):
    """The margin table of a symbol, from notional 0 on without a hole; ``None``: the venue's own."""

    def tiers(self, symbol: str) -> Sequence[MarginTier] | None: ...


class FundingRates(Protocol):
    """The rate that is paid at the end of a window, above 0 by longs; ``None``: nothing is paid.

    ``fetched`` is the venue's rate, ``None`` where none was fetched.
    """

    def rate(self, symbol: str, fetched: Decimal | None, window_ns: int) -> Decimal | None: ...


def _share(text: str, seed: int) -> float:
    """Return a number above 0 and below 1, drawn from a text and a seed."""
    return (crc32(text.encode(), seed & 0xFFFFFFFF) + 0.5) / 2**32


def _number(instance: Any, attribute: "Attribute[Any]", value: Any) -> None:
    """Refuse what is no number to reckon with: an infinite one, and True, which Python takes for 1."""
    if type(value) not in (int, float) or not -_NUMBER_MOST < value < _NUMBER_MOST:
        raise ValueError(f"{attribute.name} is {value!r:.40}; expected a number")


@define(kw_only=True)
class HeavyTail:
    """Latencies with a heavy tail: log-normal around a median, so that one in a hundred is many times longer."""

    median_ms: float = field(default=120.0, validator=[_number, validators.gt(0)])
    cancel_median_ms: float = field(default=120.0, validator=[_number, validators.gt(0)])
    sigma: float = field(default=0.7, validator=[_number, validators.ge(0), validators.le(3)])
    most_ms: float = field(default=60_000.0, validator=[_number, validators.gt(0)])

    def submit_ns(self, order_id: str, seed: int) -> int:
        """Return an order's latency."""
        return self._draw(self.median_ms, f"submit {order_id}", seed)

    def cancel_ns(self, order_id: str, seed: int) -> int:
        """Return a cancel's or an amendment's latency."""
        return self._draw(self.cancel_median_ms, f"cancel {order_id}", seed)

    def _draw(self, median_ms: float, text: str, seed: int) -> int:
        drawn = median_ms * exp(self.sigma * NormalDist().inv_cdf(_share(text, seed)))
        return round(min(drawn, self.most_ms)) * MILLISECOND_NS


@define(kw_only=True)
class Measured:
    """Latencies drawn from a file of measured ones: a CSV whose first column is milliseconds, a heading allowed.

    ``cancel_path`` is a file of its own for cancels and amendments; without it the same serves both.
    """

    path: str
    cancel_path: str = ""
    _values: list[float] = field(init=False)
    _cancel_values: list[float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._values = _read_latencies(self.path)
        self._cancel_values = _read_latencies(self.cancel_path) if self.cancel_path else self._values

    def submit_ns(self, order_id: str, seed: int) -> int:
        """Return an order's latency."""
        return self._draw(self._values, f"submit {order_id}", seed)

    def cancel_ns(self, order_id: str, seed: int) -> int:
        """Return a cancel's or an amendment's latency."""
        return self._draw(self._cancel_values, f"cancel {order_id}", seed)

    @staticmethod
    def _draw(values: list[float], text: str, seed: int) -> int:
        return round(values[int(_share(text, seed) * len(values))] * MILLISECOND_NS)

    def __str__(self) -> str:
        digest = sha256(repr((self._values, self._cancel_values)).encode()).hexdigest()[:8]
        return f"{len(self._values)} measured, median {median(self._values):g} ms ({digest})"


def _read_latencies(path: str) -> list[float]:
    values: list[float] = []
    try:
        with Path(path).open("rb") as file:
            for number, row in enumerate(csv.reader(map(bytes.decode, bounded_lines(file.readline, _LINE_MOST))), 1):
                if not row or not row[0].strip():
                    continue
                try:
                    value = float(row[0])
                except ValueError:
                    if number == 1:
                        continue
                    value = -1.0
                if not 0 <= value <= 3_600_000 or len(values) == _MEASURED_MOST:
                    raise ValueError(
                        f"{path}, line {number}: {row[0]!r:.40}; expected milliseconds from 0 to 3600000, at most "
                        f"{_MEASURED_MOST} lines"
                    )
                values.append(value)
    except (OSError, UnicodeDecodeError, LineTooLong, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    if not values:
        raise ValueError(f"{path}: no latencies; expected a line for each, in milliseconds")
    return values


@define(kw_only=True)
class RandomRejects:
    """A venue that rejects a share of the orders, drawn from their ids, as one does under load."""

    share: float = field(default=0.01, validator=[_number, validators.ge(0), validators.le(1)])

    def reason(self, order: Order, market: MarketView | None, seed: int) -> str:
        """Return why an order is rejected, or nothing."""
        return "the venue is busy" if _share(f"reject {order.id}", seed) < self.share else ""


@define(kw_only=True)
class NoQueue:
    """Nobody is ahead of a resting order."""

    def ahead(self, order: Order, displayed: Decimal | None) -> Decimal:
        """Return 0."""
        return Decimal(0)


@define(kw_only=True)
class ShareOfDisplayed:
    """An order may take a share of what is displayed, because others come for it as well."""

    share: float = field(default=0.5, validator=[_number, validators.gt(0), validators.le(1)])

    def available(self, order: Order, shown: Decimal | None) -> Decimal | None:
        """Return the share of what is displayed."""
        return None if shown is None else shown * Decimal(repr(self.share))


@define(kw_only=True)
class FlatMargin:
    """One tier for positions of any size, whatever the venue's table says."""

    maintenance: float = field(default=0.005, validator=[_number, validators.ge(0), validators.lt(1)])
    leverage_max: int = field(
        default=100, validator=[_number, validators.instance_of(int), validators.ge(1), validators.le(1000)]
    )

    def tiers(self, symbol: str) -> Sequence[MarginTier]:
        """Return it."""
        return (MarginTier(leverage_max=self.leverage_max, maintenance_rate=Decimal(repr(self.maintenance))),)


@define(kw_only=True)
class FixedFunding:
    """The same rate in every window for which none was fetched, as in a backtest on candles alone."""

    each: float = field(default=0.0001, validator=[_number, validators.gt(-1), validators.lt(1)])

    def rate(self, symbol: str, fetched: Decimal | None, window_ns: int) -> Decimal:
        """Return the fetched rate where there is one, else the fixed one."""
        return Decimal(repr(self.each)) if fetched is None else fetched


def load_model(text: str, methods: tuple[str, ...]) -> Any:
    """Return the model that a setting names, ``None`` where it names none.

    Raises ``ValueError`` saying what does not fit: text that is no ``module:Class(name=value)``, a module or class that
    is not there, values it does not take, or a class without these methods.
    """
    if not text:
        return None
    name, bracket, inside = text.partition("(")
    module_name, colon, class_name = name.strip().partition(":")
    if not colon or not class_name.isidentifier():
        raise ValueError(f"{text!r} names no model; expected module:Class or module:Class(name=value)")
    values = _values(text, f"f({inside}" if bracket else "f()")
    try:
        made = _make(getattr(import_module(module_name), class_name), values)
    except Exception as error:
        raise ValueError(f"{text}: {type(error).__name__}: {error}") from None
    missing = [method for method in methods if not callable(getattr(made, method, None))]
    if missing:
        raise ValueError(f"{text}: it has no method {', '.join(missing)}; expected {', '.join(methods)}")
    return made


def _make(cls: Callable[..., Any], values: dict[str, Any]) -> Any:
    return cls(**values)


def _values(text: str, call: str) -> dict[str, Any]:
    try:
        node = ast.parse(call, mode="eval").body
        if not isinstance(node, ast.Call) or node.args or any(one.arg is None for one in node.keywords):
            raise ValueError("values are given by name")
        return {str(one.arg): ast.literal_eval(one.value) for one in node.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(
            f"{text!r}: expected module:Class(name=value, ...) with numbers, True, False, None or text in quotes"
        ) from None
