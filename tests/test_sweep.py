"""`lab.sweep` in one process: what is tried, what is found, what is said against it, and what is kept."""

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import lab as library
import pytest
from lab.errors import ConfigError, LabError
from lab.plugins.references import load_file
from lab.research.overfitting import deflated_sharpe
from lab.statistics.returns import daily_returns, sharpe
from sweeping import MINUTE, PLAIN, columns, rows, strategy_file

SPACE = {"fast": (2, 5), "slow": (6, 12, 3)}


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_file(strategy_file(tmp_path_factory.mktemp("strategy"))).Waves


@pytest.fixture(scope="module")
def prices() -> Any:
    return library.load(columns(), symbol="X")


def sweep(strategy: Any, data: Any, space: Any = None, **more: Any) -> Any:
    return library.sweep(strategy, data, SPACE if space is None else space, **{"metric": "pnl", **PLAIN, **more})


# -- what is tried and found ------------------------------------------------------------------------------------------


def test_a_grid_tries_each_point_once_and_its_best_is_what_a_backtest_makes(waves: Any, prices: Any) -> None:
    found = sweep(waves, prices)
    tried = [(row.fast, row.slow) for row in found.trials]
    assert tried == [(fast, slow) for fast in range(2, 6) for slow in (6, 9, 12)]
    assert {row.state for row in found.trials} == {"complete"}
    for row in found.trials:
        alone = library.backtest(waves(fast=row.fast, slow=row.slow), prices, **PLAIN)
        assert (row.pnl, row.trades) == (alone.report.pnl_absolute, alone.report.trades)
    best = max(found.trials, key=lambda row: (row.pnl, -row.number))
    assert (found.best.number, found.best.value) == (best.number, float(best.pnl))
    assert found.best.settings == {"fast": best.fast, "slow": best.slow}
    assert found.best.result.report.pnl_absolute == best.pnl
    assert found.run(0).report.pnl_absolute == found.trials[0].pnl
    assert len({row.pnl for row in found.trials}) > 6, "the market tells settings apart"


def test_settings_have_their_own_types_and_exact_steps(waves: Any, prices: Any) -> None:
    space = {"size": ("0.1", "0.3", "0.1"), "bias": [0.1, 0.2], "kind": ["long", "both"], "fast": range(2, 4)}
    found = sweep(waves, prices, space)
    assert len(found.trials) == 3 * 2 * 2 * 2
    sizes = {fill.quantity for row in found.trials for fill in found.run(row.number).fills[:1]}
    assert sizes == {row.size for row in found.trials} == {Decimal("0.1"), Decimal("0.2"), Decimal("0.3")}
    steps = sweep(waves, prices, {"bias": (0.1, 0.5, 0.2)})
    assert [row.bias for row in steps.trials] == [0.1, 0.3, 0.5]
    free = sweep(waves, prices, {"bias": (0.0, 1.0), "size": (Decimal(1), Decimal(2))}, trials=3)
    assert all(0.0 <= row.bias <= 1.0 and 1 <= row.size <= 2 for row in free.trials)


def test_a_space_can_be_a_function_and_a_metric_too(waves: Any, prices: Any) -> None:
    def space(trial: Any) -> dict[str, Any]:
        fast = trial.suggest_int("fast", 2, 4)
        return {"fast": fast, "slow": fast * trial.suggest_int("times", 2, 3)}

    def rounds(result: Any) -> int:
        return int(result.report.trades)

    found = sweep(waves, prices, space, metric=rounds, direction="minimize", trials=12, sampler="random")
    assert found.metric == "rounds"
    assert {row.slow / row.fast for row in found.trials} == {2, 3}
    assert found.best.value == min(row.trades for row in found.trials)
    assert set(found.best.settings) == {"fast", "slow"}
    drawn = sweep(waves, prices, lambda trial: trial.suggest_int("fast", 2, 3) and None, trials=3)
    assert {row.fast for row in drawn.trials} <= {2, 3}


