"""What a study's code is: one of other code or another metric is refused, and workers run what was imported."""

import importlib
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import lab as library
import pytest
from attrs import define
from lab.errors import ConfigError, RunError
from lab.research.code import code_of
from lab.research.dask_workers import DaskWorkers
from sweeping import PLAIN, columns

BASE = """
import lab
from attrs import define
from decimal import Decimal

SIDE = "buy"


@define(kw_only=True)
class Base(lab.Strategy):
    size: int = 1

    def on_candle(self, candle, view):
        if view.position(candle.symbol).quantity:
            return []
        return [getattr(lab.OrderRequest, SIDE)(candle.symbol, Decimal(self.size))]
"""
KID = """
from attrs import define
from {base} import Base


@define(kw_only=True)
class Kid(Base):
    pass
"""
Load = Callable[[str, str], ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Write a module beside others and import it; it is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = []

    def loaded(name: str, text: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        sys.modules.pop(name, None)
        names.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield loaded
    for name in names:
        sys.modules.pop(name, None)


def sweep(strategy: Any, **more: Any) -> Any:
    return library.sweep(strategy, **{"data": columns(), "space": {"size": [1, 2]}, "metric": "pnl", **PLAIN, **more})


def factory(side: str, size: int = 1) -> type[library.Strategy]:
    """Return a class that differs from its like in nothing but what it encloses."""
    default = size

    @define(kw_only=True)
    class Made(library.Strategy):
        size: int = default

        def on_candle(self, candle: library.Candle, view: library.View) -> list[library.OrderRequest]:
            if view.position(candle.symbol).quantity:
                return []
            return [getattr(library.OrderRequest, side)(candle.symbol, Decimal(self.size))]

    return Made


def times(factor: Any) -> Callable[[Any], float]:
    def metric(result: Any) -> float:
        return float(result.report.pnl_absolute) * factor

    return metric


@pytest.mark.behaviour("L4")
def test_a_study_of_a_class_or_metric_that_encloses_another_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    first = sweep(factory("buy"), metric=times(1), storage=path)
    again = sweep(factory("buy"), metric=times(1), storage=path, progress=lambda *at: pytest.fail("ran again"))
    assert again.best.value == first.best.value
    with pytest.raises(ConfigError, match="is of another version of the strategy; give another storage or name"):
        sweep(factory("sell"), metric=times(1), storage=path)
    with pytest.raises(ConfigError, match="is of another metric; give another storage or name"):
        sweep(factory("buy"), metric=times(-1), storage=path)


def test_code_is_told_from_code_that_differs_in_one_thing() -> None:
    first, second = lambda result: result.report.trades, lambda result: result.report.fills
    assert code_of(first) != code_of(second), "two on one line, which differ in a name"
    one, other = (lambda result: 1, lambda result: 2)
    assert code_of(one) != code_of(other), "two on one line, which differ in a number"
    assert code_of(factory("buy")) == code_of(factory("buy"))
    assert code_of(factory("buy", 1)) != code_of(factory("buy", 2)), "a default"
    assert code_of(times(times(1))) != code_of(times(times(2))), "what is enclosed by what is enclosed"
    assert code_of(times({"a", "b", "c"})) == code_of(times({"c", "b", "a"})), "a set has no order"
    assert code_of(times(object())) == code_of(times(object())), "an address is no difference"
    endless: list[Any] = []
    endless.append(endless)
    assert code_of(times(endless)) != code_of(times([]))
    assert code_of(partial(max, 1)) != code_of(partial(max, 2))
    assert code_of(Weighted(1)) != code_of(Weighted(2)), "an object that can be called"
    assert code_of(Weighted(1).__call__) != code_of(Weighted(2).__call__), "its method"

    def counting() -> Callable[[], int]:
        number = 0

        def count() -> int:
            nonlocal number
            number += 1
            return number

        return count

    used = counting()
    used()
    assert code_of(used) == code_of(counting()), "what a function counts is no other code"


class Weighted:
    def __init__(self, weight: int) -> None:
        self.weight = weight

    def __call__(self, result: Any) -> float:
        return float(self.weight)


def test_a_global_of_the_script_is_part_of_the_code(load: Load) -> None:
    text = "SIDE = {!r}\ndef metric(result):\n    return [SIDE for one in result]\n"
    assert code_of(load("with_global", text.format("buy")).metric) != code_of(
        load("with_global", text.format("sell")).metric
    )


def test_a_study_of_a_class_whose_base_class_is_of_a_changed_file_is_refused(tmp_path: Path, load: Load) -> None:
    load("base_of_kid", BASE)
    kid = load("kid", KID.format(base="base_of_kid")).Kid
    sweep(kid, storage=tmp_path / "sweep.db")
    load("base_of_kid", BASE.replace('"buy"', '"sell"'))
    changed = load("kid", KID.format(base="base_of_kid")).Kid
    with pytest.raises(ConfigError, match="is of another version of the strategy"):
        sweep(changed, storage=tmp_path / "sweep.db")


def test_workers_refuse_a_module_that_changed_since_it_was_imported(tmp_path: Path, load: Load) -> None:
    load("base_of_kid", BASE)
    kid = load("kid", KID.format(base="base_of_kid")).Kid
    alone = sweep(kid)
    assert sweep(kid, workers=2).best.value == alone.best.value
    (tmp_path / "base_of_kid.py").write_text(BASE.replace('"buy"', '"sell"'), encoding="utf-8")
    with pytest.raises(RunError, match=r"^base_of_kid\.py changed since it was imported; start the program anew$"):
        sweep(kid, workers=2)
    assert sweep(kid).best.value == alone.best.value, "in this process the class is what it was"


# -- Dask's workers that come back late -------------------------------------------------------------------------------


class Future:
    """A trial that a worker ran, or whose worker died."""

    def __init__(self, key: str, came: Any) -> None:
        self.key, self.came = key, came

    def result(self) -> Any:
        if isinstance(self.came, Exception):
            raise self.came
        return self.came

    def add_done_callback(self, done: Callable[[Any], None]) -> None:
        done(self)


class Client:
    """A Dask client whose worker dies with the first trial, and is not back when it is looked for next."""

    status, id = "running", "client"

    def __init__(self, *given: Any, **more: Any) -> None:
        self.spread, self.begun, self.away = 0, 0, 0

    def wait_for_workers(self, *given: Any, **more: Any) -> None:
        """Return: the scheduler has not seen yet that the worker is gone."""

    def run(self, function: Callable[[], Any], **more: Any) -> dict[str, Any]:
        return {"tcp://one": function()}

    def nthreads(self) -> dict[str, int]:
        return {"tcp://one": 1}

    def scatter(self, packed: Any, **more: Any) -> Any:
        self.spread += 1
        if self.away:
            self.away -= 1
            raise TimeoutError("No valid workers found")
        return packed

    def submit(self, function: Callable[..., Any], *given: Any, key: str, **more: Any) -> Future:
        self.begun += 1
        if self.begun == 1:
            self.away = self.dies_for
            return Future(key, RuntimeError("its worker died"))
        return Future(key, function(*given))

    def cancel(self, futures: Any) -> None:
        """Take nothing back."""

    def close(self, timeout: float) -> None:
        """Leave nothing."""

    dies_for = 1


@pytest.fixture
def dask(monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    class Here(Client):
        pass

    monkeypatch.setattr("lab.research.dask_workers._distributed", lambda: ModuleType("distributed"))
    monkeypatch.setattr(DaskWorkers, "_connected", lambda self, scheduler: Here())
    monkeypatch.setattr("lab.research.dask_workers.time.sleep", lambda seconds: None)
    return Here


def test_a_dask_worker_that_is_not_back_at_once_is_waited_for(dask: type[Client]) -> None:
    dask.dies_for = 3
    alone = sweep(factory("buy"))
    found = sweep(factory("buy"), scheduler="tcp://127.0.0.1:1")
    assert [(row.state, row.value) for row in found.trials] == [(row.state, row.value) for row in alone.trials]


def test_a_dask_worker_that_never_comes_back_ends_the_sweep_in_one_line_and_what_ended_is_kept(
    dask: type[Client], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "sweep.db"
    monkeypatch.setattr("lab.research.dask_workers._BACK_S", 0.0)
    dask.dies_for = 10**9
    with pytest.raises(
        RunError, match=r"^no Dask worker came back within 0 s \(TimeoutError: No valid workers found\); start one, and"
    ):
        sweep(factory("buy"), scheduler="tcp://127.0.0.1:1", storage=path)
    ran: list[int] = []
    assert len(sweep(factory("buy"), storage=path, progress=lambda done, of: ran.append(done)).trials) == 2


# -- what is said of the data -----------------------------------------------------------------------------------------


def test_what_was_made_of_the_data_is_said_once_however_often_it_is_run(capfd: Any) -> None:
    given = {"metric": "pnl", "symbol": "BTCUSD", "interval": "5m"}
    library.sweep("sma", "btcusd-1m", {"fast": [3, 4]}, **given)
    assert capfd.readouterr().err == "lab: btcusd-1m: made 5m of 1m candles\n"
    library.backtest("sma", "btcusd-1m", symbol="BTCUSD", interval="5m")
    assert capfd.readouterr().err == "lab: btcusd-1m: made 5m of 1m candles\n"
    prices = library.load("btcusd-1m", symbol="BTCUSD", interval="5m")
    assert prices.notes == ("made 5m of 1m candles",)
    library.backtest("sma", prices)
    assert capfd.readouterr().err == "", "it stands in the notes of the prices"
