"""REST bodies: the envelope, candle rows in both volume regimes, contracts and funding."""

import math
from collections.abc import Sequence
from decimal import Decimal, DecimalException
from typing import Final

import msgspec
from attrs import evolve
from lab.domain.instrument import ASSUMED_TIERS, Instrument, MarginTier, check_instrument
from lab.domain.market import BACKFILLED, PRICE_LEAST, PRICE_LIMIT, Candle, Funding, check_candle
from lab.domain.time import MILLISECOND_NS
from lab.domain.venue_clock import TOLERANCE_NS
from lab.errors import ProviderError, ProviderUnavailable

_HOUR_NS: Final = 3_600_000 * MILLISECOND_NS
_TIME_LIMIT_MS: Final = 5 * 10**12
_LEAST: Final = Decimal("1e-18")  # written out, a number with an exponent of millions fills the memory
_MOST: Final = Decimal("1e18")

FEE_TIERS: Final = tuple(
    (Decimal(maker) / 100, Decimal(taker) / 100)
    for maker, taker in (
        ("0.02", "0.06"), ("0.02", "0.05"), ("0.016", "0.05"), ("0.014", "0.04"), ("0.012", "0.0375"),
        ("0.010", "0.035"), ("0.008", "0.0315"), ("0.006", "0.03"), ("0", "0.026"),
    )
)  # fmt: skip
"""Maker and taker rate of VIP 0 to 8, as fractions: the venue's fee page of 2026-09-22, one column for all futures."""


class Envelope(msgspec.Struct):
    """What every REST reply is wrapped in: errors come as HTTP 200 with another code than 0."""

    code: int
    msg: str | None = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class _KlineRow(msgspec.Struct, gc=False):
    time: int
    open: float
    high: float
    low: float
    close: float
    quoteVol: float = 0.0  # noqa: N815 - the wire's name
    baseVol: float = 0.0  # noqa: N815


class PairRow(msgspec.Struct, rename="camel"):
    """One contract. The venue leaves fields out at times: only the symbol is sure."""

    symbol: str
    base: str | None = None
    quote: str | None = None
    min_trade_volume: Decimal | None = None
    max_market_order_volume: Decimal | None = None
    base_precision: int | None = None
    quote_precision: int | None = None
    max_leverage: int | None = None
    symbol_status: str | None = None


class _TierRow(msgspec.Struct, rename="camel"):
    start_value: Decimal
    end_value: Decimal
    maintenance_margin_rate: Decimal
    leverage: int | None = None


class _FundingRow(msgspec.Struct, rename="camel"):
    funding_rate: Decimal
    symbol: str = ""
    mark_price: float | None = None
    last_price: float | None = None
    funding_interval: int | None = None
    next_funding_time: int | None = None


_envelope: Final = msgspec.json.Decoder(Envelope, strict=False)
_raw_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_klines: Final = msgspec.json.Decoder(list[_KlineRow], strict=False)
_kline: Final = msgspec.json.Decoder(_KlineRow, strict=False)
_pair: Final = msgspec.json.Decoder(PairRow, strict=False)
_tiers: Final = msgspec.json.Decoder(list[_TierRow], strict=False)
_funding: Final = msgspec.json.Decoder(_FundingRow, strict=False)

BAD_JSON: Final = (ValueError, RecursionError)
"""What msgspec raises for input that is not what it should be (its own errors are ``ValueError``)."""


def decode_envelope(body: bytes) -> Envelope:
    """Return the envelope. Raises one of `BAD_JSON`."""
    return _envelope.decode(body)


def coin_volume(quote_vol: float, base_vol: float, low: float, high: float) -> float:
    """Return the volume in coins, whichever of the two fields holds it.

    The venue swapped the fields' meaning between 2026-09-15 and 2026-09-20, so the value decides: turnover divided by
    coins must be a price within 0.1 % of ``[low, high]``. Where both ways fit (a coin near 1), the meaning of today
    holds: ``baseVol`` is the coin. Where neither does (rounding of a tiny volume), the nearer one is taken.
    """
    if quote_vol == base_vol:
        return base_vol
    if not (quote_vol and base_vol):  # one was rounded away: the one that counts the dearer unit
        return min(quote_vol, base_vol) if low >= 1.0 else max(quote_vol, base_vol)
    if low * 0.999 <= quote_vol / base_vol <= high * 1.001:
        return base_vol
    if low * 0.999 <= base_vol / quote_vol <= high * 1.001:
        return quote_vol
    # |log(a/b) - log(price)| against |log(b/a) - log(price)|
    ratio, price = math.log(quote_vol) - math.log(base_vol), math.log(low)
    return base_vol if abs(ratio - price) <= abs(ratio + price) else quote_vol


