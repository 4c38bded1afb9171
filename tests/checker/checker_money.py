"""The books of a run of one symbol: postings, positions, equity, funding, liquidation and totals, to the last digit."""

import json
import re
from collections import Counter, defaultdict
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

D, ZERO = Decimal, Decimal(0)
NUMBER = re.compile(r'(?<=[:\[,])"(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:E[+-]\d+)?)"(?=[,\]}])')
COUNTS = {"orders": "order_accepted", "fills": "order_filled", "liquidations": "liquidated", "signals": "signal"}
COUNTS |= {name: name for name in ("funding_skipped", "trades", "cancelled", "expired", "rejected")}
SUMS = {"fees_paid": "fees", "funding_paid": "funding", "liquidation_fees": "liquidation_fees"}


def plain(text: str) -> Any:
    """Read JSON with every number as an exact decimal, be it written as a number or as text."""
    return json.loads(NUMBER.sub(r"\1", text), parse_float=D, parse_int=D)


class Money:
    """Accounts of a run, and what differs from its rows."""

    def __init__(self, start: dict[str, Any]) -> None:
        self.start, self.set, self.row = start, start["broker"]["settings"], start["instruments"][start["symbol"]]
        self.findings, self.where, self.checks, self.counts, self.quote = [], "", 0, Counter(), []
        self.accounts, self.rates, self.owed = {}, {}, {}  # by strategy, by window, by both
        self.rules = defaultdict(lambda: dict.fromkeys(("fills", "late", "fees", "slippage"), ZERO))
        self.last = self.peak = self.deepest = self.gain_at_best = self.loss_at_worst = self.now = ZERO

    def hold(self, **facts: Any) -> None:
        """Note the facts that do not hold, each named for what should be."""
        self.checks += len(facts)
        self.findings += [f"{self.where}: not {name.replace('_', ' ')}" for name, holds in facts.items() if not holds]

    def same(self, found: dict[str, Any], **wanted: Any) -> None:
        """Compare fields of a row."""
        self.checks += len(wanted)
        other = [(name, value) for name, value in wanted.items() if found.get(name) != value]
        self.findings += [f"{self.where}: its {one} is {found.get(one)}, it should be {value}" for one, value in other]

    def post(self, name: str, **amounts: D) -> list[list[Any]]:
        """Book amounts that add up to zero, and return them as a row holds them."""
        self.accounts[name].balance.update(amounts)
        return [[account, amount] for account, amount in amounts.items()]

    def on_deposit(self, row: dict[str, Any]) -> None:
        """Open the book of a strategy."""
        name, amount = row["strategy"], self.start["equity"]
        self.accounts[name] = SimpleNamespace(balance=Counter(), held=ZERO, cost=ZERO, closing=None)
        self.same(row, amount=amount, postings=self.post(name, cash=amount, capital=-amount))
        self.peak = self.equity()

    def worth(self, quantity: D, price: D) -> D:
        """Return what a quantity counts for at a price."""
        inverse = self.row["contract"] == "inverse"
        return quantity * (-(self.row["contract_value"] / price).quantize(D("1e-18")) if inverse else price)

    def book_fill(self, name: str, quantity: D, price: D, fee: D) -> list[list[Any]]:
        """Add to a position, or realise what is closed against its share of the cost."""
        account, worth, realised = self.accounts[name], self.worth(quantity, price), {}
        held, cost, after = account.held, account.cost, account.held + quantity
        account.held, account.cost = after, cost + worth
        if held * quantity < 0:
            released = (cost * -quantity / held).quantize(D("1e-10"))
            account.cost = cost - released if after * held > 0 else self.worth(after, price)
            realised = {"realised": cost - account.cost + worth}
        return self.post(name, cash=-sum(realised.values(), fee), **realised, fees=fee)

    def mark(self, side: D = ZERO) -> D:
        """Return the price that counts: a long's bid, a short's ask, of margin the middle; without quotes the close."""
        bid, _, ask, _ = self.quote or [self.last, ZERO] * 2
        return bid if side > 0 else ask if side < 0 else (bid + ask) / 2

    def equity(self, *only: str, middle: bool = False) -> D:
        """Return cash and what the positions would bring over their cost."""
        accounts = [self.accounts[name] for name in only or self.accounts]
        held = [(one, self.mark(ZERO if middle else one.held)) for one in accounts if one.held]
        gains = sum((self.worth(one.held, mark) - one.cost for one, mark in held), ZERO)
        return sum((one.balance["cash"] for one in accounts), gains)

    def look(self) -> None:
        """Follow the equity to its peak, and the deepest fall from one."""
        self.peak = max(self.peak, equity := self.equity())
        self.deepest = max(self.deepest, self.peak - equity)

    def pass_time(self, time_ns: int) -> None:
        """Every position pays once at each window for which a rate was fetched, before anything else at that time."""
        self.now = time_ns
        for at in sorted(one for one in self.rates if one <= time_ns):
            rate, given = (value.quantize(D("1e-12")) for value in self.rates.pop(at))
            for name in [one for one, account in self.accounts.items() if account.held]:
                mark, held = given or self.mark(), self.accounts[name].held
                amount = abs(self.worth(held, mark)).copy_sign(held) * rate
                due = {"rate": rate, "mark": mark, "quantity": held, "amount": amount}
                self.owed[name, at] = due | {"postings": self.post(name, cash=-amount, funding=amount)}
        self.look()

    def on_funding_paid(self, row: dict[str, Any]) -> None:
        """It is due, once, by what is held and the rate that was fetched."""
        due = self.owed.pop((row["strategy"], row["window_ns"]), {})
        self.hold(due_by_position_and_rate=due)
        self.same(row, **due)

    def call(self, name: str) -> dict[str, Any]:
        """Return what of a strategy's book is down to its maintenance margin, as a row tells it: nothing, mostly."""
        account, mark, symbol = self.accounts[name], self.mark(), self.start["symbol"]
        if not account.held or account.closing:
            return {}
        worth, notional = self.worth(account.held, mark), abs(self.worth(account.held, mark))
        tier = [one for one in self.row["tiers"] if one["notional_from"] <= notional][-1]
        needs = notional * tier["maintenance_rate"] - tier["deduction"]
        account.margin = (abs(account.cost) / self.start["leverage"]).quantize(D("1e-10"))
        whole, alone = self.equity(name, middle=True), account.margin + worth - account.cost
        held = {"symbol": symbol, "quantity": account.held, "mark": mark, "notional": notional, "maintenance": needs}
        calls = {"account": (whole, needs)}
        if self.start["margin"] == "isolated":
            calls = {"position": (alone, needs), "account": (whole, ZERO)}
        due = [(scope, *one) for scope, one in calls.items() if one[0] <= one[1]]
        return (
            dict(zip(("scope", "balance", "maintenance"), due[0], strict=True)) | {"positions": [held]} if due else {}
        )

    def on_liquidated(self, row: dict[str, Any]) -> None:
        """Its balance is down to the maintenance margin."""
        account, call = self.accounts[row["strategy"]], self.call(row["strategy"])
        self.hold(down_to_its_maintenance_margin=call)
        self.same(row, **call)
        account.closing = {"alone": row["scope"] == "position", "result": account.margin, "fee": ZERO}

    def on_liquidation_settled(self, row: dict[str, Any]) -> None:
        """What is left pays the fee; what is missing the insurance pays, before the close if the run ends first."""
        self.look()
        name, account = row["strategy"], self.accounts[row["strategy"]]
        closing = account.closing or {"alone": False, "result": ZERO, "fee": ZERO}
        gain = self.worth(account.held, self.mark(account.held)) - account.cost if account.held else ZERO
        left = closing["result"] + gain if closing["alone"] else self.equity(name)
        fee, paid = min(closing["fee"], max(left, ZERO)) if row["symbols"] else ZERO, max(-left, ZERO)
        postings = self.post(name, cash=paid - fee, liquidation_fees=fee, insurance=-paid)
        self.same(row, fee=fee, insurance=paid, postings=postings)
        self.hold(closed_before=not row["symbols"] or not account.held)
        closing["result"] += paid
        account.closing = None if row["symbols"] else account.closing

    def on_run_ended(self, body: dict[str, Any]) -> None:
        """Compare what was counted and booked with the totals."""
        sums = Counter()
        for name, account in self.accounts.items():
            found, balances = body["books"][name], {one: amount for one, amount in account.balance.items() if amount}
            sums.update(balances)
            held = [[account.held, account.cost]] if account.held else []
            found["held"] = [[one["quantity"], one["cost"]] for one in found["positions"].values()]
            self.same(found, cash=account.balance["cash"], equity=self.equity(name), balances=balances, held=held)
        totals = {name: self.counts[kind] for name, kind in COUNTS.items()}
        totals |= {name: sums[one] for name, one in SUMS.items()} | {"insurance_paid": -sums["insurance"]}
        totals |= {"peak_equity": self.peak, "max_drawdown": self.deepest, "fill_rules": self.rules}
        totals |= {"refusals": self.counts["order_refused"] + self.counts["amend_refused"]}
        self.same(body["totals"], **totals, gain_at_best=self.gain_at_best, loss_at_worst=self.loss_at_worst)
        self.same(body, equity=self.equity())
