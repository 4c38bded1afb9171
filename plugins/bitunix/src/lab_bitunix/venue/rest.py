"""The REST endpoints: what each answers, as data. Faults of the transport are the gateway's."""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from attrs import define, field
from lab.domain.time import MILLISECOND_NS, SECOND_NS

from lab_bitunix.venue.book import LEVELS_MOST, levels
from lab_bitunix.venue.intervals import REST_INTERVALS, Interval
from lab_bitunix.venue.market import Bar, Contract, Market
from lab_bitunix.venue.params import Params, Refused, required, time_of, whole
from lab_bitunix.venue.text import as_numbers, milliseconds, number
from lab_bitunix.venue.world import FUNDING_NS, HISTORY_START_NS, World

Row = dict[str, Any]

ROWS_DEFAULT: Final = 100
ROWS_MOST: Final = 200
ROW_DELAY_S: Final = 1.0
PREFIX: Final = "/api/v1/futures/"
_PRICE_TYPES: Final = ("LAST_PRICE", "MARK_PRICE")
_DEPTH_LIMITS: Final = ("1", "5", "15", "50", "max")
_LATE_PAIR_FIELDS: Final = ("isApiSupported", "maxFundingRate", "minFundingRate", "launchTime")
_LATE_FUNDING_FIELDS: Final = ("indexPrice", "maxFundingRate", "minFundingRate")
_FUNDING_2025: Final = ("symbol", "markPrice", "lastPrice", "fundingRate")


