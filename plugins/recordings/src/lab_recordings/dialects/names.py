"""What the columns of candle files are called, by whoever writes them."""

import re
from collections.abc import Sequence
from typing import Final

TIMES: Final = (
    "unix", "unixtimestamp", "unixtime", "timestamp", "timestampms", "timestamputc", "opentime", "opentimestamp",
    "opendate", "openat", "time", "datetime", "datetimeutc", "dateutc", "timeutc", "date", "gmttime", "localtime",
    "utctime", "utc", "startat", "starttime", "starttimestamp", "startdate", "start", "timestart", "timeperiodstart",
    "begin", "begins", "begintime", "candlebegintime", "windowstart", "bucket", "ts", "t", "mts", "day", "tradingday",
)  # fmt: skip
"""Names of a time of opening, without spaces and signs; the first one in a header counts."""
PRICES: Final = (
    ("open", "o", "openprice", "priceopen", "1open", "openlast"),
    ("high", "h", "highprice", "pricehigh", "2high", "max"),
    ("low", "l", "lowprice", "pricelow", "3low", "min"),
    ("close", "c", "closeprice", "priceclose", "4close", "closelast", "last", "price"),
)
VOLUMES: Final = ("volume", "vol", "v", "basevolume", "volumebase", "5volume", "tradevolume", "volumetraded")
TICK_VOLUMES: Final = ("tickvol", "tickvolume")
SYMBOLS: Final = ("symbol", "ticker", "instrument", "instid", "tic", "pair", "sym", "coin", "asset", "isin")
_QUOTES: Final = ("usd", "usdt", "usdc", "busd", "fdusd", "tusd", "dai", "eur", "gbp", "jpy", "krw", "try", "quote",
                  "currency", "notional", "ccyquote", "ma", "ema", "sma")  # fmt: skip
_SIGNS: Final = re.compile(r"[^a-z0-9]+")


def plain(name: str) -> str:
    """Return a column's name in lower case without spaces and signs."""
    return _SIGNS.sub("", name.strip().lower())


def find(names: Sequence[str], known: Sequence[str]) -> int | None:
    """Return the place of the first known name that a header has."""
    return next((names.index(name) for name in known if name in names), None)


def volumes(names: Sequence[str]) -> list[int]:
    """Return the places that may hold the volume in coins: a plain volume, else those not in a quote currency."""
    place = find(names, VOLUMES)
    if place is not None:
        return [place]
    return [
        place
        for place, name in enumerate(names)
        if name.startswith("volume") and name.removeprefix("volume").removeprefix("in") not in _QUOTES
    ]