def decode_candles(data: bytes, symbol: str, interval_ns: int) -> tuple[list[Candle], list[tuple[str, bytes]]]:
    """Return the good candles, in the order of the rows, and (reason, sample) of each row that is none.

    Each candle's ``time_ns`` is its bucket's end and its status ``backfilled``; the open one is still among them.
    Raises one of `BAD_JSON` when the rows are not a list.
    """
    bad: list[tuple[str, bytes]] = []
    try:
        rows = _klines.decode(data)
    except BAD_JSON:
        rows = _decode_each(data, bad)
    candles = []
    for row in rows:
        candle = _candle(row, symbol, interval_ns)
        if isinstance(candle, Candle):
            candles.append(candle)
        else:
            bad.append((candle, msgspec.json.encode(row)))
    return candles, bad


def _decode_each(data: bytes, bad: list[tuple[str, bytes]]) -> list[_KlineRow]:
    rows = []
    for raw in _raw_list.decode(data):
        try:
            rows.append(_kline.decode(raw))
        except BAD_JSON as error:
            bad.append((f"kline row: {error}", bytes(raw)))
    return rows


def _candle(row: _KlineRow, symbol: str, interval_ns: int) -> Candle | str:
    open_ns = row.time * MILLISECOND_NS
    if not 0 < row.time < _TIME_LIMIT_MS or open_ns % interval_ns:
        return f"kline row: time {row.time} is not the start of a candle"
    for volume in (row.quoteVol, row.baseVol):
        if not 0.0 <= volume < 1e18:
            return f"kline row: volume {volume!r} is not a volume"
    candle = Candle(symbol, open_ns, open_ns + interval_ns, row.open, row.high, row.low, row.close, 0.0, BACKFILLED)
    reason = check_candle(candle)
    if reason is not None:
        return f"kline row: {reason}"
    return candle._replace(volume=coin_volume(row.quoteVol, row.baseVol, row.low, row.high))


def closed_by(candles: Sequence[Candle], date_ns: int | None, *, first: bool, newest: bool) -> int:
    """Return the time by which a row's candle must have ended to count as closed, while no frame has told the time.

    The ``Date`` header, which may be wrong, is all there is. So the newest row of the first page never counts where the
    venue's newest were asked for: it is usually the open candle. Where an end was given, it counts if it ended an
    interval and 5 s before that date.
    """
    last = max(candles, key=lambda candle: candle.open_ns)
    date_ns = last.open_ns if date_ns is None and first else date_ns
    if date_ns is None:
        return last.time_ns
    length_ns = last.time_ns - last.open_ns
    if first and (newest or last.time_ns + length_ns + TOLERANCE_NS > date_ns):
        return min(date_ns, last.open_ns)
    return date_ns


def decode_pairs(data: bytes) -> list[PairRow]:
    """Return the contracts whose rows can be read. Raises one of `BAD_JSON` when the rows are not a list."""
    pairs = []
    for raw in _raw_list.decode(data):
        try:
            pairs.append(_pair.decode(raw))
        except BAD_JSON:
            continue  # one unreadable contract must not hide the others
    return pairs


