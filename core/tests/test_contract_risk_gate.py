"""Each rule of the risk gate contract catches the mistake it is there for."""

import random
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from attrs import define, field
from lab import PASS, OrderRequest, Refuse, RiskGate, Shrink, View
from lab.testing import RiskGateContract, check

D = Decimal


@define(kw_only=True)
class Largest(RiskGate):
    """Shrinks what is too large and refuses after a while: nothing is wrong with it."""

    most: Decimal = field(default=D("0.3"), metadata={"help": "largest order, in coins"})
    orders: int = field(default=60, metadata={"help": "most orders"})
    _passed: int = field(init=False, default=0)

    def count(self) -> int:
        self._passed += 1
        return self._passed

    def review(self, request: OrderRequest, view: View) -> Any:
        count = self.count()
        if count > self.orders:
            return Refuse("too many orders", {"orders": str(count), "limit": str(self.orders)})
        if request.quantity > self.most:
            return Shrink(self.most, "too large", {"quantity": str(request.quantity), "limit": str(self.most)})
        return PASS

    def describe(self, view: View) -> Mapping[str, Any]:
        return {"most": f"{self.most} coins"}


@define(kw_only=True)
class NoHelp(Largest):
    window: int = 3


@define(kw_only=True)
class ForgetsToReturn(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        return None if request.quantity < self.most else Largest.review(self, request, view)


@define(kw_only=True)
class Raises(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        raise KeyError(request.symbol)


@define(kw_only=True)
class Enlarges(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        return Shrink(request.quantity * 2, "all in", {"factor": "2"})


@define(kw_only=True)
class ShrinksToNothing(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        return Shrink(D(0), "nothing", {"left": "0"}) if request.quantity > self.most else PASS


@define(kw_only=True)
class ShrinksToAFloat(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        return Shrink(0.0001, "tiny", {"left": "0.0001"}) if request.quantity > self.most else PASS  # type: ignore[arg-type]


@define(kw_only=True)
class SaysNoWithoutNumbers(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        return Refuse("too large") if request.quantity > self.most else PASS


@define(kw_only=True)
class SaysNoWithoutReason(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        return Refuse("", {"a": "1"}) if request.quantity > self.most else PASS


@define(kw_only=True)
class NumbersAreNumbers(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        return Refuse("large", {"limit": self.most}) if request.quantity > self.most else PASS  # type: ignore[dict-item]


@define(kw_only=True)
class Dices(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        return PASS if random.random() < 0.5 else Refuse("bad luck", {"luck": "0"})


@define(kw_only=True)
class ReadsTheClock(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        time.monotonic()
        return Largest.review(self, request, view)


@define(kw_only=True)
class Adjusts(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        view.position(request.symbol).cost += 1
        return Largest.review(self, request, view)


@define(kw_only=True)
class ForgetsInRestore(Largest):
    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Forget."""


@define(kw_only=True, slots=False)
class StateBesideAttrs(Largest):
    def __attrs_post_init__(self) -> None:
        self.seen = 0

    def count(self) -> int:
        self.seen += 1
        return self.seen


@define(kw_only=True)
class SharesState(Largest):
    counts: ClassVar[list[int]] = []

    def count(self) -> int:
        self._passed += 1
        if self._passed == 1:
            self.counts.clear()
        self.counts.append(1)
        return len(self.counts)


@define(kw_only=True)
class DescribesWithAPrice(Largest):
    def describe(self, view: View) -> Mapping[str, Any]:
        return {"most": f"{self.most * view.mark('BTCUSDT')} USD"}


@define(kw_only=True)
class DescribesInNumbers(Largest):
    def describe(self, view: View) -> Mapping[str, Any]:
        return {"most": self.most}


@define(kw_only=True)
class DescribesNothing(Largest):
    def describe(self, view: View) -> Mapping[str, Any]:
        return {}


@define(kw_only=True)
class LetsAllThrough(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        return PASS


@define(kw_only=True)
class LooksTheWrongWay(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        small = request.quantity < self.most
        return Refuse("too large", {"limit": str(self.most)}) if small else PASS


BROKEN = [
    ("G1", NoHelp, "setting 'window' has no help text"),
    ("G2", ForgetsToReturn, "None (NoneType) is no verdict"),
    ("G2", Raises, "KeyError was raised"),
    ("G3", Enlarges, "Shrink to 0.02; asked for buy 0.01"),
    ("G3", ShrinksToNothing, "Shrink to 0; asked for"),
    ("G3", ShrinksToAFloat, "Shrink to 0.0001 (float), not Decimal"),
    ("G4", SaysNoWithoutNumbers, "Refuse without numbers"),
    ("G4", SaysNoWithoutReason, "Refuse without a reason"),
    ("G4", NumbersAreNumbers, "Refuse.numbers['limit'] is Decimal('0.3') (Decimal), not text"),
    ("G5", Dices, "one instance parts from another"),
    ("G6", ReadsTheClock, "time.monotonic"),
    ("G7", Adjusts, "view.position changed from"),
    ("G8", ForgetsInRestore, "'_passed' was"),
    ("G9", StateBesideAttrs, "a run restarted every 7 inputs"),
    ("G10", SharesState, "a gate beside another instance"),
    ("G11", DescribesWithAPrice, "LookupError was raised"),
    ("G11", DescribesInNumbers, "describe() before the first price['most'] is Decimal('0.3')"),
    ("G11", DescribesNothing, "describe() says nothing"),
    ("G12", LetsAllThrough, "it passed all"),
    ("G12", LooksTheWrongWay, "the smallest order on a whole book gets Refuse"),
]


def test_a_sound_gate_keeps_every_rule() -> None:
    assert [one.text for one in check(RiskGateContract, Largest) if one.outcome != "passed"] == []


@pytest.mark.behaviour("P4")
@pytest.mark.parametrize(("number", "broken", "said"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_gate_fails_the_rule_for_its_mistake(number: str, broken: Any, said: str) -> None:
    (found,) = check(RiskGateContract, broken, only=number)
    assert found.outcome == "failed"
    assert found.text.startswith(f"{number} (")
    assert said in found.text


def test_every_rule_has_a_gate_that_breaks_it() -> None:
    assert {number for number, _, _ in BROKEN} == set(RiskGateContract.rules()) - {"C1"}
