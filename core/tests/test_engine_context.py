"""Money stays exact whatever a component does to the decimal context, and no component changes another's."""

import decimal
from collections.abc import Callable, Iterable, Iterator
from decimal import Context, Decimal, getcontext, localcontext, setcontext
from typing import Any

import pytest
from attrs import define, field
from lab.domain.events import OrderEnded, OrderFilled
from lab.domain.inputs import Input
from lab.domain.ledger import EXACT, EXACT_DIGITS, Ledger, exact_context, renew
from lab.domain.market import Candle, Quote
from lab.domain.orders import PASS, Accepted, Order, OrderRequest, Rejected, Side, Verdict
from lab.domain.time import MINUTE_NS
from lab.engine.engine import Engine
from lab.engine.view import View
from lab.errors import EngineError
from lab.ports import RiskGate, Strategy
from lab.testing.builders import instrument, tape, waves
from lab.testing.simple_broker import SimpleBroker

D = Decimal
X = "BTCUSDT"
DEPOSIT = D("10000000.123456789")
Spoil = Callable[[], object]


def lower() -> None:
    getcontext().prec = 6


def round_up() -> None:
    getcontext().rounding = decimal.ROUND_UP


def replace() -> None:
    setcontext(Context(prec=3, rounding=decimal.ROUND_UP))


def leave_open() -> None:
    localcontext(Context(prec=4)).__enter__()


def narrow() -> None:
    getcontext().Emax, getcontext().Emin = 12, -12


def trap() -> None:
    getcontext().traps[decimal.Rounded] = getcontext().traps[decimal.Subnormal] = True


def nothing() -> None:
    """Do nothing: the run that the others are compared with."""


SPOILS: dict[str, Spoil] = {
    "lowered": lower,
    "rounded": round_up,
    "replaced": replace,
    "left open": leave_open,
    "narrowed": narrow,
    "trapped": trap,
}


@pytest.fixture(autouse=True)
def _own_context() -> Iterator[None]:
    """Give each test a context of its own, and look whether the exact one was left as it was."""
    with localcontext(Context(prec=28)):
        yield
    assert (EXACT.prec, EXACT.rounding) == (EXACT_DIGITS, decimal.ROUND_HALF_EVEN)


@define(kw_only=True, eq=False)
class Trader(Strategy):
    """Buys and sells odd quantities; spoils the context wherever it is called."""

    spoil: Spoil = nothing
    seen: int = field(init=False, default=0)
    told: list[object] = field(init=False, factory=list)

    def on_candle(self, candle: Candle, view: View) -> Iterable[OrderRequest]:
        self.spoil()
        self.seen += 1
        side = Side.BUY if self.seen % 3 else Side.SELL
        yield OrderRequest(X, side, D(self.seen) * D("0.13"))
        self.spoil()

    def on_quote(self, quote: Quote, view: View) -> Iterable[OrderRequest]:
        self.spoil()
        return ()

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self.spoil()
        self.told.append((fill.position, view.cash, view.equity, view.session_equity, view.day_starting_equity))

    def on_end(self, end: OrderEnded, view: View) -> None:
        self.spoil()


@define(kw_only=True, eq=False)
class Gate(RiskGate):
    """Lets everything pass, by figures of 30 digits; spoils the context wherever it is called."""

    spoil: Spoil = nothing
    precision: set[int] = field(init=False, factory=set)

    def review(self, request: OrderRequest, view: View) -> Verdict:
        self.precision.add(getcontext().prec)
        self.spoil()
        return PASS

    def on_fill(self, fill: OrderFilled, view: View) -> None:
        self.precision.add(getcontext().prec)
        self.spoil()


@define(kw_only=True, eq=False)
class Spoiling(SimpleBroker):
    """Fills as the simple broker does, and then spoils the context."""

    spoil: Spoil = nothing
    precision: set[int] = field(init=False, factory=set)

    def submit(self, order: Order, now_ns: int) -> Accepted | Rejected:
        self.precision.add(getcontext().prec)
        answer = SimpleBroker.submit(self, order, now_ns)
        self.spoil()
        return answer

    def cancel(self, order_id: str, now_ns: int) -> Accepted | Rejected:
        self.spoil()
        return SimpleBroker.cancel(self, order_id, now_ns)

    def observe(self, event: Input) -> Any:
        self.precision.add(getcontext().prec)
        fills = SimpleBroker.observe(self, event)
        self.spoil()
        return fills


def run(
    strategies: Iterable[Trader], gate: Gate | None = None, broker: Spoiling | None = None
) -> tuple[Engine, list[Any]]:
    broker = broker or Spoiling()
    known = {X: instrument(X)}
    broker.open(known, 0)
    named = [(f"s{number}", strategy, DEPOSIT) for number, strategy in enumerate(strategies)]
    made = Engine(known, MINUTE_NS, broker, [("gate", gate or Gate())], named, config_hash="l")
    outputs = list(made.begin())
    for event in tape(waves(60)):
        outputs += made.step(event)
    return made, outputs


