"""Files of candles as a hundred programs and sites write them, each made of one small series that is known."""

# ruff: noqa: E501  # each row of the table is a file

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from lab.domain.time import DAY_NS, MINUTE_NS, SECOND_NS, parse_time

HOUR_NS: Final = 60 * MINUTE_NS


class Row(NamedTuple):
    """A candle of the series."""

    open_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def series(begin: str, step_ns: int, count: int, *, price: float = 42_000.0, weekdays: bool = False) -> list[Row]:
    """Return candles whose figures have two decimals, and of which some rise and some fall."""
    rows: list[Row] = []
    time_ns, level = parse_time(begin), round(price * 100)
    state = 7
    while len(rows) < count:
        state = (state * 1_103_515_245 + 12_345) % 2**31
        if not weekdays or time_ns // DAY_NS % 7 not in {2, 3}:  # 1970-01-01 was a Thursday
            move, wick = state % 301 - 150, state // 7 % 90 + 1
            close = level + move
            high, low = max(level, close) + wick, min(level, close) - wick
            figures = [cents / 100 for cents in (level, high, low, close)]
            rows.append(Row(time_ns, *figures, (state // 11 % 900_000 + 12_345) / 1000))  # type: ignore[arg-type]
            level = close
        time_ns += step_ns
    return rows


MINUTES: Final = series("2024-01-31T22:00", MINUTE_NS, 150)
HOURS: Final = series("2024-01-25", HOUR_NS, 180)
DAYS: Final = series("2024-01-02", DAY_NS, 70)
LATE_WINTER: Final = series("2024-03-01", DAY_NS, 45)
STOCK: Final = series("2024-01-02", DAY_NS, 60, price=186.0, weekdays=True)

Cell = Callable[[Row], object]


def moment(row: Row) -> datetime:
    """Return when a candle opens."""
    return datetime.fromtimestamp(row.open_ns // SECOND_NS, UTC)


def at(form: str, zone_hours: float = 0.0) -> Cell:
    """Return a cell of the time, written by this form in a zone."""
    return lambda row: (moment(row) + timedelta(hours=zone_hours)).strftime(form)


def unix(unit_ns: int, form: str = "{}") -> Cell:
    """Return a cell of the time as a number."""
    return lambda row: form.format(row.open_ns // unit_ns)


def figure(name: str, form: str = "{:.2f}", point: str = ".", group: str = "") -> Cell:
    """Return a cell of a figure, with these signs."""

    def write(row: Row) -> str:
        text = form.format(getattr(row, name))
        return text.translate(str.maketrans({".": point, ",": group}))

    return write


def ohlcv(form: str = "{:.2f}", volume: str = "{:.3f}", point: str = ".", group: str = "") -> list[Cell]:
    """Return cells of open, high, low, close and volume."""
    names = ("open", "high", "low", "close")
    return [*(figure(name, form, point, group) for name in names), figure("volume", volume, point, group)]


def fixed(value: object) -> Cell:
    """Return a cell that is always the same."""
    return lambda _: value


def table(
    rows: Iterable[Row],
    cells: Sequence[Cell],
    header: str = "",
    *,
    separator: str = ",",
    quotes: bool = False,
    end: str = "\n",
    above: str = "",
    below: str = "",
) -> bytes:
    """Return a text with a line a candle."""
    lines = [above, header] if above else [header]
    for row in rows:
        written = [str(cell(row)) for cell in cells]
        lines.append(separator.join(f'"{text}"' if quotes else text for text in written))
    text = end.join(line for line in lines if line) + end
    return (text + below).encode()


def zipped(**members: bytes) -> bytes:
    """Return a zip archive."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_csv", ".csv"), content)
    return data.getvalue()


def arrays(rows: Iterable[Row], cells: Sequence[Cell]) -> list[list[Any]]:
    """Return rows for JSON."""
    return [[cell(row) for cell in cells] for row in rows]


def value(name: str) -> Cell:
    """Return a figure as a number of JSON."""
    return lambda row: getattr(row, name)


VALUES: Final = [value(name) for name in ("open", "high", "low", "close", "volume")]
MS, US, S, NS = 10**6, 10**3, 10**9, 1
REVERSED: Final = {"m": MINUTES[::-1], "h": HOURS[::-1], "d": DAYS[::-1], "s": STOCK[::-1]}
BINANCE_SPOT: Final = [
    *ohlcv("{:.8f}", "{:.8f}"), lambda row: row.open_ns // MS + 59_999, lambda row: f"{row.close * row.volume:.8f}",
    fixed(308), fixed("11.68810000"), fixed("494222.86"), fixed(0),
]  # fmt: skip
BINANCE_FUTURES: Final = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)
GROUPED, GROUPED_VOLUME = "{:,.2f}", "{:,.3f}"
ISO, SPACED, DE, US_DATE = "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M", "%m/%d/%Y %H:%M"
PLAIN: Final = "time,open,high,low,close,volume"
OLD_YAHOO: Final = "Date,Open,High,Low,Close,Adj Close,Volume"
YAHOO: Final = [
    *(figure(name, "{:.6f}") for name in ("open", "high", "low", "close", "close")), figure("volume", "{:.3f}"),
]  # fmt: skip
COINBASE_NAMES: Final = "time,low,high,open,close,volume"
COINBASE: Final = [figure(name) for name in ("low", "high", "open", "close")] + [figure("volume", "{:.3f}")]


class Origin(NamedTuple):
    """A file that is read: as which candles, and what is said of it."""

    content: bytes
    candles: list[Row]
    said: str = ""
    """Nothing, where the columns alone have other names, or none is another."""
    suffix: str = ".csv"
    settings: dict[str, str] = {}  # noqa: RUF012  # never changed


def _investing(row: Row) -> str:
    return f"{row.volume:.2f}K"


def _thousand(row: Row) -> Row:
    return row._replace(volume=float(f"{row.volume:.2f}e3"))


def _ticked(row: Row, count: int = 7) -> Row:
    return row._replace(volume=float(count))


def _without_volume(rows: Sequence[Row]) -> list[Row]:
    return [row._replace(volume=0.0) for row in rows]


def _with_nan(rows: Sequence[Row], text: str, every: int = 9) -> bytes:
    lines = [PLAIN]
    for number, row in enumerate(rows):
        cells = [f"{row.open:.2f}", f"{row.high:.2f}", f"{row.low:.2f}", f"{row.close:.2f}", f"{row.volume:.3f}"]
        lines.append(",".join([str(row.open_ns // S), *(cells if number % every else [text] * 5)]))
    return ("\n".join(lines) + "\n").encode()


def _kept(rows: Sequence[Row], every: int = 9) -> list[Row]:
    return [row for number, row in enumerate(rows) if number % every]


def _json_columns(rows: Sequence[Row]) -> bytes:
    names = {"t": [row.open_ns // S for row in rows]}
    for short, name in zip("ohlcv", ("open", "high", "low", "close", "volume"), strict=True):
        names[short] = [getattr(row, name) for row in rows]
    return json.dumps({"s": "ok", **names}).encode()


def _pandas_json(rows: Sequence[Row], turned: str = "") -> bytes:
    columns = {
        name: {str(row.open_ns // MS): getattr(row, name) for row in (rows[::-1] if name == turned else rows)}
        for name in ("open", "high", "low", "close", "volume")
    }
    return json.dumps(columns).encode()


def _objects(rows: Sequence[Row], names: str, cells: Sequence[Cell]) -> list[dict[str, object]]:
    return [dict(zip(names.split(","), line, strict=True)) for line in arrays(rows, cells)]


def _lines(values: Iterable[object]) -> bytes:
    return ("\n".join(json.dumps(one) for one in values) + "\n").encode()


READ: Final[dict[str, Origin]] = {
    # -- plain files, read by columns as ever
    "plain seconds": Origin(table(MINUTES, [unix(S), *ohlcv()], PLAIN), MINUTES, ""),
    "plain milliseconds": Origin(table(MINUTES, [unix(MS), *ohlcv()], PLAIN), MINUTES, ""),
    "plain ISO": Origin(table(HOURS, [at(ISO), *ohlcv()], PLAIN), HOURS, ""),
    "plain gzip": Origin(gzip.compress(table(HOURS, [at(ISO), *ohlcv()], PLAIN)), HOURS, "", ".csv.gz"),
    "ccxt data frame": Origin(table(HOURS, [unix(MS), *ohlcv("{}", "{}")], "timestamp,open,high,low,close,volume"), HOURS, ""),
    "freqtrade": Origin(table(HOURS, [at("%Y-%m-%d %H:%M:%S+00:00"), *ohlcv()], "date,open,high,low,close,volume"), HOURS, ""),
    "TradingView": Origin(table(HOURS, [unix(S), *ohlcv()], "time,open,high,low,close,Volume"), HOURS, ""),
    "TradingView ISO": Origin(table(HOURS, [at("%Y-%m-%dT%H:%M:%S+02:00", 2), *ohlcv()], "time,open,high,low,close,Volume"), HOURS, ""),
    "yfinance, old": Origin(table(STOCK, [at("%Y-%m-%d"), *YAHOO], OLD_YAHOO), STOCK, ""),
    "Binance futures": Origin(table(MINUTES, [unix(MS), *BINANCE_SPOT], BINANCE_FUTURES), MINUTES, ""),
    "CR LF": Origin(table(HOURS, [at(ISO), *ohlcv()], PLAIN, end="\r\n"), HOURS, ""),
    "quoted": Origin(table(HOURS, [at(ISO), *ohlcv()], PLAIN, quotes=True), HOURS, ""),
    "BOM": Origin(b"\xef\xbb\xbf" + table(HOURS, [at(ISO), *ohlcv()], PLAIN), HOURS, ""),
    "no volume": Origin(table(HOURS, [at(ISO), *ohlcv()[:4]], "time,open,high,low,close"), _without_volume(HOURS), ""),
    # -- without a header
    "Binance spot, ms": Origin(table(MINUTES, [unix(MS), *BINANCE_SPOT]), MINUTES, "no header; 1m candles"),
    "Binance spot, µs since 2025": Origin(table(MINUTES, [unix(US), *BINANCE_SPOT]), MINUTES, "no header; 1m candles"),
    "Binance spot, zip": Origin(zipped(BTCUSDT_1m_csv=table(MINUTES, [unix(MS), *BINANCE_SPOT])), MINUTES, "zip, no header; 1m candles", ".zip"),
    "Binance futures, zip": Origin(zipped(BTCUSDT_1m_csv=table(MINUTES, [unix(MS), *BINANCE_SPOT], BINANCE_FUTURES)), MINUTES, "", ".zip"),
    "Binance spot, gzip": Origin(gzip.compress(table(MINUTES, [unix(MS), *BINANCE_SPOT])), MINUTES, "no header; 1m candles", ".csv.gz"),
    "Kraken OHLCVT": Origin(table(HOURS, [unix(S), *ohlcv(volume="{:.8f}"), fixed(17)]), HOURS, "no header; 1h candles"),
    "MetaTrader 4": Origin(table(HOURS, [at("%Y.%m.%d"), at("%H:%M"), *ohlcv()]), HOURS, "no header; 1h candles"),
    "HistData": Origin(table(MINUTES, [at("%Y%m%d %H%M%S"), *ohlcv("{:.6f}")], separator=";"), MINUTES, "semicolons, no header, times as yyyymmdd; 1m candles"),
    "HistData MT": Origin(table(MINUTES, [at("%Y.%m.%d"), at("%H:%M"), *ohlcv("{:.6f}")]), MINUTES, "no header; 1m candles"),
    "Bitfinex with a header": Origin(table(MINUTES, [unix(MS), *[figure(n) for n in ("open", "close", "high", "low")], figure("volume", "{:.3f}")], "MTS,OPEN,CLOSE,HIGH,LOW,VOL"), MINUTES, ""),
    "five columns": Origin(table(HOURS, [unix(S), *ohlcv()[:4]]), _without_volume(HOURS), "no header; 1h candles"),
    # -- pandas and yfinance
    "pandas, unnamed index": Origin(table(HOURS, [at(SPACED), *ohlcv()], ",open,high,low,close,volume"), HOURS, ""),
    "pandas, index of rows": Origin(table(HOURS, [HOURS.index, at(SPACED), *ohlcv()], ",date,open,high,low,close,volume"), HOURS, ""),
    "pandas, Unnamed: 0": Origin(table(HOURS, [at(SPACED), *ohlcv()], "Unnamed: 0,open,high,low,close,volume"), HOURS, ""),
    "yfinance, new": Origin(
        table(STOCK, [at("%Y-%m-%d"), *[figure(name, "{:.6f}") for name in ("close", "high", "low", "open")], figure("volume", "{:.3f}")],
              "Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,"), STOCK, "header of three lines; 1d candles"),
    "yfinance, new, intraday": Origin(
        table(HOURS, [at("%Y-%m-%d %H:%M:%S+00:00"), *[figure(name) for name in ("close", "high", "low", "open")], figure("volume", "{:.3f}")],
              "Price,Close,High,Low,Open,Volume\nTicker,BTC-USD,BTC-USD,BTC-USD,BTC-USD,BTC-USD\nDatetime,,,,,"), HOURS, "header of three lines; 1h candles"),
    "yfinance history()": Origin(
        table(STOCK, [at("%Y-%m-%d 00:00:00-05:00"), *ohlcv(), fixed("0.0"), fixed("0.0")], "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits"),
        STOCK, "days of the exchange taken as days of UTC; 1d candles"),
    # -- sites
    "CryptoDataDownload": Origin(
        table(REVERSED["h"], [unix(S), at(SPACED), fixed("BTC/USD"), *ohlcv(), lambda row: f"{row.volume * row.close:.2f}"],
              "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD", above="https://www.CryptoDataDownload.com"), HOURS, "newest first; 1h candles"),
    "CryptoDataDownload, without its title": Origin(
        table(HOURS, [unix(S), at(SPACED, 1), fixed("BTC/USD"), *ohlcv(), lambda row: f"{row.volume * row.close:.2f}"],
              "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD"), HOURS, "1h candles"),
    "CryptoDataDownload, without title and symbol": Origin(
        table(HOURS, [unix(S), at(SPACED, 1), *ohlcv(), lambda row: f"{row.volume * row.close:.2f}"],
              "unix,date,open,high,low,close,Volume BTC,Volume USD"), HOURS, ""),
    "volume in dollars before that in coins": Origin(
        table(HOURS, [unix(S), *ohlcv()[:4], lambda row: f"{row.volume * row.close:.2f}", *ohlcv()[4:]],
              "time,open,high,low,close,Volume,Volume BTC"), HOURS, ""),
    "MetaTrader 5, Python": Origin(
        table(HOURS, [unix(S), *ohlcv()[:4], fixed(7), fixed(1), fixed(0)], "time,open,high,low,close,tick_volume,spread,real_volume"),
        list(map(_ticked, HOURS)), "volume counts ticks; 1h candles"),
    "CryptoDataDownload, old": Origin(
        table(REVERSED["h"], [at("%Y-%m-%d %I-%p"), fixed("BTCUSD"), *ohlcv(), lambda row: f"{row.volume * row.close:.2f}"],
              "Date,Symbol,Open,High,Low,Close,Volume BTC,Volume USD", above="https://www.CryptoDataDownload.com"), HOURS, "newest first; 1h candles"),
    "CryptoDataDownload, Binance": Origin(
        table(REVERSED["m"], [unix(MS), at(SPACED), fixed("ETHBTC"), *ohlcv(), lambda row: f"{row.volume * row.close:.2f}", fixed(31)],
              "Unix,Date,Symbol,Open,High,Low,Close,Volume ETH,Volume BTC,tradecount"), MINUTES, "newest first; 1m candles"),
    "Kaggle bitstamp, old": Origin(
        _with_nan(MINUTES, "NaN").replace(PLAIN.encode(), b"Timestamp,Open,High,Low,Close,Volume_(BTC)"), _kept(MINUTES), "17 rows without figures left out; 1m candles"),
    "investing.com": Origin(
        table(REVERSED["d"], [at("%m/%d/%Y"), figure("close", GROUPED, group=","), *[figure(n, GROUPED, group=",") for n in ("open", "high", "low")], _investing, fixed("1.23%")],
              "Date,Price,Open,High,Low,Vol.,Change %", quotes=True), list(map(_thousand, DAYS)), "newest first, times with the month first; 1d candles"),
    "investing.com, long dates": Origin(
        table(REVERSED["d"], [at("%b %d, %Y"), figure("close", GROUPED, group=","), *[figure(n, GROUPED, group=",") for n in ("open", "high", "low")], _investing, fixed("1.23%")],
              "Date,Price,Open,High,Low,Vol.,Change %", quotes=True), list(map(_thousand, DAYS)), "newest first; 1d candles"),
    "investing.com, German": Origin(
        table(REVERSED["d"], [at("%d.%m.%Y"), *[figure(n, GROUPED, ",", ".") for n in ("close", "open", "high", "low")], figure("volume", "{:.2f}K", ","), fixed("1,23%")],
              "Datum,Price,Open,High,Low,Vol.,%".replace("Datum", "Date"), quotes=True), list(map(_thousand, DAYS)), "decimal comma, newest first, times with the day first; 1d candles"),
    "Nasdaq": Origin(
        table(REVERSED["s"], [at("%m/%d/%Y"), figure("close", "${:.2f}"), figure("volume", "{:.3f}"), *[figure(n, "${:.2f}") for n in ("open", "high", "low")]],
              "Date,Close/Last,Volume,Open,High,Low"), STOCK, "newest first, times with the month first; 1d candles"),
    "Stooq": Origin(table(STOCK, [at("%Y-%m-%d"), *ohlcv()], "Date,Open,High,Low,Close,Volume"), STOCK, ""),
    "Stooq, archive": Origin(
        table(HOURS, [fixed("BTCUSD"), fixed(60), at("%Y%m%d"), at("%H%M%S"), *ohlcv(), fixed(0)],
              "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"), HOURS, "times as yyyymmdd; 1h candles"),
    "Stooq, archive, daily": Origin(
        table(STOCK, [fixed("AAPL.US"), fixed("D"), at("%Y%m%d"), fixed("000000"), *ohlcv(), fixed(0)],
              "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>"), STOCK, "times as yyyymmdd; 1d candles"),
    "Dukascopy": Origin(table(MINUTES, [at("%d.%m.%Y %H:%M:%S.000"), *ohlcv()], "Gmt time,Open,High,Low,Close,Volume"), MINUTES, "times with the day first; 1m candles"),
    "Dukascopy, local time": Origin(
        table(MINUTES, [at("%d.%m.%Y %H:%M:%S.000 GMT+0100", 1), *ohlcv()], "Local time,Open,High,Low,Close,Volume"), MINUTES, "times with the day first; 1m candles"),
    "AlphaVantage": Origin(table(REVERSED["s"], [at("%Y-%m-%d"), *ohlcv()], "timestamp,open,high,low,close,volume"), STOCK, "newest first; 1d candles"),
    "NSE": Origin(table(REVERSED["s"], [at("%d-%b-%Y"), *ohlcv()], "Date,OPEN,HIGH,LOW,close,VOLUME"), STOCK, "newest first; 1d candles"),
    "polygon flat file": Origin(
        table(MINUTES, [fixed("AAPL"), figure("volume", "{:.3f}"), *[figure(n) for n in ("open", "close", "high", "low")], unix(NS), fixed(8)],
              "ticker,volume,open,close,high,low,window_start,transactions"), MINUTES, "1m candles"),
    "CoinAPI": Origin(
        table(HOURS, [at("%Y-%m-%dT%H:%M:%S.0000000Z"), at("%Y-%m-%dT%H:%M:%S.0000000Z", 1), *ohlcv(), fixed(9)],
              "time_period_start;time_period_end;price_open;price_high;price_low;price_close;volume_traded;trades_count", separator=";"), HOURS, "semicolons; 1h candles"),
    "CoinMarketCap": Origin(
        table(REVERSED["d"], [at('"%Y-%m-%dT00:00:00.000Z"'), at('"%Y-%m-%dT23:59:59.999Z"'), *ohlcv(), fixed("825340000000.5")],
              "timeOpen;timeClose;open;high;low;close;volume;marketCap".replace("timeOpen", "openTime"), separator=";"), DAYS, "semicolons, newest first; 1d candles"),
    # -- venues' programs
    "python-binance": Origin(
        table(MINUTES, [unix(MS), *BINANCE_SPOT], "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,Number of trades,Taker buy base,Taker buy quote,Ignore"),
        MINUTES, ""),
    "Bybit": Origin(table(MINUTES, [unix(S), *ohlcv(), lambda row: f"{row.volume * row.close:.4f}"], "start_at,open,high,low,close,volume,turnover"), MINUTES, ""),
    "OKX": Origin(table(REVERSED["m"], [unix(MS), *ohlcv()], "ts,o,h,l,c,vol"), MINUTES, "newest first; 1m candles"),
    "OKX swap": Origin(
        table(REVERSED["m"], [unix(MS), *ohlcv()[:4], lambda row: f"{row.volume * 100:.1f}", figure("volume", "{:.3f}"), lambda row: f"{row.volume * row.close:.4f}", fixed(1)],
              "ts,o,h,l,c,vol,volCcy,volCcyQuote,confirm"), MINUTES, "newest first; 1m candles"),
    "Coinbase with a header": Origin(table(REVERSED["h"], [unix(S), *COINBASE], COINBASE_NAMES), HOURS, "newest first; 1h candles"),
    "KuCoin with a header": Origin(
        table(REVERSED["h"], [unix(S), *[figure(n) for n in ("open", "close", "high", "low")], figure("volume", "{:.3f}"), lambda row: f"{row.volume * row.close:.4f}"],
              "time,open,close,high,low,volume,turnover"), HOURS, "newest first; 1h candles"),
    "MetaTrader 5": Origin(
        table(HOURS, [at("%Y.%m.%d"), at("%H:%M:%S"), *ohlcv()[:4], fixed(7), fixed(0), fixed(12)],
              "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>", separator="\t"), list(map(_ticked, HOURS)), "tabs, volume counts ticks; 1h candles"),
    "MetaTrader 5, real volume": Origin(
        table(HOURS, [at("%Y.%m.%d"), at("%H:%M:%S"), *ohlcv()[:4], fixed(7), figure("volume", "{:.3f}"), fixed(12)],
              "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>", separator="\t"), HOURS, "tabs; 1h candles"),
    "MetaTrader 5, daily": Origin(
        table(STOCK, [at("%Y.%m.%d"), *ohlcv()[:4], fixed(7), fixed(0), fixed(12)],
              "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>", separator="\t"), list(map(_ticked, STOCK)), "tabs, volume counts ticks; 1d candles"),
    "NinjaTrader": Origin(table(MINUTES, [at("%Y%m%d %H%M%S"), *ohlcv()], separator=";"), MINUTES, "semicolons, no header, times as yyyymmdd; 1m candles"),
    "Sierra Chart": Origin(
        table(HOURS, [at("%Y/%m/%d"), at(" %H:%M:%S"), *ohlcv()], "Date, Time, Open, High, Low, Last, Volume"), HOURS, "1h candles"),
    "compact times": Origin(table(HOURS, [at("%Y%m%d%H%M"), *ohlcv()], PLAIN), HOURS, "times as yyyymmdd; 1h candles"),
    # -- signs
    "semicolons": Origin(table(HOURS, [at(ISO), *ohlcv()], PLAIN.replace(",", ";"), separator=";"), HOURS, "semicolons; 1h candles"),
    "tabs": Origin(table(HOURS, [at(ISO), *ohlcv()], PLAIN.replace(",", "\t"), separator="\t"), HOURS, "tabs; 1h candles", ".tsv"),
    "bars": Origin(table(HOURS, [at(ISO), *ohlcv()], PLAIN.replace(",", "|"), separator="|"), HOURS, "bars; 1h candles"),
    "decimal commas": Origin(table(HOURS, [at(ISO), *ohlcv(point=",")], PLAIN.replace(",", ";"), separator=";"), HOURS, "semicolons, decimal comma; 1h candles"),
    "German Excel": Origin(
        table(REVERSED["h"], [at(DE), *ohlcv(GROUPED, GROUPED_VOLUME, ",", ".")], "Date;Open;High;Low;Close;Volume", separator=";", end="\r\n"),
        HOURS, "semicolons, decimal comma, newest first, times with the day first; 1h candles"),
    "quoted decimal commas": Origin(table(HOURS, [at(ISO), *ohlcv(point=",")], PLAIN, quotes=True), HOURS, "decimal comma; 1h candles"),
    "thousands": Origin(table(HOURS, [at(ISO), *ohlcv(GROUPED, GROUPED_VOLUME, group=",")], PLAIN, quotes=True), HOURS, "1h candles"),
    "Swiss": Origin(table(HOURS, [at(DE), *ohlcv(GROUPED, GROUPED_VOLUME, group="'")], PLAIN.replace(",", ";"), separator=";"), HOURS, "semicolons, times with the day first; 1h candles"),
    "French": Origin(table(HOURS, [at("%d/%m/%Y %H:%M"), *ohlcv(GROUPED, GROUPED_VOLUME, ",", "\u202f")], PLAIN.replace(",", ";"), separator=";"),
                     HOURS, "semicolons, decimal comma, times with the day first; 1h candles"),
    "UTF-16 of Excel": Origin(table(HOURS, [at(ISO), *ohlcv()], PLAIN.replace(",", "\t"), separator="\t").decode().encode("utf-16"), HOURS, "UTF-16, tabs; 1h candles", ".txt"),
    # -- times
    "Excel days": Origin(table(HOURS, [lambda row: f"{row.open_ns / DAY_NS + 25_569:.10f}", *ohlcv()], PLAIN), HOURS, "times as days of a spreadsheet; 1h candles"),
    "Excel days, daily": Origin(table(DAYS, [lambda row: row.open_ns // DAY_NS + 25_569, *ohlcv()], PLAIN), DAYS, "times as days of a spreadsheet; 1d candles"),
    "Excel, US": Origin(table(HOURS, [lambda row: f"{moment(row).month}/{moment(row).day}/{moment(row).year} {moment(row).hour}:00", *ohlcv()], PLAIN), HOURS, "times with the month first; 1h candles"),
    "mm/dd/yyyy AM/PM": Origin(table(HOURS, [at("%m/%d/%Y %I:%M:%S %p"), *ohlcv()], PLAIN), HOURS, "times with the month first; 1h candles"),
    "dd/mm/yyyy": Origin(table(DAYS, [at("%d/%m/%Y"), *ohlcv()], "Date,Open,High,Low,Close,Volume"), DAYS, "times with the day first; 1d candles"),
    "dd.mm.yyyy": Origin(table(DAYS, [at("%d.%m.%Y"), *ohlcv()], "Date,Open,High,Low,Close,Volume"), DAYS, "times with the day first; 1d candles"),
    "yyyy/mm/dd": Origin(table(DAYS, [at("%Y/%m/%d"), *ohlcv()], "Date,Open,High,Low,Close,Volume"), DAYS, "1d candles"),
    "Date and Time": Origin(table(HOURS, [at("%Y-%m-%d"), at("%H:%M:%S"), *ohlcv()], "Date,Time,Open,High,Low,Close,Volume"), HOURS, "1h candles"),
    "Date and Time, US": Origin(table(HOURS, [at("%m/%d/%Y"), at("%I:%M %p"), *ohlcv()], "Date,Time,Open,High,Low,Close,Volume"), HOURS, "times with the month first; 1h candles"),
    "UTC behind the times": Origin(table(HOURS, [at("%Y-%m-%d %H:%M:%S UTC"), *ohlcv()], PLAIN), HOURS, "1h candles"),
    "half hours of an exchange": Origin(
        table([row._replace(open_ns=row.open_ns + 30 * MINUTE_NS) for row in HOURS], [at("%Y-%m-%d %H:%M:%S-05:00", -5), *ohlcv()], "Datetime,Open,High,Low,Close,Volume"),
        [row._replace(open_ns=row.open_ns + 30 * MINUTE_NS) for row in HOURS], "candles open 30m into each 1h; 1h candles"),
    "day first, as told": Origin(
        table(DAYS[:10], [at("%d/%m/%Y"), *ohlcv()], "Date,Open,High,Low,Close,Volume"), DAYS[:10], "times with the day first; 1d candles", settings={"dates": "day-first"}),
    "intraday of a few days": Origin(
        table(series("2024-03-04", HOUR_NS, 80), [at("%d/%m/%Y %H:%M"), *ohlcv()], PLAIN), series("2024-03-04", HOUR_NS, 80), "times with the day first; 1h candles"),
    "days of New York, over the change of the clock": Origin(
        table(LATE_WINTER, [lambda row: f"{moment(row):%Y-%m-%d} 00:00:00-0{4 if row.open_ns >= parse_time('2024-03-11') else 5}:00", *ohlcv()], PLAIN),
        LATE_WINTER, "days of the exchange taken as days of UTC; 1d candles"),
    "days of London, over the change of the clock": Origin(
        table(LATE_WINTER, [lambda row: f"{moment(row):%Y-%m-%d} 00:00:00+0{int(row.open_ns >= parse_time('2024-04-01'))}:00", *ohlcv()], PLAIN),
        LATE_WINTER, "days of the exchange taken as days of UTC; 1d candles"),
    "days of London in winter": Origin(
        table(DAYS, [at("%Y-%m-%d 00:00:00+00:00"), *ohlcv()], PLAIN.replace(",", ";"), separator=";"), DAYS, "semicolons; 1d candles"),
    # -- what else stands in files
    "comments": Origin(b"# made by a program\n" + table(HOURS, [at(ISO), *ohlcv()], PLAIN) + b"# the end\n", HOURS, "1h candles"),
    "a header in a comment": Origin(table(HOURS, [at(ISO), *ohlcv()], f"# {PLAIN}"), HOURS, ""),
    "blank lines": Origin(table(HOURS, [at(ISO), *ohlcv()], PLAIN).replace(b"\n", b"\n\n"), HOURS, "1h candles"),
    "NaN rows": Origin(_with_nan(HOURS, "nan"), _kept(HOURS), "20 rows without figures left out; 1h candles"),
    "null rows": Origin(_with_nan(HOURS, "null"), _kept(HOURS), "20 rows without figures left out; 1h candles"),
    "empty rows": Origin(_with_nan(HOURS, ""), _kept(HOURS), "20 rows without figures left out; 1h candles"),
    "two files, one behind the other": Origin(
        table(HOURS[:90], [at(ISO), *ohlcv()], PLAIN) + table(HOURS[90:], [at(ISO), *ohlcv()], PLAIN), HOURS, "1h candles"),
    "two files that overlap": Origin(
        table(HOURS[:90], [at(ISO), *ohlcv()], PLAIN) + table(HOURS[89:], [at(ISO), *ohlcv()]), HOURS, "1 repeated row left out; 1h candles"),
    # -- JSON
    "Binance API": Origin(json.dumps(arrays(MINUTES, [lambda row: row.open_ns // MS, *BINANCE_SPOT])).encode(), MINUTES, "JSON, no header; 1m candles", ".json"),
    "JSON lines": Origin(_lines(_objects(HOURS, PLAIN, [at(ISO), *VALUES])), HOURS, "JSON lines; 1h candles", ".jsonl"),
    "JSON lines of arrays": Origin(_lines(arrays(HOURS, [lambda row: row.open_ns // MS, *VALUES])), HOURS, "JSON lines, no header; 1h candles", ".ndjson"),
    "JSON of objects": Origin(json.dumps(_objects(HOURS, PLAIN, [at(ISO), *VALUES]), indent=2).encode(), HOURS, "JSON; 1h candles", ".json"),
    "polygon API": Origin(
        json.dumps({"ticker": "X", "resultsCount": 180, "results": _objects(HOURS, "v,vw,o,c,h,l,t,n", [VALUES[4], fixed(1.0), VALUES[0], VALUES[3], VALUES[1], VALUES[2], lambda row: row.open_ns // MS, fixed(3)])}).encode(),
        HOURS, "JSON; 1h candles", ".json"),
    "OKX API": Origin(
        json.dumps({"code": "0", "msg": "", "data": arrays(REVERSED["h"], [unix(MS), *ohlcv(), fixed("1"), fixed("1"), fixed("1")])}).encode(),
        HOURS, "JSON, no header, newest first; 1h candles", ".json"),
    "Bybit API": Origin(
        json.dumps({"retCode": 0, "result": {"symbol": "BTCUSDT", "list": arrays(REVERSED["h"], [unix(MS), *ohlcv(), fixed("1")])}}).encode(),
        HOURS, "JSON, no header, newest first; 1h candles", ".json"),
    "TradingView UDF": Origin(_json_columns(HOURS), HOURS, "JSON; 1h candles", ".json"),
    "pandas to_json": Origin(_pandas_json(HOURS), HOURS, "JSON; 1h candles", ".json"),
    "pandas to_json, a column in another order": Origin(_pandas_json(HOURS, turned="close"), HOURS, "JSON; 1h candles", ".json"),
}  # fmt: skip
