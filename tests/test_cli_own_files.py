"""A user's own file of prices: on which steps it is traded, what is refused, and that its proof finds it again."""

import bz2
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

DAY = 86_400
BEGIN = 1_704_067_200  # Monday, 2024-01-01

Candles = Callable[..., Path]


def _walk(first: float, digits: int, count: int, seed: int = 1) -> Iterator[str]:
    """Yield the figures of candles around a seeded random walk, with so many decimals."""
    draw = random.Random(seed)
    price = first
    for _ in range(count):
        opened, price = price, price * (1 + draw.gauss(0, 0.002))
        high, low = max(opened, price) * 1.0005, min(opened, price) * 0.9995
        yield ",".join(f"{figure:.{digits}f}" for figure in (opened, high, low, price))


@pytest.fixture
def candles(lab: Any) -> Candles:
    """Write a file of one-minute candles around a walk that begins at a price."""

    def write(first: float, digits: int, name: str = "prices.csv", count: int = 400) -> Path:
        rows = [f"{BEGIN + 60 * n},{figures},1e9" for n, figures in enumerate(_walk(first, digits, count))]
        path: Path = lab.folder / name
        path.write_text("\n".join(["time,open,high,low,close,volume", *rows, ""]), encoding="utf-8")
        return path

    return write


def _prices(lab: Any) -> list[Decimal]:
    return [Decimal(body["fill"]["price"]) for _, _, body in lab.run().rows("order_filled")]


@pytest.mark.parametrize(
    ("first", "digits", "tick", "lot"),
    [
        (0.0000214, 10, "0.0000000001", "10000"),
        (0.0798, 5, "0.00001", "10"),
        (1.0841, 5, "0.00001", "0.1"),
        (186.82, 2, "0.01", "0.001"),
        (7161.2, 1, "0.1", "0.0001"),
        (61800.25, 2, "0.01", "0.0001"),
    ],
)
def test_a_file_is_traded_on_the_steps_that_its_prices_show(
    lab: Any, candles: Candles, first: float, digits: int, tick: str, lot: str
) -> None:
    candles(first, digits)
    command = ("backtest", "prices.csv", "--equity", "10000", "--gate", "margin")
    assert lab(*command).code == 0
    inferred = lab.run().report()
    assert (inferred["instrument"]["tick"], inferred["instrument"]["lot"]) == (tick, lot)
    fills = _prices(lab)
    assert fills
    assert all(abs(float(price) / first - 1) < 0.2 for price in fills), "no fill far from the market"
    assert all(price % Decimal(tick) == 0 for price in fills)
    given = (f"replay.tick={tick}", f"replay.lot={lot}")
    assert lab(*command, *(part for text in given for part in ("--set", text))).code == 0
    said = lab.run().report()
    figures = ("ending_equity", "fees_paid", "max_drawdown", "orders")
    assert [said[name] for name in figures] == [inferred[name] for name in figures], "as with the right steps set"


def test_header_and_report_say_where_the_steps_come_from(lab: Any, candles: Candles) -> None:
    candles(0.0000214, 8)
    assert lab("backtest", "prices.csv", "--symbol", "SHIBUSDT").code == 0
    told = lab.run().report()["instrument"]
    assert told["symbol"] == "SHIBUSDT"
    assert (told["tick"], told["lot"], told["quantity_min"]) == ("0.00000001", "10000", "10000")
    assert (told["maker_fee_rate"], told["taker_fee_rate"]) == ("0.0002", "0.0006")
    assert "tick 0.00000001 (8 decimals in the file)" in told["origin"]
    assert "lot 10000 (one is worth less than 1 at the file's highest price" in told["origin"]
    assert "tick 0.00000001 (8 decimals in the file)" in lab("report").out
    assert lab("backtest", "prices.csv", "--set", "replay.tick=0.000000001").code == 0
    assert "tick 0.000000001 (set)" in lab.run().report()["instrument"]["origin"]


@pytest.mark.parametrize(
    ("file", "symbol", "told"),
    [
        ("btcusd-1m", "BTCUSDT", "; labelled BTCUSDT, but btcusd-1m is BTCUSD: --symbol BTCUSD labels it so"),
        ("btcusd-1m", "BTCUSD", ""),
        ("ethusdt-1m.csv", "BTCUSDT",
         "; labelled BTCUSDT, but ethusdt-1m.csv is named ETHUSDT: --symbol ETHUSDT labels it so"),
        ("ethusdt-1m.csv", "ETHUSDT", ""),
        ("prices.csv", "BTCUSDT", ""),
    ],
)  # fmt: skip
def test_data_that_is_labelled_otherwise_than_its_name_says_is_told(
    lab: Any, candles: Candles, file: str, symbol: str, told: str
) -> None:
    if file.endswith(".csv"):
        candles(100.0, 2, file)
    symbols = ("--symbol", symbol) if symbol != "BTCUSDT" else ()
    assert lab("backtest", file, *symbols).code == 0
    origin = lab.run().report()["instrument"]["origin"]
    assert origin.partition(";")[1] + origin.partition(";")[2] == told