def test_settings_of_other_components_and_of_several_strategies_are_named_with_theirs(waves: Any, prices: Any) -> None:
    costs = sweep(waves, prices, {"paper.slippage_bps": [0, 50], "fast": [3]})
    cheap, dear = (row.pnl for row in costs.trials)
    assert costs.trials.names[3:5] == ("paper.slippage_bps", "fast")
    assert cheap > dear
    two = sweep({"one": waves(), "two": waves(slow=12)}, prices, {"one.fast": [2, 4]})
    assert two.trials.names[3] == "one.fast"
    assert len({row.pnl for row in two.trials}) == 2
    with pytest.raises(ConfigError, match=r"the run has 2 strategies; say whose: one\.fast, two\.fast"):
        sweep({"one": waves(), "two": waves()}, prices, {"fast": [2, 4]})


def test_an_instance_gives_the_settings_that_are_not_tried(waves: Any, prices: Any) -> None:
    assert sweep(waves(size=Decimal(2)), prices, {"fast": [3]}).trials[0].pnl == 2 * (
        sweep(waves, prices, {"fast": [3]}).trials[0].pnl
    )


def test_a_trial_that_fails_is_a_row_with_its_error_and_the_others_go_on(waves: Any, prices: Any, capfd: Any) -> None:
    found = sweep(waves, prices, {"kind": ["both", "raises"], "fast": (3, 10, 6)})
    assert [row.state for row in found.trials] == ["complete", "failed", "failed", "failed"]
    assert [row.error for row in found.trials] == [
        "",
        "space: waves: fast = 9 must be below slow = 9",
        "strategy waves failed in on_candle: RuntimeError: it was asked to",
        "space: waves: fast = 9 must be below slow = 9",
    ]
    assert any(text.startswith("failed: 3 of 4 trials, 2 of them: space: waves") for text in found.warnings)
    assert capfd.readouterr() == ("", ""), "what fails in a trial is in its row"
    none = sweep(waves, prices, {"kind": ["raises"]})
    assert none.best is None
    assert repr(none) == "<Sweep of 1 trials: no best>"


def test_a_figure_that_a_run_does_not_have_is_said(waves: Any, prices: Any) -> None:
    found = sweep(waves, prices, {"fast": [2, 3]}, metric="sharpe")
    assert found.best is None
    assert all(row.error.startswith("no sharpe") for row in found.trials)
    odd = sweep(waves, prices, {"fast": [2, 3]}, metric=lambda result: "much")
    assert {row.error for row in odd.trials} == {"metric <lambda> gave 'much'; expected a number"}
    broken = sweep(waves, prices, {"fast": [2]}, metric=lambda result: 1 / 0)
    assert broken.trials[0].error == "metric <lambda> failed: ZeroDivisionError: division by zero"


def test_a_pruner_gives_trials_up_that_lag_behind(waves: Any, prices: Any) -> None:
    import optuna

    pruner = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=2)
    found = sweep(waves, prices, pruner=pruner)
    states = [row.state for row in found.trials]
    assert states[:8] == ["complete"] * 8
    assert "pruned" in states
    assert all(row.value is None for row in found.trials if row.state == "pruned")
    assert rows(sweep(waves, prices, pruner=pruner)) == rows(found)


# -- the same again ---------------------------------------------------------------------------------------------------


def test_the_same_seed_draws_the_same_trials_and_another_one_others(waves: Any, prices: Any) -> None:
    first, again, other = (sweep(waves, prices, {"bias": (0.0, 9.0)}, trials=14, seed=seed) for seed in (1, 1, 2))
    assert rows(first) == rows(again)
    assert [row.bias for row in first.trials] != [row.bias for row in other.trials]
    biases = [row.bias for row in first.trials]
    assert len(set(biases)) == 14


