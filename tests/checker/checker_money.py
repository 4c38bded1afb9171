"""The books of a run of one symbol: postings, positions, equity, funding, liquidation and totals, to the last digit."""

import json
import re
from collections import Counter
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

D, ZERO, DAY = Decimal, Decimal(0), 86_400 * 10**9
NUMBER = re.compile(r'(?<=[:\[,])"(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:E[+-]\d+)?)"(?=[,\]}])')
COUNTS = {"orders": "order_accepted", "fills": "order_filled", "liquidations": "liquidated"}
COUNTS |= {name: name for name in ("trades", "cancelled", "expired", "rejected")}
SUMS = {"fees_paid": "fees", "funding_paid": "funding", "liquidation_fees": "liquidation_fees"}


def plain(text: str) -> Any:
    """Read JSON with every number as an exact decimal, be it written as a number or as text."""
    return json.loads(NUMBER.sub(r"\1", text), parse_float=D, parse_int=D)


class Money:
    """Accounts of a run, and what differs from its rows."""

    def __init__(self, start: dict[str, Any]) -> None:
        self.start, self.set, self.row = start, start["broker"]["settings"], start["instruments"][start["symbol"]]
        self.findings, self.where, self.checks, self.counts, self.quote = [], "", 0, Counter(), []
        self.accounts, self.rates, self.owed, self.last, self.now, self.day = {}, {}, {}, ZERO, ZERO, ZERO

    def expect(self, found: dict[str, Any], /, **wanted: Any) -> None:
        """Note which fields of a row differ, and which of the facts, named for what should be, are false."""
        self.checks += len(wanted)
        for name, value in wanted.items():
            if value is False:
                self.findings.append(f"{self.where}: not {name.replace('_', ' ')}")
            elif value is not True and found.get(name) != value:
                self.findings.append(f"{self.where}: its {name} is {found.get(name)}, it should be {value}")

    def post(self, account: SimpleNamespace, **amounts: D) -> list[list[Any]]:
        """Book amounts that add up to zero, and return them as a row holds them."""
        account.balance.update(amounts)
        return [[name, amount] for name, amount in amounts.items()]

    def on_deposit(self, row: dict[str, Any]) -> None:
        account = SimpleNamespace(balance=Counter(), held=ZERO, cost=ZERO, closing=False, apart=ZERO, fee=ZERO)
        self.accounts[row["strategy"]], amount = account, self.start["equity"]
        self.expect(row, amount=amount, postings=self.post(account, cash=amount, capital=-amount))

    def worth(self, quantity: D, price: D) -> D:
        inverse = self.row["contract"] == "inverse"
        return quantity * (-(self.row["contract_value"] / price).quantize(D("1e-18")) if inverse else price)

    def book_fill(self, account: SimpleNamespace, quantity: D, price: D, fee: D) -> list[list[Any]]:
        """Add to a position, or realise what is closed against its share of the cost."""
        held, cost, worth, realised = account.held, account.cost, self.worth(quantity, price), {}
        account.held, account.cost = held + quantity, cost + worth
        if held * quantity < 0:
            released = (cost * -quantity / held).quantize(D("1e-10"))
            account.cost = cost - released if account.held * held > 0 else self.worth(account.held, price)
            realised = {"realised": cost - account.cost + worth}
            self.counts["trades"] += account.held * held <= 0
        return self.post(account, cash=-sum(realised.values(), fee), **realised, fees=fee)

    def mark(self, side: D = ZERO) -> D:
        """Return the price that counts: a long's bid, a short's ask, of margin the middle; without quotes the close."""
        bid, _, ask, _ = self.quote or [self.last, ZERO] * 2
        return bid if side > 0 else ask if side < 0 else (bid + ask) / 2

    def equity(self, account: SimpleNamespace, mark: D) -> D:
        """Return cash and what the position would bring over its cost at a price."""
        return account.balance["cash"] + (self.worth(account.held, mark) - account.cost if account.held else ZERO)

    def pass_time(self, time_ns: int, close: D = ZERO) -> None:
        """Every position pays once at each window for which a rate was fetched, before anything else at that time."""
        self.now = time_ns
        for at in sorted(one for one in self.rates if one <= time_ns):
            rate, given = (value.quantize(D("1e-12")) for value in self.rates.pop(at))
            for name, account in [one for one in self.accounts.items() if one[1].held]:
                mark, held = given or close or self.mark(), account.held
                amount = abs(self.worth(held, mark)).copy_sign(held) * rate
                due = {"rate": rate, "mark": mark, "quantity": held, "amount": amount}
                self.owed[name, at] = due | {"postings": self.post(account, cash=-amount, funding=amount)}
                account.apart -= amount if account.apart else ZERO

    def pass_day(self, time_ns: int, found: list[Any]) -> None:
        """A day that is over has a row, with the books before what came next."""
        day, self.day = self.day, max(self.day, time_ns - time_ns % DAY)
        if self.day > day > 0 or found:
            books = {name: self.equity(one, self.mark(one.held)) for name, one in self.accounts.items()}
            row = {"day_ns": day, "equity": sum(books.values()), "books": books}
            self.expect({"ended": found}, ended=[row | {"prices": {self.start["symbol"]: self.mark()}}])

    def on_funding_paid(self, row: dict[str, Any]) -> None:
        """It is due, once, by what is held and the rate that was fetched."""
        self.expect(row, **self.owed.pop((row["strategy"], row["window_ns"]), {"amount": "nothing"}))

    def calls(self, account: SimpleNamespace) -> list[tuple[str, D, D]]:
        """Return what is down to its maintenance margin, which balance, and to what: nothing, mostly."""
        if not account.held or account.closing:
            return []
        mark, worth = self.mark(), self.worth(account.held, self.mark())
        tier = [one for one in self.row["tiers"] if one["notional_from"] <= abs(worth)][-1]
        needs, whole = abs(worth) * tier["maintenance_rate"] - tier["deduction"], self.equity(account, mark)
        account.call = {"symbol": self.start["symbol"], "quantity": account.held, "mark": mark}
        account.call |= {"notional": abs(worth), "maintenance": needs}
        account.margin = (abs(account.cost) / self.start["leverage"]).quantize(D("1e-10"))
        parts = [("position", account.margin + worth - account.cost, needs), ("account", whole, ZERO)]
        found = parts if self.start["margin"] == "isolated" else [("account", whole, needs)]
        return [one for one in found if one[1] <= one[2]]

    def on_liquidated(self, row: dict[str, Any]) -> None:
        """Its balance is down to the maintenance margin. What does not back a position that goes alone is apart."""
        account = self.accounts[row["strategy"]]
        scope, balance, least = self.calls(account)[0]
        self.expect(row, scope=scope, balance=balance, maintenance=least, positions=[account.call])
        account.closing, account.fee = True, ZERO
        account.apart = account.balance["cash"] - account.margin if scope == "position" else ZERO

    def on_liquidation_settled(self, row: dict[str, Any]) -> None:
        """What is left pays the fee; what is missing the insurance pays, before the close if the run ends first."""
        account = self.accounts[row["strategy"]]
        left = self.equity(account, self.mark(account.held)) - account.apart
        fee, paid = min(account.fee, max(left, ZERO)) if row["symbols"] else ZERO, max(-left, ZERO)
        postings = self.post(account, cash=paid - fee, liquidation_fees=fee, insurance=-paid)
        self.expect(row, fee=fee, insurance=paid, postings=postings)
        if row["symbols"]:
            self.expect(row, closed_before=not account.held)
            account.closing, account.apart, account.fee = False, ZERO, ZERO

    def on_run_ended(self, body: dict[str, Any]) -> None:
        sums = Counter()
        for name, account in self.accounts.items():
            held = {"quantity": account.held, "cost": account.cost, "mark": self.mark(account.held)}
            balances = {one: amount for one, amount in account.balance.items() if amount}
            equity = self.equity(account, held["mark"])
            books = {"cash": account.balance["cash"], "equity": equity, "balances": balances}
            self.expect(body["books"][name], **books, positions={self.start["symbol"]: held} if account.held else {})
            sums.update({"equity": books["equity"], **balances})
        totals = {name: self.counts[kind] for name, kind in COUNTS.items()} | {"insurance_paid": -sums["insurance"]}
        self.expect(body["totals"], **totals, **{name: sums[one] for name, one in SUMS.items()})
        self.expect(body | body["session"]["counters"], equity=sums["equity"], inputs=self.n, tape_sha256=self.tape)