def test_a_shipped_recording_keeps_the_steps_of_its_catalogue(lab: Any) -> None:
    assert lab("backtest", "btcusd-1m", "--reporter", "none").code == 0
    told = lab.run().report()["instrument"]
    assert (told["tick"], told["lot"], told["quantity_min"]) == ("0.1", "0.0001", "0.0001")
    assert "tick 0.1 (the recording's)" in told["origin"]


@pytest.mark.parametrize(
    ("first", "digits", "settings", "words"),
    [
        (0.0000214, 7, (), ["prices.csv", "tick 0.0000001 (7 decimals in the file)", "replay.tick=0.00000001"]),
        (0.0000214, 10, ("replay.tick=0.1",), ["prices.csv", "tick 0.1 (set)", "0.0000", "replay.tick=0.0000000001"]),
        (7161.2, 1, ("replay.tick=1e11",), ["prices.csv", "tick 100000000000 (set)", "replay.tick=0.1"]),
        (7161.2, 1, ("replay.tick=1e30",), ["tick must lie between"]),
        (7161.2, 1, ("replay.lot=1e-18",), ["lot must lie between"]),
        (7161.2, 1, ("replay.lot=1e30",), ["lot must lie between"]),
        (7161.2, 1, ("replay.taker_fee=1e30",), ["taker_fee must be a fraction from 0 to 1"]),
        (7161.2, 1, ("run.equity=1e30",), ["equity"]),
    ],
)
@pytest.mark.parametrize("command", ["backtest", "run"])
def test_steps_that_make_no_sense_are_refused_with_the_cure_before_anything_is_written(
    lab: Any,
    one_line: Any,
    candles: Candles,
    first: float,
    digits: int,
    settings: tuple[str, ...],
    words: list[str],
    command: str,
) -> None:
    candles(first, digits)
    sets = [part for text in (*settings, "replay.file=prices.csv") for part in ("--set", text)]
    clock = ("--speed", "max") if command == "run" else ()
    one_line(lab(command, "--provider", "replay", *clock, *sets), 78, *words)
    assert lab.files() == ["prices.csv"]


def test_the_largest_sums_and_the_oddest_steps_end_in_a_report(lab: Any, candles: Candles) -> None:
    candles(0.0000214, 10)
    for settings in (("replay.lot=1e12",), ("replay.lot=1e-8",), ("sma.quantity=1e14",), ("replay.tick=1e-12",)):
        sets = [part for text in settings for part in ("--set", text)]
        result = lab("backtest", "prices.csv", "--equity", "1e9", "--gate", "none", *sets)
        assert result.code == 0, (settings, result)


def test_a_file_without_volumes_is_told(lab: Any) -> None:
    rows = [f"{BEGIN + 60 * n},{figures}" for n, figures in enumerate(_walk(100, 2, 60))]
    (lab.folder / "prices.csv").write_text("\n".join(["time,open,high,low,close", *rows]), encoding="utf-8")
    assert lab("backtest", "prices.csv").code == 0
    told = "no_volume: prices.csv has no column volume, so the volume of every candle is 0"
    assert told in lab.run().report()["degradations"]


@pytest.mark.behaviour("M2")
def test_weekdays_only_data_is_told_with_its_gaps_and_what_they_do_to_orders(lab: Any) -> None:
    days = [day for day in range(200) if day % 7 < 5]
    rows = [f"{BEGIN + DAY * day},{figures},5" for day, figures in zip(days, _walk(100, 2, len(days)), strict=True)]
    path = lab.folder / "daily.csv"
    path.write_text("\n".join(["time,open,high,low,close,volume", *rows]), encoding="utf-8")
    command = ("backtest", "daily.csv", "--set", "sma.fast=2", "--set", "sma.slow=3")
    assert lab(*command).code == 0
    assert not [line for line in lab.run().report()["degradations"] if line.startswith("gaps")], "weekends are closed"
    assert lab(*command, "--set", "replay.calendar=24/7").code == 0
    told = [line for line in lab.run().report()["degradations"] if line.startswith("gaps")]
    gaps = "gaps 28: daily.csv has candles missing, the longest stretch 2d from 2024-01-06T00:00:00Z"
    assert told == [f"{gaps}; a market order that waits over a gap expires"]
    assert lab("verify").code == 0