@pytest.mark.behaviour("L4")
@pytest.mark.parametrize("after", [1, 11])
def test_a_sweep_that_was_stopped_goes_on_as_if_it_had_not_been(
    waves: Any, prices: Any, tmp_path: Path, after: int
) -> None:
    how = {"space": {"bias": (0.0, 9.0)}, "trials": 14}
    whole = sweep(waves, prices, **how)
    ended: list[int] = []
    begun = {**how, "storage": tmp_path / "sweep.db"}
    part = sweep(waves, prices, **begun, stopped=lambda: len(ended) >= after, progress=lambda *at: ended.append(at[0]))
    assert part.interrupted
    assert len(part.trials) == after
    assert rows(part) == rows(whole)[:after]
    assert any(text.startswith(f"interrupted: {after} trials have ended") for text in part.warnings)
    told: list[tuple[int, int]] = []
    rest = sweep(waves, prices, **begun, progress=lambda *at: told.append(at))
    assert told == [(number, 14) for number in range(after + 1, 15)], "what has ended is not run again"
    assert rows(rest) == rows(whole)
    assert rest.warnings == whole.warnings
    more = sweep(waves, prices, **{**begun, "trials": 16})
    assert rows(more)[:14] == rows(whole)
    assert len(more.trials) == 16


def test_settings_that_come_again_are_not_run_again(waves: Any, prices: Any) -> None:
    runs: list[int] = []
    found = sweep(
        waves, prices, {"fast": [2, 3]}, trials=9, sampler="random", metric=lambda result: runs.append(1) or len(runs)
    )
    assert len(found.trials) == 9
    assert len(runs) == 2


