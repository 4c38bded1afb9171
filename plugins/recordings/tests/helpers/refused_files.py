"""Files of candles that leave a doubt, or hold no candles: each is refused in one line that says what helps."""

# ruff: noqa: E501  # each row of the table is a file

import json
from typing import Final, NamedTuple

from candle_files import (
    COINBASE,
    DAYS,
    DE,
    HOURS,
    ISO,
    PLAIN,
    REVERSED,
    STOCK,
    YAHOO,
    S,
    arrays,
    at,
    figure,
    fixed,
    ohlcv,
    series,
    table,
    unix,
    zipped,
)
from lab.domain.time import MINUTE_NS, parse_time


class Refusal(NamedTuple):
    """A file that is refused, and what the one line says."""

    content: bytes
    says: str
    suffix: str = ".csv"


_SHUFFLED: Final = [*HOURS[:50], *HOURS[60:70], *HOURS[50:60], *HOURS[70:]]
_TWO_SYMBOLS: Final = table(HOURS[:9], [fixed("A"), unix(S), *ohlcv()], f"symbol,{PLAIN}") + table(
    HOURS[:9], [fixed("B"), unix(S), *ohlcv()]
)

_MANY: Final = series("2024-01-25", MINUTE_NS, 600)
_ONE_AFTER_THE_OTHER: Final = table(HOURS[:9], [unix(S), *ohlcv(), fixed("A")], f"{PLAIN},Ticker") + table(
    HOURS[9:], [unix(S), *ohlcv(), fixed("B")]
)

