"""The broker ``paper``: orders arrive after a latency and fill at real prices. Same orders and data, same fills."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal

from attrs import Attribute, define, field, setters, validators
from lab import Broker, Instrument, OrderType

from lab_paper_broker.matcher import CANDLES_TO_EXPIRE, Matcher
from lab_paper_broker.rules import Terms

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


# NO_OP: attrs would otherwise take each assignment of the state through Python, which costs more than the broker.
@define(kw_only=True, on_setattr=setters.NO_OP)
class PaperBroker(Matcher, Broker):
    """Fills whole orders on real prices; the rules are in `lab_paper_broker.rules`.

    An order arrives ``latency_ms`` ± jitter after it was sent; a strategy's orders arrive in the order they were sent.
    The first fresh price at or after the arrival counts. A market order whose first fresh quote comes more than
    ``expire_ms`` after the arrival (without quotes: whose first candle closes more than two candles after it) expires.
    Limit orders work until cancelled.

    Candles count only for symbols of which this broker never saw a quote.
    """

    latency_ms: int = field(
        default=200, validator=validators.ge(0), metadata={"help": "milliseconds from order to arrival at the venue"}
    )
    jitter_ms: int = field(
        default=20,
        validator=validators.ge(0),
        metadata={"help": "latency varies by up to this much either way, seeded; at most the latency itself"},
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
        metadata={"help": "basis points lost on a candle's price, where there are no quotes"},
    )
    quote_slippage_bps: Decimal = field(
        default=Decimal(0), validator=_bps, metadata={"help": "basis points lost beyond the touch of a quote"}
    )
    expire_ms: int = field(
        default=5_000,
        validator=validators.gt(0),
        metadata={"help": "a market order expires when its first fresh quote comes later than this after its arrival"},
    )

    fills: Literal["pessimistic", "expected", "optimistic"] = field(
        default="expected",
        validator=validators.in_(("pessimistic", "expected", "optimistic")),
        metadata={"help": "what is assumed where a candle cannot tell the price of a fill"},
    )

    def __attrs_post_init__(self) -> None:
        Matcher.__init__(self, latency_ms=self.latency_ms, jitter_ms=self.jitter_ms, expire_ms=self.expire_ms)

    def order_types(self) -> frozenset[OrderType]:
        """Market and limit orders."""
        return frozenset({OrderType.MARKET, OrderType.LIMIT})

    def open(self, instruments: Mapping[str, Instrument], seed: int) -> None:
        """Learn the instruments and the seed of the jitter."""
        self._begin({symbol: self._terms_of(instrument) for symbol, instrument in instruments.items()}, seed)

    def describe(self, instrument: Instrument) -> Mapping[str, str]:
        """Return the effective fee rates, latency, slippage and expiry as text."""
        terms = self._terms_of(instrument)
        jitter_ms = min(self.jitter_ms, self.latency_ms)
        return {
            "taker": _percent(terms.taker),
            "maker": _percent(terms.maker),
            "latency": f"{self.latency_ms} ms ± {jitter_ms} ms",
            "slippage": f"{self.quote_slippage_bps} bps beyond the touch, {self.slippage_bps} bps on candle prices",
            "without quotes": f"the next candle's open; {self.fills} fills",
            "expiry": f"market orders {self.expire_ms} ms after arrival, {CANDLES_TO_EXPIRE} candles without quotes",
        }

    def _terms_of(self, instrument: Instrument) -> Terms:
        return Terms(
            instrument,
            instrument.maker_fee_rate if self.maker_fee is None else self.maker_fee,
            instrument.taker_fee_rate if self.taker_fee is None else self.taker_fee,
            self.slippage_bps / _BPS,
            self.quote_slippage_bps / _BPS,
            self.fills,
        )


def _percent(rate: Decimal) -> str:
    """Return a fraction as percent, with four decimals or as many as it has."""
    percent = (rate * 100).normalize()
    exponent = percent.as_tuple().exponent
    digits = max(4, -exponent) if isinstance(exponent, int) else 4
    return f"{percent:.{digits}f} %"