def test_a_study_of_something_else_is_refused_with_the_cure(waves: Any, prices: Any, tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    space = {"fast": [2, 3]}
    sweep(waves, prices, space, storage=path)
    moved = library.load(columns(moved=1.0), symbol="X")
    changed = strategy_file(tmp_path).rename(tmp_path / "changed.py")
    changed.write_text(changed.read_text().replace("not held", "held == 0"), encoding="utf-8")
    for what, more in {
        "other prices": {"data": moved},
        "another version of the strategy": {"strategy": f"{changed}:Waves"},
        "other settings of the run": {"equity": 5000},
        "other settings of the run ": {"strategy": waves(size=2)},
        "another space": {"space": {"fast": [2, 4]}},
        "another metric": {"metric": "trades"},
        "another direction": {"direction": "minimize"},
    }.items():
        given = {"strategy": waves, "data": prices, "space": space, "storage": path, **more}
        with pytest.raises(ConfigError, match=f"its study 'sweep' is of {what.strip()}; give another storage or name"):
            sweep(**given)
    assert len(sweep(waves, moved, space, storage=path, name="moved").trials) == 2
    url = sweep(waves, prices, space, storage=f"sqlite:///{path}", progress=lambda *at: pytest.fail("ran again"))
    assert len(url.trials) == 2
    assert [one.name for one in tmp_path.iterdir() if "sweep" in one.name] == ["sweep.db"]


def test_a_storage_in_use_or_of_something_else_is_refused_in_one_line(waves: Any, prices: Any, tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"

    def nested(result: Any) -> int:
        with pytest.raises(LabError, match=r"sweep\.db: another sweep uses it; wait for its end"):
            sweep(waves, prices, {"fast": [2]}, storage=path)
        return 1

    assert sweep(waves, prices, {"fast": [2]}, storage=path, metric=nested).best.value == 1
    (tmp_path / "text.db").write_text("no database, but a text that is long enough to be looked at" * 100)
    with pytest.raises(LabError, match=r"text\.db: cannot be used: .*expected a path, as sweep\.db, or a URL"):
        sweep(waves, prices, {"fast": [2]}, storage=tmp_path / "text.db")
    with pytest.raises(LabError, match=r"cannot be written: No such file or directory; choose another storage"):
        sweep(waves, prices, {"fast": [2]}, storage=tmp_path / "none" / "sweep.db")


# -- what is said against the best ------------------------------------------------------------------------------------


def test_the_neighbours_of_the_best_are_run_where_no_trial_shows_them(waves: Any, prices: Any, tmp_path: Path) -> None:
    found = sweep(waves, prices, {"fast": (2, 8), "slow": (10, 30)}, trials=5, storage=tmp_path / "a.db", seed=3)
    best = found.best
    expected = [(name, best.settings[name] + step) for name in ("fast", "slow") for step in (-1, 1)]
    ends = {"fast": (2, 8), "slow": (10, 30)}
    expected = [(name, value) for name, value in expected if ends[name][0] <= value <= ends[name][1]]
    assert [(one.setting, one.value) for one in found.beside] == expected
    for one in found.beside:
        alone = library.backtest(waves(**{**best.settings, one.setting: one.value}), prices, **PLAIN)
        assert one.metric == float(alone.report.pnl_absolute)
        assert one.change == one.metric - best.value
    (text,) = (text for text in found.warnings if text.startswith("neighbours: "))
    worst = min(found.beside, key=lambda one: one.metric)
    assert f"{worst.metric:.4g} at the worst ({worst.setting} = {worst.value}), against {best.value:.4g}" in text
    again = sweep(waves, prices, {"fast": (2, 8), "slow": (10, 30)}, trials=5, storage=tmp_path / "a.db", seed=3)
    assert list(again.beside) == list(found.beside)


def test_what_luck_would_show_stands_beside_the_best_sharpe_ratio(waves: Any) -> None:
    hours = library.load(columns(24 * 16, step_ns=60 * MINUTE), symbol="X")
    found = sweep(waves, hours, metric="sharpe")
    returns = daily_returns(found.best.result.daily_equities())
    assert len(returns) == 16
    assert sharpe(returns) == pytest.approx(found.best.value, rel=1e-11)
    deflated = deflated_sharpe(returns, [row.value / math.sqrt(365) for row in found.trials])
    said = f"of 12 without skill would show a Sharpe ratio of {deflated.luckiest:.2f}; deflated Sharpe ratio "
    (luck,) = (text for text in found.warnings if text.startswith("luck: "))
    assert f"{said}{deflated.probability:.3f}: " in luck
    assert "one trial alone" in sweep(waves, hours, {"fast": [3]}, metric="sharpe").warnings[1]


def test_an_end_of_a_range_and_few_trades_are_said(waves: Any, prices: Any) -> None:
    found = sweep(waves, prices, {"size": (1, 3, 1)})
    assert found.best.settings == {"size": Decimal(3)}
    assert "edge: size = 3.0 is an end of its range; better ones may lie beyond" in found.warnings
    trades = found.trials[2].trades
    assert f"trades: the best made {trades}; fewer than 30 say little" in found.warnings
    assert found.warnings[0].startswith("chosen: the best of 3 different settings, measured on the very data")


def test_the_page_has_the_surface_and_what_is_said(waves: Any, prices: Any, tmp_path: Path) -> None:
    found = sweep(waves, prices)
    page = found.plot(tmp_path / "page.html").read_text(encoding="utf-8")
    for row in found.trials:
        assert f">{row.value:.4g}</td>" in page
    for text in found.warnings:
        assert text.replace("'", "&#x27;") in page
    assert "fast × slow" in page
    assert "<script" not in page
    with pytest.raises(LabError, match=r"none/page\.html: cannot be written: No such file or directory"):
        found.plot(tmp_path / "none" / "page.html")


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"strategy": int}, "int is no strategy; derive it from lab.Strategy"),
        ({"strategy": 5}, "5 is no strategy; expected an instance of lab.Strategy, or a name"),
        ({"space": {"fsat": (2, 3)}}, "space: waves has no setting 'fsat'; did you mean 'fast'?"),
        ({"space": {"papre.latency_ms": (2, 3)}}, "space: papre has no setting"),
        ({"space": {}}, "space: it is empty; name what is to be tried"),
        ({"space": 5}, "space: 5; expected ranges and choices by name"),
        ({"space": {"fast": (5, 2)}}, "space: fast = (5, 2): it is empty, for its low is above its high"),
        ({"space": {"fast": ("a", 2)}}, "space: fast = 'a': expected whole number"),
        ({"space": {"fast": (2.5, 4)}}, "space: fast = 2.5: expected whole number"),
        ({"space": {"fast": (2, 4, 0)}}, "space: fast = (2, 4, 0): a step of 0; expected one above 0"),
        ({"space": {"fast": (2,)}}, "space: fast = (2,): expected (low, high) or (low, high, step)"),
        ({"space": {"fast": []}}, "space: fast = []: it is empty; list what is to be tried"),
        ({"space": {"fast": range(0)}}, "space: fast = range(0, 0): it is empty"),
        ({"space": {"fast": 7}}, "space: fast = 7: expected (low, high), (low, high, step) or a list of choices"),
        ({"space": {"kind": ("a", "b")}}, "space: kind = ('a', 'b'): a range is of numbers, and kind is text; list"),
        ({"space": {"fast": [2], "waves.fast": [3]}}, "space: waves.fast is given twice"),
        ({"space": {"bias": (0.0, 1.0)}}, "space: bias: (0.0, 1.0) has no step, and a grid needs one"),
        ({"space": {"fast": (1, 10**6)}}, "space: a grid of 1,000,000 points; give trials, or wider steps"),
        ({"space": lambda trial: None}, "space: a function has no grid; give trials, or ranges"),
        ({"space": lambda trial: 5, "trials": 2}, "space: the function gave 5; expected the settings by name"),
        ({"space": lambda trial: 1 / 0, "trials": 2}, "space: the function failed: ZeroDivisionError"),
        ({"space": lambda trial: {"fst": 1}, "trials": 2}, "space: waves has no setting 'fst'; did you mean 'fast'?"),
        ({"metric": "pnl_absolute"}, "metric = 'pnl_absolute': no such figure; did you mean 'pnl'?"),
        ({"metric": "shrap"}, "metric = 'shrap': no such figure; did you mean 'sharpe'?"),
        ({"metric": 5}, "metric = 5: expected the name of a figure, or a function"),
        ({"direction": "up"}, "direction = 'up': expected maximize or minimize"),
        ({"workers": 0}, "workers = 0: expected a whole number, 1 or more"),
        ({"trials": 0}, "trials = 0: expected a whole number, 1 or more"),
        ({"sampler": "luck"}, "sampler = 'luck': expected grid, random, tpe or an Optuna sampler"),
        ({"pruner": "all"}, "pruner = 'all': expected median, halving, hyperband or an Optuna pruner"),
        ({"pruner": "median", "metric": "fees_paid"}, "pruner: it compares profits so far, and the sweep minimizes"),
        ({"settings": {"sam.fast": 3}}, "settings: sam.fast: this run has no component of that name"),
        ({"gates": ["max_dally_loss"]}, "no risk gate named 'max_dally_loss'; did you mean 'max_daily_loss'?"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_swept_is_refused_in_one_line_with_the_cure(
    waves: Any, prices: Any, given: dict[str, Any], text: str
) -> None:
    with pytest.raises(LabError) as refused:
        sweep(**{"strategy": waves, "data": prices, "space": {"fast": [2, 3]}, **given})
    assert str(refused.value).startswith(text)
    assert "\n" not in str(refused.value)


def test_without_optuna_the_cure_is_one_line(waves: Any, prices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"a sweep needs Optuna: pip install 'lab-trading\[sweep\]'"):
        sweep(waves, prices)


def test_a_worker_begins_no_sweep(waves: Any, prices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_SWEEP_WORKER", "1")
    with pytest.raises(ConfigError, match="put the call under: if __name__ == '__main__':"):
        sweep(waves, prices)