REFUSED: Final[dict[str, Refusal]] = {
    "dates of either kind": Refusal(
        table(DAYS[:10], [at("%d/%m/%Y"), *ohlcv()], PLAIN),
        r":2: its dates may have the day first or the month first, .*; give --set replay.dates=day-first or --set",
    ),
    "one Friday and one Monday": Refusal(
        table([DAYS[3], DAYS[6]], [at(ISO), *ohlcv()], PLAIN),
        r": none of its candles is of a weekend: they are of 3d, or of 1d and some are missing; give --set replay.interval=1d or",
    ),
    "numbers of either kind": Refusal(
        table(STOCK, [at(ISO), *ohlcv("{:.3f}", point=",")[:4]], "time;open;high;low;close", separator=";"),
        r": its numbers may have decimal points, .*; give --set replay.decimals=point or --set replay.decimals=comma",
    ),
    "decimal commas between commas": Refusal(
        table(HOURS, [at(DE), *ohlcv(point=",")], PLAIN), r":2: 11 fields; expected 6"
    ),
    "two symbols": Refusal(_TWO_SYMBOLS, r":2: several symbols \(A, B\); save each to a file of its own"),
    "two symbols, one after the other": Refusal(_ONE_AFTER_THE_OTHER, r":11: several symbols \(A, B\); save each to a"),
    "two symbols in turn": Refusal(
        table(HOURS, [unix(S), *ohlcv(), lambda row: "AB"[HOURS.index(row) % 2]], f"{PLAIN},pair"),
        r":3: several symbols \(A, B\); save each to a file of its own",
    ),
    "two symbols that are numbers, in other blocks": Refusal(
        table(_MANY, [unix(S), *ohlcv(), lambda row: 600000 + (row.open_ns > _MANY[511].open_ns)], f"{PLAIN},symbol"),
        r":514: several symbols \(600000, 600001\); save each to a file of its own",
    ),
    "two tickers of yfinance": Refusal(
        table(STOCK, [at("%Y-%m-%d"), *ohlcv()[3:4], *ohlcv()[3:4], *ohlcv()[:3], *ohlcv()[:3]],
              "Price,Close,Close,High,High,Low,Low,Open,Open\nTicker,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT,AAPL,MSFT\nDate,,,,,,,,"),
        r":2: several symbols \(AAPL, MSFT\); save each to a file of its own",
    ),
    "neither up nor down": Refusal(table(_SHUFFLED, [at(ISO), *ohlcv()], PLAIN), r":62: .* comes after .*; times must ascend"),
    "OCHL without a header": Refusal(
        table(HOURS, [unix(S), *[figure(n) for n in ("open", "close", "high", "low")], figure("volume", "{:.3f}")]),
        r":\d+: .*; without a header the columns are time, open, high, low, close, volume: name them",
    ),
    "Coinbase API": Refusal(
        json.dumps(arrays(REVERSED["h"], [lambda row: row.open_ns // S, *COINBASE])).encode(),
        r":\d+: .*; without a header the columns are time, open, high, low, close, volume: name them", ".json",
    ),
    "a price in the place of the volume": Refusal(
        table(DAYS, [at("%Y-%m-%d"), *YAHOO]), r":1: no header, and the sixth column looks like a price, .*; put a line of",
    ),
    "row numbers for times": Refusal(
        table(HOURS, [HOURS.index, *ohlcv()], ",open,high,low,close,volume"), r":2: '0' is the number of a row, not a time",
    ),
    "row numbers as large as the days of a spreadsheet": Refusal(
        table(HOURS, [lambda row: 30_000 + HOURS.index(row), at(ISO), *ohlcv()], ",candle_time,open,high,low,close,volume"),
        r":2: '30000' is the number of a row, not a time; save times too, or, if it is a day of a spreadsheet, name the column time",
    ),
    "row numbers as large, without a header": Refusal(
        table(HOURS, [lambda row: 30_000 + HOURS.index(row), *ohlcv()]), r":1: '30000' is the number of a row, not a time",
    ),
    "no time at all": Refusal(table(HOURS, ohlcv(), "open,high,low,close,volume"), r":1: no column time or date; the header has open, high"),
    "no close": Refusal(table(HOURS, [at(ISO), *ohlcv()[:3]], "time,open,high,low"), r":1: no column close; the header has time, open, high, low"),
    "a price missing": Refusal(
        table(HOURS, [at(DE), *ohlcv()[:3], lambda row: f"{row.close:.2f}" if row != HOURS[3] else "n/a"], PLAIN[:-7]),
        r":5: a price is missing, and others are there; repair it",
    ),
    "volume here and there": Refusal(
        table(HOURS, [at(ISO), *ohlcv()[:4], lambda row: "" if HOURS.index(row) % 2 else "5"], PLAIN),
        r": 90 rows have prices and no volume; write 0 there, or leave the column out",
    ),
    "a zip of two": Refusal(
        zipped(jan_csv=b"1", feb_csv=b"2"), r": a zip archive of 2 files \(jan.csv, feb.csv\); unpack it and name one of them", ".zip"
    ),
    "a broken zip": Refusal(zipped(jan_csv=b"1")[:30], r": the zip archive can't be read \(.*\); download it again, or unpack it", ".zip"),
    "Excel workbook": Refusal(b"PK\x03\x04" + b"0" * 26 + b"[Content_Types].xml", r": an Excel workbook, not CSV; save the sheet as CSV", ".xlsx"),
    "Feather": Refusal(b"ARROW1" + bytes(50), r": a Feather file, not CSV; save it as CSV", ".feather"),
    "HTML": Refusal(b"<!DOCTYPE html>\n<html>\n<body>\n404</body>\n</html>\n", r":1: no header with open, high, low and close was found"),
    "columns of JSON with other rows": Refusal(
        json.dumps({name: {f"{number + (name == 'close')}": 9 for number in range(5)} for name in PLAIN.split(",")}).encode(),
        r": column 'close' has no '0', as 'time' has", ".json",
    ),
    "JSON of an error": Refusal(b'{"code":-1121,"msg":"Invalid symbol."}', r": JSON without candles; expected an array", ".json"),
    "a word among the figures": Refusal(
        table(HOURS, [at(ISO), *ohlcv()], PLAIN.replace(",", ";"), separator=";") + b"2024-03-01;x;1;1;1;1\n", r":182: 'x' is not a number"
    ),
    "a closing line": Refusal(table(HOURS, [at(DE), *ohlcv()], PLAIN) + b"Source: a site\n", r":182: 1 fields; expected 6"),
    "candles of months": Refusal(
        table([row._replace(open_ns=parse_time(f"2023-{month:02}-01")) for month, row in enumerate(DAYS[:12], 1)], [at("%Y-%m-%d"), *ohlcv()], PLAIN),
        r": .* is not on the 31d grid",
    ),
    "two candles of one time": Refusal(
        table([*HOURS[:20], HOURS[19]._replace(close=HOURS[19].low), *HOURS[20:]], [at(DE), *ohlcv()], PLAIN),
        r": .* has two candles that differ; keep one of them",
    ),
}  # fmt: skip
