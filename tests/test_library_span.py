"""A part of the prices, from a program: `since` and `until` mean what `--from` and `--to` do, in every form."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import lab as library
import pytest
from attrs import define
from lab import Candle, OrderRequest, Strategy, View
from lab.domain.time import parse_time
from lab_mock.provider import MockProvider

HOUR = 3_600_000_000_000
BEGIN = parse_time("2024-01-30")
SPAN = {"since": "2024-01-30T06:00", "until": "2024-01-31"}
KEYS = ("open", "high", "low", "close", "volume")


@define(kw_only=True)
class Idle(Strategy):
    """Watches."""

    def on_candle(self, candle: Candle, view: View) -> list[OrderRequest]:
        return []


def candles() -> list[Candle]:
    opens = [BEGIN + number * HOUR for number in range(48)]
    return [Candle("X", at, at + HOUR, 1000.5, 1002.0, 999.5, 1001.0, 10.0) for at in opens]


def columns() -> dict[str, Any]:
    rows = candles()
    return {"time": [one.open_ns for one in rows]} | {key: [getattr(one, key) for one in rows] for key in KEYS}


def in_file(folder: Path) -> Path:
    rows = [f"{row.open_ns},{','.join(map(str, row[3:8]))}" for row in candles()]
    path = folder / "prices.csv"
    path.write_text("\n".join(["time,open,high,low,close,volume", *rows]) + "\n", encoding="utf-8")
    return path


def forms() -> Iterator[Any]:
    yield pytest.param(in_file, id="a file")
    yield pytest.param(lambda _: candles(), id="candles")
    yield pytest.param(lambda _: columns(), id="columns")
    yield pytest.param(lambda _: pytest.importorskip("pandas").DataFrame(columns()), id="pandas")
    yield pytest.param(lambda _: pytest.importorskip("polars").DataFrame(columns()), id="polars")
    yield pytest.param(lambda _: pytest.importorskip("pyarrow").table(columns()), id="pyarrow")


def opens(data: Any, **given: Any) -> list[int]:
    return [one.time_ns - HOUR for one in library.load(data, symbol="X", **given).candles()]


@pytest.mark.behaviour("L1")
@pytest.mark.parametrize("form", list(forms()))
def test_a_part_of_the_prices_is_played_whatever_they_come_in(form: Any, tmp_path: Path) -> None:
    data = form(tmp_path)
    [first, *_, last] = library.backtest(Idle(), data, symbol="X", **SPAN).equity
    assert (first.time_ns, last.time_ns) == (BEGIN + 7 * HOUR, BEGIN + 24 * HOUR)
    assert opens(data, **SPAN) == [BEGIN + number * HOUR for number in range(6, 24)]
    loaded = library.load(data, symbol="X", **SPAN)
    assert (loaded.rows, loaded.first_ns, loaded.last_ns) == (18, BEGIN + 7 * HOUR, BEGIN + 24 * HOUR)


@pytest.mark.parametrize("several", [lambda path: {"A": path, "B": path}, lambda _: {"A": columns(), "B": candles()}])
def test_a_part_is_that_of_every_symbol(several: Any, tmp_path: Path) -> None:
    assert library.load(several(in_file(tmp_path)), **SPAN).rows == 36


def test_a_part_has_the_rows_that_the_command_plays(lab: Any) -> None:
    in_file(lab.folder)
    command = ("backtest", "prices.csv", "--symbol", "X", "--json")
    done = lab(*command, "--from", SPAN["since"], "--to", SPAN["until"])
    assert (done.code, done.json()["candles"]) == (0, len(opens(lab.folder / "prices.csv", **SPAN)))


@pytest.mark.parametrize(
    "until",
    [
        date(2024, 1, 31), datetime(2024, 1, 31), datetime(2024, 1, 31, tzinfo=UTC),  # noqa: DTZ001
        datetime(2024, 1, 31, 2, tzinfo=timezone(timedelta(hours=2))), "2024-01-31T02:00+02:00", "1706659200",
    ],
    ids=repr,
)  # fmt: skip
def test_a_time_is_text_or_what_python_has_for_it(until: Any) -> None:
    assert library.load(candles(), symbol="X", until=until).rows == 24


@pytest.mark.parametrize(
    ("data", "given", "said"),
    [
        (candles, {"since": "soon"}, "since: not a time: 'soon'"),
        (candles, {"since": "2024-01-31", "until": "2024-01-31"}, "since 2024-01-31 is not before until 2024-01-31"),
        (MockProvider, {"since": "2024-01-31"}, "since goes with a file, a frame or candles; of MockProvider"),
        (lambda: library.load(candles(), symbol="X"), {"until": "2024-01-31"}, "give until to lab.load"),
    ],
)
def test_a_part_that_is_none_is_refused_in_a_line_that_says_why(data: Any, given: Any, said: str) -> None:
    with pytest.raises(library.LabError) as raised:
        library.backtest(Idle(), data(), **given)
    assert said in str(raised.value)


def test_a_sweep_and_a_walk_play_a_part_too() -> None:
    pytest.importorskip("optuna")

    def candles_of(result: Any) -> float:
        return float(result.report.candles)

    how: Any = {"metric": candles_of, "direction": "maximize", "settings": {"sma.slow": 5}}
    found = library.sweep("sma", candles(), {"fast": [2, 3]}, **how, **SPAN)
    assert found.best is not None
    assert found.best.value == 18
    walk = library.walkforward("sma", candles(), {"fast": [2, 3]}, in_sample=6, out_of_sample=6, **how, **SPAN)
    assert [row.in_sample_from_ns for row in walk.windows] == [BEGIN + 6 * HOUR, BEGIN + 12 * HOUR]


def test_a_friday_and_a_monday_in_memory_need_the_interval_which_is_days_or_three_of_them() -> None:
    two = {key: [column[0], column[1]] for key, column in columns().items()} | {"time": ["2024-01-05", "2024-01-08"]}
    with pytest.raises(library.ConfigError, match='give interval="1d" or interval="3d"'):
        library.load(two, symbol="X")
    assert [library.load(two, symbol="X", interval=one).interval for one in ("1d", "3d")] == ["1d", "3d"]
    many = {key: [column[0]] * 4 for key, column in columns().items()}
    days = library.load({**many, "time": ["2024-01-05", "2024-01-08", "2024-01-12", "2024-01-15"]}, symbol="X")
    assert days.interval == "1d"