@define(eq=False)
class Rest:
    """Answers calls from the world. ``calls`` counts them by path."""

    world: World
    calls: dict[str, int] = field(init=False, factory=dict)
    _random: Random = field(init=False)
    _routes: dict[str, Callable[[Params, int], Any]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = Random(f"{self.world.seed}/rest")
        self._routes = {
            "market/kline": self._kline,
            "market/tickers": self._tickers,
            "market/depth": self._depth,
            "market/trading_pairs": self._trading_pairs,
            "market/funding_rate": self._funding_rate,
            "market/funding_rate/batch": self._funding_batch,
            "market/get_funding_rate_history": self._funding_history,
            "position/get_position_tiers": self._position_tiers,
        }

    def answer(self, path: str, params: Params, now_ns: int) -> Row:
        """Return the envelope. Application errors and unknown paths are envelopes too, as at the venue."""
        self.calls[path] = self.calls.get(path, 0) + 1
        route = self._routes.get(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
        if route is None:
            return self.error(404, "Not Found", now_ns)
        try:
            code, share = self.world.faults.value("error", self.world.elapsed_s(now_ns), (0, 0.0))
            if code and self._random.random() < share:
                raise Refused(code, "request too frequently" if code in {10005, 10006} else "System error")
            data = route(params, now_ns)
        except Refused as refused:
            return self.error(refused.code, refused.message, now_ns)
        if self.world.faults.value("numbers", self.world.elapsed_s(now_ns), "string") == "number":
            data = as_numbers(data)
        envelope = {"code": self._code(0, now_ns), "data": data, "msg": "Success"}
        # The key order varies at the venue too.
        return dict(sorted(envelope.items(), key=lambda item: item[0] == "data")) if "tickers" in path else envelope

    def error(self, code: int, message: str, now_ns: int) -> Row:
        """Return the envelope of an application error."""
        return {"code": self._code(code, now_ns), "data": None, "msg": message}

    def _code(self, code: int, now_ns: int) -> int | str:
        kind = self.world.faults.value("codes", self.world.elapsed_s(now_ns), "int")
        return str(code) if kind == "string" else code

    # Candles

    def _kline(self, params: Params, now_ns: int) -> list[Row]:
        market = self._market(required(params, "symbol"))
        interval = REST_INTERVALS.get(required(params, "interval"))
        kind = params.get("type", _PRICE_TYPES[0])
        if kind not in _PRICE_TYPES:
            raise Refused(10008, f"Parameter value not allowed, type must be one of {', '.join(_PRICE_TYPES)}")
        start_ns, end_ns = time_of(params, "startTime", 0), time_of(params, "endTime", now_ns + 1)
        limit = min(whole(params, "limit", ROWS_DEFAULT), ROWS_MOST)
        at_s, faults = self.world.elapsed_s(now_ns), self.world.faults
        if interval is None or market.contract.status != "OPEN" or faults.strikes("empty", at_s, self._random):
            return []
        delay_ns = faults.value("row_delay", at_s, ROW_DELAY_S) * SECOND_NS
        newest = interval.open_of(now_ns)
        if now_ns - newest < delay_ns:
            newest = interval.before(newest)
        newest = min(newest, interval.open_of(end_ns - 1))
        mark = kind == "MARK_PRICE"
        rows: list[Row] = []
        oldest = max(start_ns, HISTORY_START_NS)
        while newest >= oldest and len(rows) < limit:
            if not self._missing(interval, newest):
                rows.append(self._kline_row(market, interval, newest, now_ns, mark=mark))
            newest = interval.before(newest)
        return rows

    def _missing(self, interval: Interval, open_ns: int) -> bool:
        hole = self.world.faults.active("hole", self.world.elapsed_s(open_ns))
        number_of_row = open_ns // (interval.length_ns or 1)
        return hole is not None and bool(number_of_row % hole.value == 0)

    def _kline_row(self, market: Market, interval: Interval, open_ns: int, now_ns: int, *, mark: bool) -> Row:
        world, at_s = self.world, self.world.elapsed_s(now_ns)
        end_ns = interval.after(open_ns)
        if 0 <= now_ns - end_ns < world.faults.value("revise", at_s, 0.0) * SECOND_NS:
            now_ns = end_ns - (end_ns - open_ns) // 60
        bar = world.bar(market, interval, open_ns, now_ns, mark=mark)
        shape = world.faults.value("kline", at_s, "wire")
        digits = market.contract.price_digits
        o, h, l, c = (number(value, digits) for value in bar[:4])  # noqa: E741
        quote_volume, base_volume = number(bar.turnover, 5), number(bar.coins, market.contract.size_digits)
        if world.faults.value("volume", at_s, "new") == "old":
            quote_volume, base_volume = base_volume, quote_volume
        volumes = {"quoteVol": quote_volume, "baseVol": base_volume}
        if shape == "wire":
            return {"open": o, "high": h, "low": l, "close": c, **volumes, "time": milliseconds(open_ns)}
        time, kind = open_ns // MILLISECOND_NS, _PRICE_TYPES[mark]
        if shape == "docs":
            return {"open": o, "high": h, "close": c, "low": l, "time": time, **volumes, "type": kind}
        prices = as_numbers({"open": o, "high": h, "close": c, "low": l})
        return {**prices, "time": time, **volumes, "type": kind}

    # Prices and contracts

    def _tickers(self, params: Params, now_ns: int) -> list[Row]:
        listed = [self.world.markets[c.symbol] for c in self._listed(params) if c.status != "PREVIEW"]
        return [self._ticker_row(market, self.world.day(market, now_ns), now_ns) for market in listed]

    def _ticker_row(self, market: Market, day: Bar, now_ns: int) -> Row:
        contract = market.contract
        digits = contract.price_digits
        last = number(market.last_at(now_ns), digits)
        return {
            "symbol": contract.symbol,
            "markPrice": number(market.mark_at(now_ns), digits),
            "lastPrice": last,
            "open": number(day.open, digits),
            "last": last,
            "quoteVol": number(day.turnover, 5),
            "baseVol": number(day.coins, contract.size_digits),
            "high": number(day.high, digits),
            "low": number(day.low, digits),
        }

    def _depth(self, params: Params, now_ns: int) -> Row:
        market = self._market(required(params, "symbol").upper())
        limit = params.get("limit", "max")
        if limit not in _DEPTH_LIMITS:
            raise Refused(10008, f"Parameter value not allowed, limit must be one of {', '.join(_DEPTH_LIMITS)}")
        if market.contract.status != "OPEN":
            return {"asks": [], "bids": []}
        bids, asks = levels(market, now_ns, LEVELS_MOST if limit == "max" else int(limit))
        return {"asks": asks, "bids": bids}

    def _trading_pairs(self, params: Params, now_ns: int) -> list[Row]:
        at_s = self.world.elapsed_s(now_ns)
        docs = self.world.faults.value("pairs", at_s, "wire") == "docs"
        era = self.world.faults.value("no_optional", at_s, "")
        return [_pair_row(contract, docs=docs, era=era) for contract in self._listed(params)]

    def _position_tiers(self, params: Params, now_ns: int) -> list[Row]:
        symbol = self._market(required(params, "symbol")).contract.symbol
        ladder = ((0, 50_000, 125, "0.004"), (50_000, 200_000, 100, "0.005"))  # the documentation's sample
        return [
            {
                "symbol": symbol,
                "level": level,
                "startValue": str(start),
                "endValue": str(end),
                "leverage": leverage,
                "maintenanceMarginRate": rate,
            }
            for level, (start, end, leverage, rate) in enumerate(ladder, 1)
        ]

    # Funding

    def _funding_rate(self, params: Params, now_ns: int) -> Any:
        row = self._funding_row(self._market(required(params, "symbol")), now_ns)
        shape = self.world.faults.value("funding", self.world.elapsed_s(now_ns), "object")
        return [row] if shape == "list" else row

    def _funding_batch(self, params: Params, now_ns: int) -> list[Row]:
        return [self._funding_row(market, now_ns) for market in self.world.markets.values()]

    def _funding_row(self, market: Market, now_ns: int) -> Row:
        digits, listed = market.contract.price_digits, market.contract.status == "OPEN"
        # Contracts that do not trade have rate 0 and a recent time that is no settlement.
        next_ns = now_ns - now_ns % FUNDING_NS + FUNDING_NS if listed else now_ns - 977 * SECOND_NS
        row = {
            "symbol": market.contract.symbol,
            "markPrice": number(market.mark_at(now_ns), digits),
            "lastPrice": number(market.last_at(now_ns), digits),
            "indexPrice": number(market.index_at(now_ns), digits) if listed else None,
            "fundingRate": number(self.world.estimated_percent(now_ns), 5) if listed else "0",
            "fundingInterval": 8,
            "nextFundingTime": milliseconds(next_ns),
            "maxFundingRate": "0.3",
            "minFundingRate": "-0.3",
        }
        era = self.world.faults.value("no_optional", self.world.elapsed_s(now_ns), "")
        if era == "2026":
            return {key: value for key, value in row.items() if key not in _LATE_FUNDING_FIELDS}
        return {key: row[key] for key in _FUNDING_2025} if era else row

    def _funding_history(self, params: Params, now_ns: int) -> list[Row]:
        market = self._market(required(params, "symbol"))
        start_ns = max(time_of(params, "starTime", 0), HISTORY_START_NS)
        end_ns = min(time_of(params, "endTime", now_ns), now_ns)
        limit = min(whole(params, "limit", ROWS_DEFAULT), ROWS_MOST)
        newest = end_ns - end_ns % FUNDING_NS
        times = range(newest, start_ns - 1, -FUNDING_NS)[:limit]
        return [
            {
                "fundingRate": number(self.world.settled_percent(time_ns) / 100, 8),
                "fundingTime": milliseconds(time_ns),
                "markPrice": number(market.mark_at(time_ns), market.contract.price_digits),
            }
            for time_ns in times
        ]

    # Parameters

    def _market(self, symbol: str) -> Market:
        market = self.world.markets.get(symbol)
        if market is None or market.contract.status == "STOP":
            raise Refused(20015, "this Futures is not allowed to trade.")
        return market

    def _listed(self, params: Params) -> list[Contract]:
        wanted = params.get("symbols")
        contracts = self.world.contracts.values()
        return [c for c in contracts if not wanted or c.symbol in wanted.split(",")]


def _pair_row(contract: Contract, *, docs: bool, era: str) -> Row:
    row: Row = {
        "symbol": contract.symbol,
        "base": contract.base,
        "quote": contract.quote,
        "minTradeVolume": number(10.0**-contract.size_digits, contract.size_digits),
        "minBuyPriceOffset": "-0.5",
        "maxSellPriceOffset": "100",
        "maxLimitOrderVolume": "1000",
        "maxMarketOrderVolume": "120",
        "basePrecision": contract.size_digits,
        "quotePrecision": contract.price_digits,
        "minLeverage": 1,
        "maxLeverage": 200,
        "defaultLeverage": 20,
        "defaultMarginMode": 1 if docs else "2",
        "priceProtectScope": "0.02",
        "symbolStatus": contract.status,
        "isApiSupported": True,
        "maxFundingRate": "0.3",
        "minFundingRate": "-0.3",
        "launchTime": None,
    }
    if docs:
        del row["launchTime"]
    if era == "all":
        return {"symbol": contract.symbol}
    return {key: value for key, value in row.items() if key not in _LATE_PAIR_FIELDS} if era else row