def figures(made: Engine, outputs: list[Any]) -> tuple[object, ...]:
    """Return all that could have lost a digit."""
    counters = made.counters
    return (
        outputs, made.valuation.equity(), made.valuation.starting_equity, counters.fees_paid, counters.peak_equity,
        counters.max_drawdown, [strategy.book.ledger.balances for strategy in made.strategies],
    )  # fmt: skip


@pytest.mark.behaviour("O14")
@pytest.mark.parametrize("name", SPOILS)
@pytest.mark.parametrize("who", ["strategy", "gate", "broker"])
@pytest.mark.parametrize("several", [False, True])
def test_a_component_that_spoils_the_decimal_context_changes_no_figure(name: str, who: str, several: bool) -> None:
    spoil = SPOILS[name]
    with localcontext():
        sound = run([Trader(), Trader()] if several else [Trader()])
        expected = figures(*sound)
    with localcontext():
        first = Trader(spoil=spoil if who == "strategy" else nothing)
        strategies = [first, Trader()] if several else [first]
        gate, broker = (
            Gate(spoil=spoil if who == "gate" else nothing),
            Spoiling(spoil=spoil if who == "broker" else nothing),
        )
        found = figures(*run(strategies, gate, broker))
    assert found == expected
    fills = [output for output in sound[1] if isinstance(output, OrderFilled)]
    assert len(fills) > 50
    assert gate.precision == broker.precision == {EXACT_DIGITS}
    for strategy in sound[0].strategies:
        strategy.book.ledger.check_balance()


@pytest.mark.behaviour("O14", "P6")
@pytest.mark.parametrize("name", SPOILS)
def test_what_one_strategy_does_to_its_context_another_one_does_not_notice(name: str) -> None:
    seen: list[tuple[int, str]] = []
    other = Trader(spoil=lambda: seen.append((getcontext().prec, getcontext().rounding)))
    run([Trader(spoil=SPOILS[name]), other])
    assert set(seen) == {(28, decimal.ROUND_HALF_EVEN)}


@pytest.mark.behaviour("O14")
def test_deposits_and_fees_are_exact_in_a_process_that_counts_with_three_digits() -> None:
    getcontext().prec = 3
    made, outputs = run([Trader(), Trader()])
    expected = EXACT.multiply(DEPOSIT, D(2))
    assert made.valuation.starting_equity == expected
    for deposited in outputs[:2]:
        assert deposited.postings == (("cash", DEPOSIT), ("capital", DEPOSIT.copy_negate()))
    fees = D(0)
    for output in outputs:
        if isinstance(output, OrderFilled):
            fees = EXACT.add(fees, output.fill.fee)
    assert made.counters.fees_paid == fees
    for strategy in made.strategies:
        strategy.book.ledger.check_balance()


def test_balances_that_do_not_sum_to_zero_are_a_defect() -> None:
    ledger = Ledger()
    ledger.deposit(D(100))
    ledger.check_balance()
    ledger.cash = EXACT.add(ledger.cash, D("1e-30"))
    with pytest.raises(EngineError, match=r"sum to 1E-30, not to 0"):
        ledger.check_balance()


def test_a_lent_context_is_renewed_whatever_was_changed_in_it() -> None:
    lent = exact_context()
    lent.prec, lent.Emax, lent.traps[decimal.Inexact] = 3, 10, True
    lent.flags[decimal.Rounded] = True
    renew(lent)
    assert (lent.prec, lent.Emax, lent.traps[decimal.Inexact]) == (EXACT_DIGITS, 999_999, False)


@pytest.mark.behaviour("O14")
@pytest.mark.parametrize(
    ("quantity", "price", "fee"),
    [("1", "50000", "1E-98"), ("1", "50000." + "1" * 300, "0"), ("1E-60", "5E-60", "0"), ("1", "50000", "1E-999999")],
)
def test_a_fill_with_more_digits_than_money_is_kept_with_is_not_booked(quantity: str, price: str, fee: str) -> None:
    ledger = Ledger()
    with localcontext():
        setcontext(EXACT)
        ledger.deposit(D(10_000))
        ledger.fill(X, D(1), D(50_000), D("0.5"))
        for sign in (1, -1):
            before = (ledger.balances, dict(ledger.positions))
            with pytest.raises(decimal.Inexact):
                ledger.fill(X, D(quantity) * sign, D(price), D(fee))
            assert (ledger.balances, dict(ledger.positions)) == before
    ledger.check_balance()
