"""The frame of the contracts: what a failure says, and that excuses are written and strict."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.testing import Contract, ContractFailure, SimpleBroker, StrategyContract, check, rule
from lab.testing.contracts import by_kind
from lab.testing.contracts.broker import BrokerContract


class Small(Contract):
    """A contract of two rules."""

    @rule("X1", "one is the first number.", "return one.")
    def test_gives_one(self, make: Callable[[], int]) -> None:
        got = make()
        assert got == 1, f"got {got}"

    @rule("X2", "whole numbers count.", "return an int.")
    def test_gives_an_int(self, make: Callable[[], object]) -> None:
        got = make()
        assert isinstance(got, int), f"got {got!r}"


def test_a_failure_says_rule_evidence_reason_and_cure_in_three_lines() -> None:
    with pytest.raises(ContractFailure) as caught:
        Small().test_gives_one(lambda: 2)
    assert str(caught.value) == "X1 (gives one): got 2\nWhy: one is the first number.\nCure: return one."


def test_an_exception_of_the_component_is_evidence_with_its_place() -> None:
    def make() -> int:
        return {"a": 1}["b"]

    with pytest.raises(
        ContractFailure, match=r"^X1 \(gives one\): KeyError was raised at test_contract_base.py:\d+: 'b'\n"
    ):
        Small().test_gives_one(make)


def test_an_assertion_of_the_component_is_not_taken_for_the_rules_own() -> None:
    def make() -> int:
        assert not sys.argv, "my own"
        return 1

    with pytest.raises(ContractFailure, match=r"AssertionError was raised at test_contract_base\.py:"):
        Small().test_gives_one(make)


def test_of_an_exception_group_the_first_cause_is_told() -> None:
    def make() -> int:
        raise ExceptionGroup("many", [ExceptionGroup("inner", [ValueError("the cause")])])

    with pytest.raises(ContractFailure, match=r"ValueError was raised.*: the cause"):
        Small().test_gives_one(make)


def test_rules_that_hold_pass_in_silence() -> None:
    assert [(one.rule.number, one.outcome, one.text) for one in check(Small, lambda: 1)] == [
        ("C1", "passed", ""),
        ("X1", "passed", ""),
        ("X2", "passed", ""),
    ]


def test_an_excused_rule_that_fails_is_reported_as_such() -> None:
    class Excused(Small):
        excused = {"X1": "two is close enough"}  # noqa: RUF012 - what an author writes

    findings = {one.rule.number: (one.outcome, one.text) for one in check(Excused, lambda: 2)}
    assert findings["X1"] == ("excused", "X1 excused: two is close enough")
    assert findings["C1"][0] == "passed"
    with pytest.raises(pytest.xfail.Exception, match="two is close enough"):
        Excused().test_gives_one(lambda: 2)


@pytest.mark.parametrize(
    ("excuses", "number", "said"),
    [
        ({"X1": "was needed once"}, "X1", "the rule holds, but is excused: was needed once"),
        ({"X2": ""}, "C1", "excused['X2'] gives no reason: ''"),
        ({"X2": "  "}, "C1", "excused['X2'] gives no reason"),
        ({"X9": "a reason"}, "C1", "excused['X9']: there is no such rule; there are C1, X1, X2"),
        ({"C1": "a reason"}, "C1", "this rule cannot be excused"),
    ],
)
def test_a_bad_excuse_is_a_failure(excuses: dict[str, str], number: str, said: str) -> None:
    excusing = type("Excusing", (Small,), {"excused": excuses})
    findings = {one.rule.number: one for one in check(excusing, lambda: 1)}
    assert findings[number].outcome == "failed"
    assert said in findings[number].text


def test_an_excuse_without_a_reason_does_not_excuse() -> None:
    excusing = type("Excusing", (Small,), {"excused": {"X1": " "}})
    assert {one.rule.number for one in check(excusing, lambda: 2) if one.outcome == "failed"} == {"C1", "X1"}


@pytest.mark.parametrize("replacement", [None, lambda self, make: None])
def test_a_replaced_rule_is_a_failure(replacement: object) -> None:
    replacing = type("Replacing", (Small,), {"test_gives_one": replacement})
    with pytest.raises(ContractFailure, match=r"Replacing\.test_gives_one replaces rule X1"):
        replacing().test_excuses_name_a_rule_and_a_reason()


def test_every_kind_of_component_has_its_contract() -> None:
    assert by_kind(SimpleBroker) is BrokerContract
    with pytest.raises(TypeError, match="int derives from none of Provider, Strategy"):
        by_kind(int)


def test_rules_are_numbered_in_order_and_end_their_sentences() -> None:
    for contract in map(by_kind, _one_of_each_kind()):
        rules = [getattr(contract, name).rule for name in contract.rules().values()]
        letter = rules[1].number[0]
        assert [one.number for one in rules] == ["C1", *(f"{letter}{n}" for n in range(1, len(rules)))]
        for one in rules:
            assert one.why.endswith("."), one
            assert one.cure.endswith("."), one


def _one_of_each_kind() -> list[type]:
    from lab.ports import Broker, Provider, Reporter, RiskGate, Strategy

    return [Provider, Strategy, RiskGate, Broker, Reporter]


def test_contracts_are_imported_without_pytest() -> None:
    code = "import sys, lab.testing as t; [getattr(t, n) for n in t.__all__]; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    import lab.testing

    with pytest.raises(AttributeError, match=r"'lab\.testing' has no attribute 'Nonsense'"):
        lab.testing.Nonsense  # noqa: B018


def test_without_assertions_no_contract_passes() -> None:
    code = "from lab.testing import BrokerContract, SimpleBroker, check; check(BrokerContract, SimpleBroker)"
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "contracts are made of assertions" in done.stderr


_AUTHORS_FILE = """
from decimal import Decimal
import pytest
from attrs import define, field
from lab import OrderRequest, Strategy
from lab.testing import StrategyContract

@define(kw_only=True)
class Mine(Strategy):
    every: int = field(default=5, metadata={"help": "candles between two orders"})
    _seen: int = field(init=False, default=0)

    def on_candle(self, candle, view):
        self._seen += 1
        return (OrderRequest.buy(candle.symbol, QUANTITY),) if self._seen % self.every == 0 else ()

class TestMine(StrategyContract):
    @pytest.fixture
    def make(self):
        return Mine
"""


@pytest.mark.behaviour("P4")
def test_an_author_inherits_one_class_and_runs_pytest(tmp_path: Path) -> None:
    assert StrategyContract.__name__ in _AUTHORS_FILE
    good, bad = tmp_path / "test_good.py", tmp_path / "test_bad.py"
    good.write_text(_AUTHORS_FILE.replace("QUANTITY", 'Decimal("0.01")'))
    bad.write_text(_AUTHORS_FILE.replace("QUANTITY", "0.01"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "1 failed, 27 passed" in done.stdout, done.stdout
    assert "S6 (requests are well formed): at input 12: quantity 0.01 is float, not Decimal" in done.stdout
    assert "Why: money is exact" in done.stdout
    assert "Cure: return a sequence of requests" in done.stdout
