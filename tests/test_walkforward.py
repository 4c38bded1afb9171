"""`lab.walkforward`: what is chosen and traded in each window, and what it comes to; `lab sweep` and its sister."""

import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

import lab as library
import pytest
from lab.errors import LabError
from lab.plugins.references import load_file
from lab.research.tables import Table
from lab.research.walk import WindowRow, warnings_of
from sweeping import BEGIN, MINUTE, PLAIN, columns, strategy_file

SPACE = {"fast": (2, 3), "slow": (6, 12, 6)}


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_file(strategy_file(tmp_path_factory.mktemp("strategy"))).Waves


def walk(strategy: Any, **more: Any) -> Any:
    given = {"in_sample": 80, "out_of_sample": 40, "metric": "pnl", "data": columns(), "space": SPACE, **PLAIN, **more}
    return library.walkforward(strategy, **given)


def minutes(row: Any) -> tuple[int, int, int]:
    times = (row.in_sample_from_ns, row.out_of_sample_from_ns, row.out_of_sample_to_ns)
    return tuple((one - BEGIN) // MINUTE for one in times)  # type: ignore[return-value]


def part(begin: int, end: int) -> dict[str, Any]:
    """Return the candles of a window, without those before it."""
    return {key: list(column[begin:end]) for key, column in columns().items()}


@pytest.mark.behaviour("L5")
def test_each_window_trades_what_was_best_in_the_stretch_before_it(waves: Any) -> None:
    found = walk(waves)
    assert [minutes(row) for row in found.windows] == [(0, 80, 120), (40, 120, 160), (80, 160, 200)]
    for row, sweep, result in zip(found.windows, found.sweeps, found.results, strict=True):
        assert row.settings == sweep.best.settings
        assert row.in_sample == sweep.best.value == max(one.value for one in sweep.trials)
        assert row.trials == 4
        assert row.profit == Decimal(str(row.out_of_sample)) == result.report.pnl_absolute
        assert (row.starting_equity, row.ending_equity) == (result.report.starting_equity, result.report.ending_equity)
    first = library.sweep(waves, part(0, 80), SPACE, metric="pnl", **PLAIN)
    assert first.best.settings == found.windows[0].settings
    assert first.best.value == found.windows[0].in_sample
    assert {row.out_of_sample for row in found.windows} != {0.0}


def test_what_comes_before_a_window_warms_up_and_is_not_traded(waves: Any) -> None:
    found = walk(waves, space={"fast": [3], "slow": [12]})
    for row, result in zip(found.windows, found.results, strict=True):
        report = result.report
        assert (report.candles, report.backfilled) == (40, 24)
        assert all(fill.time_ns > row.out_of_sample_from_ns for fill in result.fills)
        assert report.decisions == 40
    assert found.sweeps[0].run(0).report.backfilled == 0, "there is nothing before the first"
    assert found.sweeps[1].run(0).report.backfilled == 24


def test_each_symbol_has_a_history_of_its_own_and_workers_share_several(waves: Any, tmp_path: Path) -> None:
    both = {"X": columns(), "Y": columns(moved=7.0)}
    two = {key: value for key, value in PLAIN.items() if key != "symbol"}
    given = {"in_sample": 80, "out_of_sample": 60, "metric": "pnl", "data": both, "space": {"slow": [6, 12]}, **two}
    found = library.walkforward(waves, **given)
    for row, result in zip(found.windows, found.results, strict=True):
        assert result.report.backfilled == 2 * 2 * row.settings["slow"]
        assert {fill.symbol for fill in result.fills} == {"X", "Y"}
    shared = library.walkforward(f"{strategy_file(tmp_path)}:Waves", **given, workers=2)
    assert list(shared.windows) == list(found.windows)


def test_the_equity_goes_on_from_window_to_window(waves: Any) -> None:
    found = walk(waves, equity=5000)
    rows = list(found.windows)
    assert rows[0].starting_equity == 5000
    for before, after in itertools.pairwise(rows):
        assert after.starting_equity == before.ending_equity
    assert found.profit == rows[-1].ending_equity - 5000
    times = [row.time_ns for row in found.equity]
    assert times == [BEGIN + at * MINUTE for at in range(81, 201)], "every candle out of sample, each once"
    assert found.equity[-1].equity == float(rows[-1].ending_equity)
    peak = 0.0
    for row in found.equity:
        peak = max(peak, row.equity)
        assert row.drawdown == row.equity / peak - 1.0


def test_anchored_windows_all_begin_with_the_prices_and_half_a_window_at_the_end_counts(waves: Any) -> None:
    found = walk(waves, anchored=True, in_sample="1h", out_of_sample="50m", space={"fast": [2, 3]})
    assert [minutes(row) for row in found.windows] == [(0, 60, 110), (0, 110, 160), (0, 160, 200)]
    assert [minutes(row)[1] for row in walk(waves, in_sample=95, out_of_sample=70).windows] == [95, 165]


@pytest.mark.behaviour("L5")
def test_no_candle_out_of_sample_is_seen_by_the_search(waves: Any) -> None:
    found, other = walk(waves), columns()
    for key in ("open", "high", "low", "close"):
        other[key] = [*other[key][:80], *(one * 1.5 for one in other[key][80:])]
    changed = walk(waves, data=other)
    assert list(changed.sweeps[0].trials.columns()["value"]) == list(found.sweeps[0].trials.columns()["value"])
    assert changed.windows[0].settings == found.windows[0].settings
    assert changed.windows[0].out_of_sample != found.windows[0].out_of_sample
    assert changed.windows[1].in_sample != found.windows[1].in_sample, "the next search sees the first one's candles"


@pytest.mark.behaviour("L5")
def test_the_drop_is_what_is_lost_out_of_sample_a_day(waves: Any) -> None:
    found = walk(waves)
    inside = sum(row.in_sample * 24 * 60 / 80 for row in found.windows) / 3
    outside = sum(row.out_of_sample * 24 * 60 / 40 for row in found.windows) / 3
    assert (found.in_sample, found.out_of_sample) == pytest.approx((inside, outside))
    assert any(
        text.startswith(f"drop: pnl a day is {inside:.4g} in sample and {outside:.4g} out of sample on average:")
        for text in found.warnings
    )
    won = sum(row.profit > 0 for row in found.windows)
    assert f"windows: {won} of 3 made a profit out of sample" in found.warnings


@pytest.mark.parametrize(
    ("metric", "direction", "inside", "outside", "left"),
    [
        ("sharpe", "maximize", 2.651, -0.7615, "nothing of it is left"),
        ("sharpe", "maximize", 2.0, 0.5, "25% of it is left"),
        ("sharpe", "maximize", -1.0, -3.5, "worse by 2.5"),
        ("sharpe", "maximize", 1.0, 1.5, "better than in sample"),
        ("max_drawdown", "minimize", 1.0, 1.5, "worse by 0.5"),
        ("max_drawdown", "minimize", 1.5, 1.0, "better than in sample"),
        ("max_drawdown", "minimize", 1.5, 1.5, "as good as in sample"),
    ],
)
def test_what_is_left_out_of_sample_is_said_in_words(
    metric: str, direction: str, inside: float, outside: float, left: str
) -> None:
    row = WindowRow(0, 0, 1, 2, {}, 1, inside, outside, Decimal(1), 1, Decimal(9), Decimal(10), "")
    found = library.WalkForward(
        metric=metric, direction=direction, windows=Table(WindowRow._fields, [row]), equity=Table((), []), warnings=(),
        interrupted=False, sweeps=(), results=(None,),
    )  # fmt: skip
    means = f"{metric} is {inside:.4g} in sample and {outside:.4g} out of sample on average"
    assert f"drop: {means}: {left}" in list(warnings_of(found, 1))


def test_the_page_has_the_equity_out_of_sample_and_both_metrics_of_each_window(waves: Any, tmp_path: Path) -> None:
    found = walk(waves)
    page = found.plot(tmp_path / "page.html").read_text(encoding="utf-8")
    points = page.partition('<polyline class="line" points="')[2].partition('"')[0].split()
    assert len(points) == 1 + len(found.equity)
    heights = [float(point.partition(",")[2]) for point in points]
    values = [float(found.windows[0].starting_equity), *(row.equity for row in found.equity)]
    assert heights.index(min(heights)) == values.index(max(values))
    assert f">{max(values):,.2f}</text>" in page
    assert page.count('<line class="edge"') == len(found.windows) == 3
    for row in found.windows:
        assert f"<td>{row.in_sample:.6g}</td><td>{row.out_of_sample:.6g}</td><td>{row.profit:,.2f}</td>" in page
        assert " ".join(f"{key}={value}" for key, value in row.settings.items()) in page
    for text in found.warnings:
        assert f"<li>{text}</li>" in page
    assert "<script" not in page
    with pytest.raises(LabError, match=r"none/page\.html: cannot be written: No such file or directory"):
        found.plot(tmp_path / "none" / "page.html")


def test_the_page_of_a_walk_that_had_no_time_says_that_nothing_was_traded(waves: Any, tmp_path: Path) -> None:
    page = walk(waves, stopped=lambda: True).plot(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Nothing was traded" in page
    assert "interrupted: 0 of 3 windows were walked" in page


def test_a_page_of_many_candles_keeps_its_last_point(
    waves: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.research.walk_page._POINTS_MOST", 50)
    found = walk(waves)
    page = found.plot(tmp_path / "page.html").read_text(encoding="utf-8")
    points = page.partition('<polyline class="line" points="')[2].partition('"')[0].split()
    assert 25 < len(points) <= 51
    assert points[-1].startswith("960.0,")


def test_a_walk_that_was_stopped_goes_on_and_workers_come_to_the_same(waves: Any, tmp_path: Path) -> None:
    whole = walk(waves)
    storage = tmp_path / "walk.db"
    seen: list[int] = []
    begun = walk(waves, storage=storage, stopped=lambda: len(seen) > 1, progress=lambda at, of: seen.append(at))
    assert begun.interrupted
    assert len(begun.windows) == 1
    assert any(text.startswith("interrupted: 1 of 3 windows") for text in begun.warnings)
    strategy = f"{strategy_file(tmp_path)}:Waves"
    for found in (walk(waves, storage=storage), walk(strategy, workers=2)):
        assert list(found.windows) == list(whole.windows)
        assert list(found.equity) == list(whole.equity)
        assert not found.interrupted


def test_a_window_without_a_best_trades_nothing(waves: Any) -> None:
    found = walk(waves, space={"kind": ["raises"]})
    assert [row.error for row in found.windows] == ["no trial in sample has the metric"] * 3
    assert {(row.settings, row.profit, row.ending_equity) for row in found.windows} == {(None, Decimal(0), 10000)}
    assert any(text.startswith("idle: in 3 of 3 windows") for text in found.warnings)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"in_sample": "30d"}, "in_sample = 30d, out_of_sample = 40: no window fits; the prices are 0.1389 days long"),
        ({"in_sample": "long"}, "in_sample = 'long': expected a length, as 30d or 12h, or a number of candles"),
        ({"out_of_sample": 1}, "out_of_sample = 1: shorter than two candles"),
        ({"out_of_sample": 2.5}, "out_of_sample = 2.5: expected a length"),
        ({"workers": 0}, "workers = 0: expected a whole number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_windows_that_do_not_fit_are_refused_in_one_line(waves: Any, given: dict[str, Any], text: str) -> None:
    with pytest.raises(LabError) as refused:
        walk(waves, **given)
    assert str(refused.value).startswith(text)


# -- the command line -------------------------------------------------------------------------------------------------

MARKET = ("btcusd-1m", "--symbol", "BTCUSD", "--strategy", "sma", "--metric", "pnl")


def test_the_command_sweeps_shows_the_best_and_goes_on_where_it_stopped(lab: Any) -> None:
    command = ("sweep", *MARKET, "--space", "fast=5:9:4", "--space", "direction=long,both", "--storage", "sweep.db")
    first = lab(*command, "--page", "page.html")
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("4 trials, 4 complete; maximize pnl\n")
    assert "the best of 4 different settings" in first.out
    assert f"page: {lab.folder / 'page.html'}" in first.out
    assert (lab.folder / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    found = lab(*command, "--json").json()
    assert found["kind"] == "sweep"
    assert len(found["trials"]) == 4
    best = found["best"]["settings"]
    sets = [f"--set=sma.{key}={value}" for key, value in best.items()]
    alone = lab("backtest", *MARKET[:-2], *sets, "--json").json()
    assert float(alone["pnl_absolute"]) == found["best"]["value"]
    assert alone["pnl_absolute"] == found["trials"][found["best"]["number"]]["pnl"]
    left = sorted(one.name for one in lab.folder.iterdir())
    assert left == ["page.html", "runs", "sweep.db"], "no trial leaves files"


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (("--space", "fsat=3:5"), 78, "lab: space: sma has no setting 'fsat'; did you mean 'fast'?"),
        ((), 64, "lab: --space is missing: what is to be tried of a setting: --space fast=3:20"),
        (("--space", "fast"), 64, "lab: --space fast: expected NAME=LOW:HIGH, NAME=LOW:HIGH:STEP or NAME=A,B,C"),
        (("--space", "fast=3", "--space", "fast=4"), 64, "lab: --space gives fast twice; keep one"),
        (("--space", "fast=3:5", "--workers", "0"), 78, "lab: workers = 0: expected a whole number, 1 or more"),
        (("--space", "fast=5:3"), 78, "lab: space: fast = ('5', '3'): it is empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_command_that_cannot_sweep_says_why_in_one_line(
    lab: Any, args: tuple[str, ...], code: int, text: str
) -> None:
    done = lab("sweep", *MARKET, *args)
    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(text)
    assert done.err.count("\n") == 1


def test_the_command_walks_forward(lab: Any) -> None:
    lengths = ("--in-sample", "8h", "--out-of-sample", "8h")
    done = lab("walkforward", *MARKET, *lengths, "--space", "fast=5:9:4")
    assert (done.code, done.err) == (0, "")
    assert "out of sample: profit" in done.out
    assert "drop: pnl a day is" in done.out
    assert "page: " not in done.out
    paged = lab("walkforward", *MARKET, *lengths, "--space", "fast=5:9:4", "--page", "page.html")
    assert paged.out == f"{done.out}page: {lab.folder / 'page.html'}\n"
    found = lab("walkforward", *MARKET, *lengths, "--space", "fast=5:9:4", "--json", "--page", "page.html").json()
    assert (lab.folder / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [row["number"] for row in found["windows"]] == [0, 1]
    assert Decimal(found["profit"]) == sum(Decimal(row["profit"]) for row in found["windows"])
    refused = lab("walkforward", *MARKET, *lengths, "--space", "fast=5:9:4", "--pruner", "median")
    assert (refused.code, "--pruner is for `lab sweep`; leave it out" in refused.err) == (64, True)