def instrument_of(row: PairRow, vip: int) -> Instrument:
    """Return the contract's steps and fees.

    Raises `ProviderError` for what lab can't trade, and `ProviderUnavailable` when the reply lacks the steps.
    """
    if row.symbol_status not in {None, "OPEN"}:
        raise ProviderError(
            f"bitunix: {row.symbol:.40} is {row.symbol_status:.40}, not OPEN; choose a symbol that trades"
        )
    if row.quote == "USD":
        raise ProviderError(
            f"bitunix: {row.symbol:.40} is a coin-margined (inverse) contract; choose a USDT or USDC one"
        )
    places = (row.base_precision, row.quote_precision)
    if any(place is None or not 0 <= place <= 18 for place in places):
        raise ProviderUnavailable(f"bitunix: trading_pairs gives {row.symbol:.40} no usable precision: {places!s:.60}")
    lot, tick = (Decimal(1).scaleb(-place) for place in places if place is not None)
    quantity_min = _positive(row.min_trade_volume) or lot
    maker, taker = FEE_TIERS[vip]
    return Instrument(
        symbol=row.symbol,
        base=row.base or row.symbol.removesuffix("USDT").removesuffix("USDC"),
        quote=row.quote or ("USDC" if row.symbol.endswith("USDC") else "USDT"),
        tick=tick,
        lot=lot,
        quantity_min=quantity_min,
        maker_fee_rate=maker,
        taker_fee_rate=taker,
        quantity_max=_positive(row.max_market_order_volume),
        leverage_max=row.max_leverage if row.max_leverage and 0 < row.max_leverage <= 1000 else None,
        origin=f"tick {tick:f}, lot {lot:f}, smallest quantity {quantity_min:f} (the venue's listing)",
    )


def with_tiers(instrument: Instrument, reply: bytes | str) -> Instrument:
    """Return the contract with the margin tiers of a reply; with those assumed where it has none that can be used.

    A text says why no reply came. The venue's rate counts for the whole notional, and its last tier has no end here: a
    position beyond it needs the rate of that tier.
    """
    try:
        if isinstance(reply, str):
            raise ValueError(reply)
        rows = sorted(_tiers.decode(reply), key=lambda row: row.start_value)
        tiers = tuple(
            MarginTier(
                notional_from=row.start_value,
                notional_to=row.end_value if number < len(rows) else None,
                leverage_max=row.leverage,
                maintenance_rate=row.maintenance_margin_rate,
            )
            for number, row in enumerate(rows, 1)
        )
        known = evolve(instrument, tiers=tiers)
        problem = check_instrument(known)
        if problem is not None:
            raise ValueError(problem)
    except (*BAD_JSON, DecimalException) as error:
        why = " ".join(str(error).split())[:100]
        text = f"maintenance margin {_percent(ASSUMED_TIERS[0].maintenance_rate)} assumed: {why}"
        return evolve(instrument, origin=f"{instrument.origin}; {''.join(c for c in text if c.isprintable())}")
    text = f"maintenance margin from {_percent(tiers[0].maintenance_rate)} on"
    return evolve(known, origin=f"{instrument.origin}; {text}")


def _percent(rate: Decimal) -> str:
    return f"{(100 * rate).normalize():f} %"


def _positive(value: Decimal | None) -> Decimal | None:
    return value if value is not None and value.is_finite() and _LEAST <= value < _MOST else None


def decode_funding(data: bytes, symbol: str, now_ns: int) -> Funding:
    """Return the current rate as a fraction; the wire has percent, in an object or in a list of one.

    Without a time of the next settlement, it is the next multiple of the period (8 h unless given) in UTC.
    Raises one of `BAD_JSON`.
    """
    raw: bytes | msgspec.Raw = data
    if data.lstrip()[:1] == b"[":
        rows = _raw_list.decode(data)
        if not rows:
            raise ValueError("funding_rate: an empty list")
        raw = rows[0]
    row = _funding.decode(raw)
    try:
        rate = float(row.funding_rate.scaleb(-2))
    except DecimalException as error:
        raise ValueError(f"funding_rate: {row.funding_rate:.20} is not a rate ({error!r:.60})") from None
    if not -0.5 < rate < 0.5:
        raise ValueError(f"funding_rate: {row.funding_rate:.20} percent is not a rate")
    mark = row.mark_price if row.mark_price is not None else row.last_price
    if mark is None or not PRICE_LEAST <= mark < PRICE_LIMIT:
        raise ValueError(f"funding_rate: mark price {mark!r} is not a price")
    next_ms = row.next_funding_time
    if next_ms is not None and 0 < next_ms < _TIME_LIMIT_MS:
        next_ns = next_ms * MILLISECOND_NS
    else:
        hours = row.funding_interval
        period_ns = (hours if hours is not None and 0 < hours <= 24 else 8) * _HOUR_NS
        next_ns = (now_ns // period_ns + 1) * period_ns
    return Funding(symbol, now_ns, rate, next_ns, mark)