def test_shorter_candles_than_a_file_has_are_refused_with_what_it_has(
    lab: Any, one_line: Any, candles: Candles
) -> None:
    candles(100, 2)
    one_line(lab("backtest", "prices.csv", "--interval", "30s"), 78, "prices.csv", "1m")


@pytest.mark.behaviour("J6")
def test_a_proof_finds_its_file_from_another_folder(lab: Any, candles: Candles, monkeypatch: Any) -> None:
    candles(100, 2)
    assert lab("backtest", "prices.csv").code == 0
    below = lab.folder / "below"
    below.mkdir()
    home, lab.folder = lab.folder, below
    assert lab("verify", "--state-dir", "..").code == 0
    lab.folder = home


@pytest.mark.behaviour("J6")
def test_a_proof_finds_its_file_after_both_were_moved(lab: Any, candles: Candles) -> None:
    (lab.folder / "first").mkdir()
    candles(100, 2, "first/prices.csv")
    assert lab("backtest", "first/prices.csv", "--state-dir", "first/state").code == 0
    (lab.folder / "first").rename(lab.folder / "second")
    assert lab("verify", "--state-dir", "second/state").code == 0


@pytest.mark.behaviour("J6")
def test_a_file_that_changed_or_is_gone_is_said_in_a_sentence(lab: Any, one_line: Any, candles: Candles) -> None:
    path = candles(100, 2)
    assert lab("backtest", "prices.csv").code == 0
    candles(101, 2)
    result = lab("verify")
    one_line(result, 78, "prices.csv has changed since the run: its SHA-256 was ", ", it is ", "put back")
    assert "{" not in result.err
    path.unlink()
    one_line(lab("verify"), 78, str(path), "no such file")


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("prices.csv", "time,open,high,low,close\n")


def _workbook(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (_zip, ["empty; expected rows below the header"]),
        (_workbook, ["an Excel workbook, not CSV", "save the sheet as CSV"]),
        (lambda path: path.write_bytes(bz2.compress(b"time,open\n")), ["bzip2 data, not CSV", "unpack"]),
        (lambda path: path.write_bytes(b"PAR1" + bytes(100)), ["a Parquet file"]),
        (lambda path: path.write_bytes(b"ARROW1\0\0" + bytes(100)), ["a Feather file, not CSV"]),
        (
            lambda path: path.write_text("a,b".encode("utf-16").decode("latin-1"), "latin-1"),
            ["no header with", "begins a, b"],
        ),
        (
            lambda path: path.write_text(json.dumps([{"open": 1}] * 9)),
            ["no column high or low or close"],
        ),
        (
            lambda path: path.write_text("1704067200000,1,2,1,2,5\n" * 9),
            ["one candle only"],
        ),
    ],
    ids=["zip", "xlsx", "bz2", "parquet", "feather", "utf-16", "json", "no header"],
)
def test_a_file_of_another_kind_is_named_for_what_it_is(
    lab: Any, one_line: Any, build: Callable[[Path], object], words: list[str]
) -> None:
    build(lab.folder / "prices")
    one_line(lab("backtest", "prices"), 78, "prices", *words)


@pytest.mark.parametrize(
    "content",
    [
        "x" * 1_000_000,
        ",".join(f"column{n}" for n in range(5000)) + "\n",
        ("[" + "1," * 500_000 + "1]"),
        "time,open,high,low,close\n" + "9" * 1_000_000 + ",1,1,1,1\n",
        "time,open,high,low,close\n1704067200,1,1,1," + "y" * 100_000 + "\n",
        "time,open,high,low,close\n1704067200,1,1,1,1\n2024-01-01T00:01:00" + " " * 100_000 + ",1,1,1,1\n",
        "venue_ms,kind,bid,bid_size,ask,ask_size,price,size,side\n1704067200000," + "k" * 100_000 + ",1,1,1,1,1,1,1\n",
    ],
    ids=["one line", "wide header", "json", "time", "figure", "other time", "kind"],
)
def test_what_a_message_repeats_of_a_file_is_bounded(lab: Any, one_line: Any, content: str) -> None:
    (lab.folder / "prices.csv").write_text(content, encoding="utf-8")
    result = lab("backtest", "prices.csv")
    one_line(result, 78, "prices.csv")
    assert len(result.err) < 500
