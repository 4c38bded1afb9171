"""A class in a file or a module stands for a component: no package is needed, and the journal knows the file."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

MINE = '''
"""A strategy in a file."""
from decimal import Decimal
import attrs
import lab
from helper import SIZE

@attrs.define(kw_only=True)
class InAndOut(lab.Strategy):
    every: int = 5
    seen: int = attrs.field(init=False, default=0)

    def on_candle(self, candle, view):
        self.seen += 1
        held = view.position(candle.symbol).quantity
        if self.seen % self.every:
            return []
        if held:
            return [lab.OrderRequest.sell(candle.symbol, held, reduce_only=True)]
        return [lab.OrderRequest.buy(candle.symbol, SIZE)]

@attrs.define
class Small(lab.RiskGate):
    def review(self, order, view):
        return lab.PASS

    def describe(self, view):
        return {}

class NoAttrs(lab.Strategy):
    def on_candle(self, candle, view):
        return []

@attrs.define
class Half(lab.Strategy):
    pass
'''
BACKTEST = ("backtest", "btcusd-1m", "--symbol", "BTCUSD")


@pytest.fixture
def mine(lab: Any) -> Path:
    (lab.folder / "helper.py").write_text("from decimal import Decimal\nSIZE = Decimal('0.01')\n", encoding="utf-8")
    path: Path = lab.folder / "mine.py"
    path.write_text(textwrap.dedent(MINE), encoding="utf-8")
    return path


@pytest.mark.behaviour("L3")
def test_a_class_in_a_file_trades_by_its_own_name_and_its_run_is_proved(lab: Any, mine: Path) -> None:
    result = lab(*BACKTEST, "--strategy", "./mine.py:InAndOut", "--set", "in_and_out.every=7", "--json")
    assert (result.code, result.err) == (0, "")
    report = result.json()
    assert (report["strategy"], report["settings"]["in_and_out"]["every"]) == ("in_and_out", "7")
    assert report["orders"] == 1440 // 7
    [(_, _, started)] = lab.run().rows("run_started")
    [recorded] = started["strategies"]
    assert recorded["type"] == f"{mine}:InAndOut"
    assert recorded["distribution"] == "mine.py"
    assert recorded["version"].startswith("sha256 ")
    assert "identical" in lab("verify").out


@pytest.mark.behaviour("L3")
def test_verify_says_that_the_file_changed_and_whether_it_matters(lab: Any, mine: Path) -> None:
    lab(*BACKTEST, "--strategy", "./mine.py:InAndOut")
    mine.write_text(mine.read_text(encoding="utf-8") + "# a remark\n", encoding="utf-8")
    same = lab("verify")
    assert (same.code, "identical" in same.out) == (0, True)
    assert "mine.py changed since the run, and gives the same rows" in same.err
    mine.write_text(mine.read_text(encoding="utf-8").replace("if self.seen %", "if not self.seen %"), encoding="utf-8")
    other = lab("verify")
    assert other.code == 1
    assert "other code: in_and_out came from mine.py sha256 " in other.out
    mine.unlink()
    gone = lab("verify")
    assert gone.code == 69
    assert f"{mine}: no such file" in gone.err


def test_one_class_of_its_kind_needs_no_name_and_an_alias_is_free(lab: Any, mine: Path) -> None:
    result = lab(*BACKTEST, "--strategy", "./mine.py:InAndOut", "--gate", "./mine.py", "--no-write", "--json")
    assert result.json()["gates"] == ["small"]
    named = lab(*BACKTEST, "--strategy", "own=./mine.py:InAndOut", "--set", "own.every=9", "--no-write", "--json")
    assert named.json()["settings"]["own"]["every"] == "9"


def test_a_class_of_a_module_that_can_be_imported_is_taken_too(lab: Any) -> None:
    result = lab(*BACKTEST, "--strategy", "lab_sma_strategy.strategy:SmaCross", "--no-write", "--json")
    assert (result.code, result.json()["strategy"]) == (0, "sma_cross")


def test_files_of_two_folders_have_each_their_own_helper_of_the_same_name(lab: Any) -> None:
    for folder, size in (("a", "0.01"), ("b", "0.02")):
        (lab.folder / folder).mkdir()
        (lab.folder / folder / "helper.py").write_text(f"from decimal import Decimal\nSIZE = Decimal('{size}')\n")
        (lab.folder / folder / "mine.py").write_text(textwrap.dedent(MINE), encoding="utf-8")
    both = ("--strategy", "x=./a/mine.py:InAndOut", "--strategy", "y=./b/mine.py:InAndOut")
    assert lab(*BACKTEST, *both).code == 0
    sizes = {(body["strategy"], body["quantity"]) for _, _, body in lab.run().rows("order_accepted")}
    assert {("x", "0.0100"), ("y", "0.0200")} <= sizes
    assert "identical" in lab("verify").out


def test_a_session_resumes_and_replays_with_a_class_of_a_file(lab: Any, mine: Path) -> None:
    assert lab.mock("--strategy", "./mine.py:InAndOut", minutes=30).code == 0
    assert lab.run().report()["fills"] > 3
    assert "identical" in lab("verify").out
    assert lab("replay").code == 0


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("./mien.py:InAndOut", "mien.py: no such file; did you mean 'mine.py'?"),
        ("./mine.py:InAndOt", "mine.py: defines no InAndOt; did you mean 'InAndOut'?"),
        ("./mine.py:attrs", "mine.py: attrs is no subclass of Strategy; derive it from lab.Strategy"),
        ("./mine.py:Small", "mine.py: class Small is no subclass of Strategy; derive it from lab.Strategy"),
        ("./mine.py:NoAttrs", "whose class is no attrs class; add @attrs.define"),
        ("./mine.py:Half", "whose class lacks on_candle"),
        ("./mine.py", "mine.py: expected one subclass of Strategy; it defines InAndOut, NoAttrs; give "),
        ("./helper.py", "helper.py: expected one subclass of Strategy; it defines none"),
        ("./broken.py:Mine", "broken.py: cannot be imported: SyntaxError: "),
        ("./raises.py:Mine", "raises.py: cannot be imported: ZeroDivisionError: division by zero (line 2)"),
        ("no_such_module:Mine", "the module no_such_module cannot be imported: ModuleNotFoundError"),
        ("mine:InAndOut", "; a file is named by its path: ./mine.py:InAndOut"),
        ("deeper.mine:InAndOut", "; a file is named by its path: ./deeper/mine.py:InAndOut"),
        (":Mine", "names no file; expected file.py:Class or package.module:Class"),
    ],
)
def test_what_is_no_component_is_refused_in_one_line(
    lab: Any, mine: Path, one_line: Any, reference: str, said: str
) -> None:
    (lab.folder / "broken.py").write_text("class Mine(:\n", encoding="utf-8")
    (lab.folder / "raises.py").write_text("x = 1\ny = x / 0\n", encoding="utf-8")
    (lab.folder / "deeper").mkdir()
    (lab.folder / "deeper" / "mine.py").write_text(textwrap.dedent(MINE), encoding="utf-8")
    one_line(lab(*BACKTEST, "--strategy", reference), 69, said)
    assert not (lab.folder / "runs").exists()


def test_the_name_of_a_file_is_no_strategy_and_its_path_is_told(lab: Any, mine: Path, one_line: Any) -> None:
    one_line(lab(*BACKTEST, "--strategy", "mine"), 64, "; a file is named by its path: ./mine.py")
    other = lab(*BACKTEST, "--strategy", "no_such_module:Mine")
    assert "named by its path" not in other.err


def test_a_module_that_fails_is_not_taken_for_a_file(
    lab: Any, mine: Path, one_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab.folder / "wants.py").write_text("import no_such_module\n", encoding="utf-8")
    monkeypatch.syspath_prepend(lab.folder)
    done = lab(*BACKTEST, "--strategy", "wants:Mine")
    one_line(done, 69, "No module named 'no_such_module'")
    assert "named by its path" not in done.err
