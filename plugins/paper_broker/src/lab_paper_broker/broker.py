"""The broker ``paper``: orders arrive after a latency and fill at real prices. Same orders and data, same fills."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

from attrs import Attribute, define, field, setters, validators
from lab import (
    MILLISECOND_NS,
    Accepted,
    Broker,
    Feature,
    Fill,
    Input,
    Instrument,
    MarginTier,
    MarketView,
    Order,
    OrderType,
    Rejected,
)
from lab.domain.orders import Report

from lab_paper_broker.arrivals import Arrivals
from lab_paper_broker.candle_market import CANDLES_TO_EXPIRE
from lab_paper_broker.desk import Desk, Models
from lab_paper_broker.models import FundingRates, Margin, load_model
from lab_paper_broker.terms import Terms

_BPS: Final = Decimal(10_000)
_PLACES: Final = 18


def _fee(instance: Any, attribute: "Attribute[Decimal | None]", value: Decimal | None) -> None:
    lowest = Decimal("-0.05") if attribute.name == "maker_fee" else Decimal(0)
    if value is not None and not lowest <= value < Decimal("0.05"):
        raise ValueError(
            f"{attribute.name} must be a fraction from {lowest} to under 0.05 (0.0006 is 0.06 %), not {value}"
        )
    _check_places(attribute.name, value)


def _bps(instance: Any, attribute: "Attribute[Decimal]", value: Decimal) -> None:
    if not 0 <= value < 1_000:
        raise ValueError(f"{attribute.name} must be from 0 to under 1000 basis points (1 is 0.01 %), not {value}")
    _check_places(attribute.name, value)


def _check_places(name: str, value: Decimal | None) -> None:
    """Refuse more decimals than money is kept with: a fee would be rounded, and the books would not balance."""
    places = value.as_tuple().exponent if value is not None else 0
    if isinstance(places, int) and places < -_PLACES:
        raise ValueError(f"{name} must have at most {_PLACES} decimals, not {-places}")


def _model(*methods: str) -> Callable[[Any, "Attribute[str]", str], None]:
    """Return a validator of a setting that names a model with these methods."""

    def check(instance: Any, attribute: "Attribute[str]", value: str) -> None:
        try:
            load_model(value, methods)
        except ValueError as error:
            raise ValueError(f"{attribute.name}: {error}") from error

    return check


_MS: Final = validators.and_(validators.ge(0), validators.le(604_800_000))
_LATENCY: Final = ("submit_ns", "cancel_ns")


# NO_OP: attrs would otherwise take each assignment of the state through Python, which costs more than the broker.
@define(kw_only=True, on_setattr=setters.NO_OP)
class PaperBroker(Broker):
    """Fills orders on real prices and displayed sizes; the rules are in `on_quotes` and `on_candles` beside this.

    What a strategy sends arrives ``latency_ms`` ± jitter later, in the order it was sent; cancels and amendments lose
    the race against a fill that comes first. An order meets the quote in force when it arrives; where that is older
    than ``stale_ms``, the first one after it. It takes what is displayed, level by level where there is depth, and only
    once: the rest works on under its time in force. A market order that meets no quote within ``expire_ms`` of its
    arrival expires (without quotes: one whose first candle closes more than two candles after it).

    Candles count only for symbols of which this broker never saw a quote; all orders of a run share a candle's volume,
    where the candles have one.
    """

    latency_ms: int = field(
        default=200, validator=_MS, metadata={"help": "milliseconds from order to arrival at the venue"}
    )
    jitter_ms: int = field(
        default=20,
        validator=_MS,
        metadata={"help": "latency varies by up to this much either way, seeded; at most the latency itself"},
    )
    cancel_latency_ms: int | None = field(
        default=None,
        validator=validators.optional(_MS),
        metadata={"help": "milliseconds from a cancel or amendment to its arrival; not set = latency_ms"},
    )
    feed_ms: int = field(
        default=0,
        validator=_MS,
        metadata={"help": "milliseconds market data takes to reach the strategy, added to the way of all it sends"},
    )
    maker_fee: Decimal | None = field(
        default=None,
        validator=_fee,
        metadata={"help": "fraction of the notional, 0 = free; not set = the venue's rate"},
    )
    taker_fee: Decimal | None = field(
        default=None,
        validator=_fee,
        metadata={"help": "fraction of the notional, 0 = free; not set = the venue's rate"},
    )
    slippage_bps: Decimal = field(
        default=Decimal(1),
        validator=_bps,
        metadata={"help": "basis points lost on a candle's price, where there are no quotes; more for large orders"},
    )
    quote_slippage_bps: Decimal = field(
        default=Decimal(0),
        validator=_bps,
        metadata={"help": "basis points lost beyond the touch of a quote; more for large orders"},
    )
    stale_ms: int = field(
        default=5_000,
        validator=[validators.gt(0), validators.le(86_400_000)],
        metadata={
            "help": "a quote older than this when an order arrives is not in force: the order waits for the next"
        },
    )
    expire_ms: int = field(
        default=60_000,
        validator=[validators.gt(0), validators.le(86_400_000)],
        metadata={"help": "a market order that meets no fresh quote within this time of its arrival expires"},
    )
    liquidity: Literal["displayed", "unlimited"] = field(
        default="displayed",
        validator=validators.in_(("displayed", "unlimited")),
        metadata={"help": "whether orders take no more than is displayed or traded in a candle, or all they want"},
    )
    candle_share: Decimal = field(
        default=Decimal(1),
        validator=[validators.gt(Decimal(0)), validators.le(Decimal(1))],
        metadata={"help": "fraction of a candle's volume that the orders of a run may take together"},
    )
    fills: Literal["pessimistic", "expected", "optimistic"] = field(
        default="expected",
        validator=validators.in_(("pessimistic", "expected", "optimistic")),
        metadata={"help": "what is assumed where a candle cannot tell the price of a fill"},
    )
    latency_model: str = field(
        default="", validator=_model(*_LATENCY), metadata={"help": "a model of latency, as module:Class(name=value)"}
    )
    fee_model: str = field(
        default="", validator=_model("rate"), metadata={"help": "a model of fees, as module:Class(name=value)"}
    )
    slippage_model: str = field(
        default="", validator=_model("fraction"), metadata={"help": "a model of slippage, as module:Class(name=value)"}
    )
    liquidity_model: str = field(
        default="",
        validator=_model("available"),
        metadata={"help": "a model of how much of what is displayed can be had, as module:Class(name=value)"},
    )
    queue_model: str = field(
        default="",
        validator=_model("ahead"),
        metadata={"help": "a model of the queue before a resting order, as module:Class(name=value)"},
    )
    reject_model: str = field(
        default="",
        validator=_model("reason"),
        metadata={"help": "a model of the venue's rejects, as module:Class(name=value)"},
    )
    margin_model: str = field(
        default="",
        validator=_model("tiers"),
        metadata={"help": "a model of margin in place of the venue's tiers, as module:Class(name=value)"},
    )
    funding_model: str = field(
        default="",
        validator=_model("rate"),
        metadata={"help": "a model of funding in place of the fetched rates, as module:Class(name=value)"},
    )

    _models: Models = field(init=False)
    _margin: Margin | None = field(init=False)
    _funding: FundingRates | None = field(init=False)
    _desk: Desk = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._models = Models(
            load_model(self.latency_model, _LATENCY),
            load_model(self.liquidity_model, ("available",)),
            load_model(self.queue_model, ("ahead",)),
            load_model(self.reject_model, ("reason",)),
        )
        self._margin = load_model(self.margin_model, ("tiers",))
        self._funding = load_model(self.funding_model, ("rate",))
        self.open({}, 0)

    def order_types(self) -> frozenset[OrderType]:
        """Every type there is."""
        return frozenset(OrderType)

    def features(self) -> frozenset[Feature]:
        """Every feature there is."""
        return frozenset(Feature)

    def open(self, instruments: Mapping[str, Instrument], seed: int) -> None:
        """Learn the instruments and the seed of what is drawn."""
        cancel_ms = self.latency_ms if self.cancel_latency_ms is None else self.cancel_latency_ms
        arrivals = Arrivals(
            (self.feed_ms + self.latency_ms) * MILLISECOND_NS,
            min(self.jitter_ms, self.latency_ms) * MILLISECOND_NS,
            (self.feed_ms + cancel_ms) * MILLISECOND_NS,
            self._models.latency,
        )
        terms = {symbol: self._terms_of(instrument) for symbol, instrument in instruments.items()}
        self._desk = Desk(
            terms, seed, arrivals, self.expire_ms, self.stale_ms, self.candle_share, self.liquidity == "unlimited",
            self._models,
        )  # fmt: skip

    def attach(self, market: MarketView) -> None:
        """Learn where to look up the market."""
        self._desk.attach(market)

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Take an order; reject an unknown symbol or type, an id that works already, and prices that are missing."""
        return self._desk.submit(order, now_ns)

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        """Send a cancel after a working order."""
        return self._desk.cancel(order_id, now_ns)

    def forget(self, order_id: str) -> None:
        """Drop an order at once."""
        self._desk.forget(order_id)

    def amend(self, order: Order, now_ns: int) -> Accepted | Rejected:
        """Send an amendment after a working order."""
        return self._desk.amend(order, now_ns)

    def observe(self, event: Input) -> Sequence[Fill | Report]:
        """Apply an event of the market to the working orders, in the order they were submitted."""
        return self._desk.observe(event)

    def idle(self, symbol: str) -> tuple[float, float, int] | None:
        """Return between which prices, and until when, nothing can happen to a symbol's orders."""
        return self._desk.idle(symbol)

    def margin_tiers(self, symbol: str) -> Sequence[MarginTier] | None:
        """Return the tiers of the margin model, where there is one."""
        return None if self._margin is None else self._margin.tiers(symbol)

    def funding_rate(self, symbol: str, fetched: Decimal | None, window_ns: int) -> Decimal | None:
        """Return the rate of the funding model, where there is one, else the fetched one."""
        return fetched if self._funding is None else self._funding.rate(symbol, fetched, window_ns)

    def describe(self, instrument: Instrument) -> Mapping[str, str]:
        """Return the effective fee rates, latency, slippage, liquidity, expiry, and the models of money as text."""
        terms = self._terms_of(instrument)
        models = {"margin": self.margin_model, "funding": self.funding_model}
        return {
            "taker": self.fee_model or _percent(terms.taker),
            "maker": self.fee_model or _percent(terms.maker),
            "latency": self._latency_text(),
            "slippage": self.slippage_model
            or f"{self.quote_slippage_bps} bps beyond the touch, {self.slippage_bps} bps on candle prices",
            "liquidity": self._liquidity_text(),
            "without quotes": f"the next candle's open; {self.fills} fills",
            "expiry": f"market orders {self.expire_ms} ms after arrival, {CANDLES_TO_EXPIRE} candles without quotes",
            **{name: model for name, model in models.items() if model},
        }

    def _latency_text(self) -> str:
        model = self._models.latency
        if model is not None:
            return f"{self.latency_model}: {model}"
        jitter_ms = min(self.jitter_ms, self.latency_ms)
        text = f"{self.latency_ms} ms ± {jitter_ms} ms"
        if self.cancel_latency_ms is not None and self.cancel_latency_ms != self.latency_ms:
            text += f", cancels {self.cancel_latency_ms} ms"
        return f"{text}, feed {self.feed_ms} ms" if self.feed_ms else text

    def _liquidity_text(self) -> str:
        if self.liquidity == "unlimited":
            return "unlimited"
        text = "what is displayed, once"
        if self.candle_share != 1:
            text += f"; {(self.candle_share * 100).normalize():f} % of a candle's volume"
        others = [one for one in (self.liquidity_model, self.queue_model, self.reject_model) if one]
        return "; ".join([text, *others])

    def _terms_of(self, instrument: Instrument) -> Terms:
        return Terms(
            instrument,
            instrument.maker_fee_rate if self.maker_fee is None else self.maker_fee,
            instrument.taker_fee_rate if self.taker_fee is None else self.taker_fee,
            self.slippage_bps / _BPS,
            self.quote_slippage_bps / _BPS,
            self.fills,
            load_model(self.fee_model, ("rate",)),
            load_model(self.slippage_model, ("fraction",)),
        )


def _percent(rate: Decimal) -> str:
    """Return a fraction as percent, with four decimals or as many as it has."""
    percent = (rate * 100).normalize()
    exponent = percent.as_tuple().exponent
    digits = max(4, -exponent) if isinstance(exponent, int) else 4
    return f"{percent:.{digits}f} %"
