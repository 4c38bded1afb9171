"""Each rule of the risk gate contract catches the mistake it is there for."""

import random
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from attrs import define, field
from contract_checks import assert_breaks, broken_by, unkept
from lab import PASS, OrderEnded, OrderFilled, OrderRequest, Refuse, RiskGate, Shrink, Side, View
from lab.testing import RiskGateContract, check
from msgspec.structs import force_setattr

D = Decimal


@define(kw_only=True)
class Largest(RiskGate):
    """Shrinks what is too large and refuses after a while: nothing is wrong with it."""

    most: Decimal = field(default=D("0.3"), metadata={"help": "largest order, in coins"})
    orders: int = field(default=60, metadata={"help": "most orders"})
    _asked: dict[str, int] = field(init=False, factory=dict)

    def count(self, strategy: str) -> int:
        self._asked[strategy] = self._asked.get(strategy, 0) + 1
        return self._asked[strategy]

    def review(self, request: OrderRequest, view: View) -> Any:
        count = self.count(view.strategy)
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
        view._book.ledger.cash += 1  # noqa: SLF001 - the mistake
        return Largest.review(self, request, view)


@define(kw_only=True)
class WritesToTheView(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        view.position(request.symbol).cost += 1  # type: ignore[misc]
        return Largest.review(self, request, view)


@define(kw_only=True)
class TurnsTheRequest(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        force_setattr(request, "side", Side.SELL)
        return Largest.review(self, request, view)


@define(kw_only=True)
class GoesByAHash(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        return PASS if hash(f"{view.now_ns}") % 2 else Refuse("bad luck", {"luck": "0"})


@define(kw_only=True)
class Cooldown(Largest):
    """Refuses for a while after a loss, each book by its own: nothing is wrong with it."""

    minutes: int = field(default=60, metadata={"help": "minutes of waiting after a loss"})
    _cash: dict[str, Decimal] = field(init=False, factory=dict)
    _until_ns: dict[str, int] = field(init=False, factory=dict)

    def book(self, view: View) -> str:
        return view.strategy

    def review(self, request: OrderRequest, view: View) -> Any:
        until_ns = self._until_ns.get(self.book(view), 0)
        if view.now_ns < until_ns:
            return Refuse("it lost", {"wait_ns": str(until_ns - view.now_ns)})
        return Largest.review(self, request, view)

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        if fill.position:
            return
        before = self._cash.get(view.strategy)
        self._cash[view.strategy] = view.cash
        if before is None or view.cash < before:
            self._until_ns[self.book(view)] = view.now_ns + self.minutes * 60_000_000_000


@define(kw_only=True)
class Remembers(Cooldown):
    """The same with a memory that survives a restart: nothing is wrong with it."""

    def snapshot(self) -> Any:
        return {
            "asked": " ".join(f"{name}={count}" for name, count in self._asked.items()),
            "cash": " ".join(f"{name}={cash}" for name, cash in self._cash.items()),
            "until": " ".join(f"{name}={until_ns}" for name, until_ns in self._until_ns.items()),
        }

    def restore(self, memory: Mapping[str, str]) -> None:
        if set(memory) != {"asked", "cash", "until"}:
            raise ValueError(f"no memory of mine: {memory}")
        asked, cash, until = ([part.split("=") for part in memory[key].split()] for key in ("asked", "cash", "until"))
        self._asked = {name: int(value) for name, value in asked}
        self._cash = {name: D(value) for name, value in cash}
        self._until_ns = {name: int(value) for name, value in until}


@define(kw_only=True)
class HasHalfAMemory(Cooldown):
    def snapshot(self) -> Any:
        return {}


@define(kw_only=True)
class ForgetsItsWait(Remembers):
    def snapshot(self) -> Any:
        return {**Remembers.snapshot(self), "until": ""}


@define(kw_only=True)
class RemembersNumbers(Remembers):
    def snapshot(self) -> Any:
        return {**Remembers.snapshot(self), "asked": ""} | ({"lost": 1} if self._until_ns else {})

    def restore(self, memory: Mapping[str, str]) -> None:
        Remembers.restore(self, {**memory, "asked": ""} if "lost" not in memory else dict(list(memory.items())[:3]))


@define(kw_only=True)
class TakesAnything(Remembers):
    def restore(self, memory: Mapping[str, str]) -> None:
        if "asked" in memory:
            Remembers.restore(self, memory)


@define(kw_only=True)
class TripsWhileItPasses(Largest):
    def tripped(self, view: View) -> str:
        return "enough" if self._asked.get(view.strategy, 0) > 5 else ""


@define(kw_only=True)
class TripsForAWhile(Largest):
    def tripped(self, view: View) -> str:
        return "enough" if view.position("BTCUSDT").quantity else ""


@define(kw_only=True)
class Trips(Largest):
    """Says that it refuses everything once it does: nothing is wrong with it."""

    def tripped(self, view: View) -> str:
        return "too many orders" if self._asked.get(view.strategy, 0) > self.orders else ""


@define(kw_only=True)
class OneMemoryForAll(Cooldown):
    def book(self, view: View) -> str:
        return ""


@define(kw_only=True)
class ForgetsToReturnAfterALoss(Cooldown):
    def review(self, request: OrderRequest, view: View) -> Any:
        verdict = Cooldown.review(self, request, view)
        return None if isinstance(verdict, Refuse) and "wait_ns" in verdict.numbers else verdict


@define(kw_only=True)
class CountsOnAProfit(Cooldown):
    def on_fill(self, fill: OrderFilled, view: View) -> None:
        assert fill.position or view.cash >= 10_000


@define(kw_only=True)
class RaisesAfterANight(Largest):
    _last_ns: int = field(init=False, default=0)

    def review(self, request: OrderRequest, view: View) -> Any:
        assert not self._last_ns or view.now_ns - self._last_ns < 43_200_000_000_000
        self._last_ns = view.now_ns
        return Largest.review(self, request, view)


@define(kw_only=True)
class RaisesOnAnEnd(Largest):
    def on_end(self, end: OrderEnded, view: View) -> None:
        raise KeyError(end.reason)


@define(kw_only=True)
class RaisesOnATimer(Largest):
    @property
    def timer_ns(self) -> int:
        return 3_600_000_000_000

    def on_timer(self, now_ns: int, view: View) -> None:
        raise KeyError(now_ns)


_released: list[bool] = []  # what never comes back would take the processor from every later test


@define(kw_only=True)
class NeverAnswers(Largest):
    def review(self, request: OrderRequest, view: View) -> Any:
        while not _released:
            try:
                while not _released:
                    pass
            except BaseException:
                pass
        return PASS


@define(kw_only=True)
class SharesState(Largest):
    """Counts on the class, and starts again where a run does."""

    counts: ClassVar[list[int]] = []

    def count(self, strategy: str) -> int:
        if not self._asked:
            self.counts.clear()
        self._asked[strategy] = 1
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
    ("G3", Enlarges, "Shrink to 0.0200; asked for buy 0.0100"),
    ("G3", ShrinksToNothing, "Shrink to 0; asked for"),
    ("G3", ShrinksToAFloat, "Shrink to 0.0001 (float), not Decimal"),
    ("G4", SaysNoWithoutNumbers, "Refuse without numbers"),
    ("G4", SaysNoWithoutReason, "Refuse without a reason"),
    ("G4", NumbersAreNumbers, "Refuse.numbers['limit'] is Decimal('0.3') (Decimal), not text"),
    ("G5", Dices, "one instance parts from another"),
    ("G5", GoesByAHash, "a process with PYTHONHASHSEED=1 parts from one with 2"),
    ("G6", ReadsTheClock, "time.monotonic"),
    ("G7", Adjusts, "view.cash changed from"),
    ("G7", WritesToTheView, "AttributeError was raised at test_contract_risk_gate.py:"),
    ("G8", ForgetsToReturnAfterALoss, "None (NoneType) is no verdict"),
    ("G8", CountsOnAProfit, "AssertionError was raised at test_contract_risk_gate.py:"),
    ("G8", RaisesAfterANight, "AssertionError was raised at test_contract_risk_gate.py:"),
    ("G8", RaisesOnAnEnd, "KeyError was raised at test_contract_risk_gate.py:"),
    ("G8", RaisesOnATimer, "KeyError was raised at test_contract_risk_gate.py:"),
    ("G9", OneMemoryForAll, "a book beside one that loses parts from the same beside one that does nothing"),
    ("G10", SharesState, "a gate beside another instance"),
    ("G11", DescribesWithAPrice, "LookupError was raised"),
    ("G11", DescribesInNumbers, "describe() before the first price['most'] is Decimal('0.3')"),
    ("G11", DescribesNothing, "describe() says nothing"),
    ("G12", LetsAllThrough, "it passed all"),
    ("G12", LooksTheWrongWay, "the smallest order on a whole book gets Refuse"),
    ("G13", TurnsTheRequest, "it changed OrderRequest("),
    ("G14", HasHalfAMemory, "snapshot and restore belong together"),
    ("G14", ForgetsItsWait, "one gate parts from gates that were told what it knew at number"),
    ("G14", RemembersNumbers, "snapshot()['lost'] is 1 (int), not text"),
    ("G14", TakesAnything, "restore() took {'no such': 'memory'}"),
    ("G15", TripsWhileItPasses, "(enough), and buy"),
    ("G15", TripsForAWhile, "it was not at a later one"),
]
ONE_MISTAKE = [("G8", RaisesAfterANight), ("G9", OneMemoryForAll), ("G13", TurnsTheRequest)]


@pytest.mark.parametrize("make", [Largest, Cooldown, Remembers, Trips], ids=lambda make: make.__name__)
def test_a_sound_gate_keeps_every_rule(make: type[RiskGate]) -> None:
    assert unkept(RiskGateContract, make) == []


@pytest.mark.parametrize(("number", "broken"), ONE_MISTAKE, ids=lambda value: getattr(value, "__name__", None))
def test_one_mistake_breaks_one_rule(number: str, broken: Any) -> None:
    assert broken_by(RiskGateContract, broken, besides="G5") == {number}


def test_one_limit_for_all_books_is_said_in_the_test_and_then_no_mistake() -> None:
    class ForAll(RiskGateContract):
        over_all_books = True

    assert unkept(ForAll, OneMemoryForAll) == []


def test_a_gate_that_never_answers_fails_its_rule_and_holds_nothing_up() -> None:
    class Hasty(RiskGateContract):
        time_limit_s = 0.2

    try:
        failed = {one.rule.number: one.text for one in check(Hasty, NeverAnswers) if one.outcome == "failed"}
    finally:
        _released.append(True)
    assert "it did not come back within 0.2 s" in failed["G2"]
    assert "not run, because something hung before" in failed["G12"]


def test_a_gate_that_raises_is_told_so_with_a_cure_that_fits_under_every_rule() -> None:
    failed = {one.rule.number: one.text for one in check(RiskGateContract, Raises) if one.outcome == "failed"}
    assert "Cure: return PASS, Shrink(...) or Refuse(...) on every path, and raise nothing." in failed["G2"]
    for number in set(failed) - {"G2", "G5", "G8"}:
        assert "Cure: repair the exception" in failed[number]


@pytest.mark.behaviour("P4")
@pytest.mark.parametrize(("number", "broken", "said"), BROKEN, ids=lambda value: getattr(value, "__name__", None))
def test_a_broken_gate_fails_the_rule_for_its_mistake(number: str, broken: Any, said: str) -> None:
    assert_breaks(RiskGateContract, broken, number, said)


@pytest.mark.parametrize(
    ("broken", "cure"), [(LetsAllThrough, "if it passes everything"), (LooksTheWrongWay, "looser limits")]
)
def test_a_gate_that_stops_nothing_or_everything_is_told_what_to_do_about_it(broken: Any, cure: str) -> None:
    (found,) = check(RiskGateContract, broken, only="G12")
    assert cure in found.text.partition("\nCure: ")[2]
    assert "excused" in found.text.partition("\nCure: ")[2]


def test_every_rule_has_a_gate_that_breaks_it() -> None:
    assert {number for number, _, _ in BROKEN} == set(RiskGateContract.rules()) - {"C1"}
