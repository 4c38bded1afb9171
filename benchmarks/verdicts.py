"""What a comparison of two engines' trades, or of their profits, comes to: a row to print and to keep."""

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import frozen

from benchmarks.fills import Explanation
from benchmarks.trades import EQUITY, FEE, QUANTITY, Bar, Decision, Difference, Trade, compare, reasons, simulate


@frozen
class Case:
    """One file of candles and one rule, with what the rule decides."""

    name: str
    rule: str
    path: Path
    bars: Sequence[Bar]
    tick: Decimal
    decisions: Mapping[int, Decision]

    def work(self) -> dict[str, Any]:
        """Return what a peer is told: the decision of each candle, and figures that are exact in floating point."""
        each = [self.decisions.get(number) for number in range(len(self.bars))]
        return {
            "fee": float(FEE), "equity": EQUITY, "quantity": int(QUANTITY), "tick": str(self.tick),
            "way": [one.way if one else 0 for one in each],
            "stop": [float(one.stop) if one and one.stop else None for one in each],
            "target": [float(one.target) if one and one.target else None for one in each],
        }  # fmt: skip


def of_trades(
    case: Case, what: str, mine: Sequence[Trade], theirs: Sequence[Trade], departures: Sequence[str]
) -> dict[str, Any]:
    """Return the row of one comparison of trades. It holds where each difference is made by rules of the other's.

    Where there are differences, the other's own rules, all together, must come to its trades as well.
    """
    differences = compare(mine, theirs)
    causes = reasons(case.bars, case.decisions, differences, departures)
    whole = not differences or not compare(simulate(case.bars, case.decisions, departures), theirs)
    examples: dict[str, str] = {}
    for pair, cause in zip(differences, causes, strict=True):
        examples.setdefault(" + ".join(cause), _shown(pair))
    unexplained = [_shown(pair) for pair, cause in zip(differences, causes, strict=True) if not cause]
    if not whole:
        unexplained.append("the rules, all together, come to other trades than they should")
    examples.pop("", None)
    profits = [sum((trade.profit for trade in each), Decimal(0)) for each in (mine, theirs)]
    return {
        "file": case.name, "rule": case.rule, "what": what, "trades": [len(mine), len(theirs)],
        "equal": len(mine) - sum(pair.ours is not None for pair in differences), "differ": len(differences),
        "because": dict(Counter(" + ".join(cause) for cause in causes if cause).most_common()), "examples": examples,
        "profits": [str(profit.normalize()) for profit in profits], "unexplained": unexplained,
        "holds": not unexplained,
    }  # fmt: skip


def to_the_cent(case: Case, what: str, fills_at: str, profits: Sequence[Decimal], one: Explanation) -> dict[str, Any]:
    """Return the row of profits that were explained."""
    parts = ("difference", "prices", "rates", "rounding", "alone", "residual")
    return {
        "file": case.name, "rule": case.rule, "what": what, "decisions": one.decisions, "fills_at": fills_at,
        "other_prices": one.other_prices, "profits": [str(each.normalize()) for each in profits],
        **{name: str(getattr(one, name).normalize()) for name in parts}, "unexplained": list(one.unexplained),
        "holds": one.holds,
    }  # fmt: skip


def lines(row: dict[str, Any]) -> list[str]:
    """Return a row as text: a line, and indented under it what makes the difference."""
    mine, theirs = (f"{Decimal(profit):,.2f}" for profit in row["profits"])
    head = f"{row['file']}; {row['rule']}; {row['what']}: "
    if "trades" in row:
        first, second = row["trades"]
        text = f"{first} and {second} trades, {row['equal']} equal, {row['differ']} differ; profit {mine} and {theirs}"
        under = [f"{count} by: {cause}" for cause, count in row["because"].items()]
    else:
        part = {name: f"{Decimal(row[name]):,.2f}" for name in ("difference", "prices", "rates", "rounding", "alone")}
        text = (
            f"{row['other_prices']} of {row['decisions']} decisions at other prices; profit {mine} and {theirs}, "
            f"difference {part['difference']}"
        )
        parts = f"prices {part['prices']}, fees on them {part['rates']}, rounding of fees {part['rounding']}"
        end = f"orders at the end {part['alone']}, left over {row['residual']}"
        under = [f"its fills are at {row['fills_at']}: {parts}, {end}"]
    wrong = [f"NOT EXPLAINED: {what}" for what in row["unexplained"][:10]]
    if not row["holds"] and not wrong:
        wrong = [f"NOT EXPLAINED: {row['residual']}"]
    return [head + text, *(f"    {one}" for one in (*under, *wrong))]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table in Markdown."""
    head = ["file", "rule", "compared", "trades", "equal", "explained", "not explained", "profit", "difference"]
    found = [head, ["---"] * len(head)]
    for row in rows:
        mine, theirs = map(Decimal, row["profits"])
        wrong = len(row["unexplained"]) or int(not row["holds"])
        if "trades" in row:
            first, second = row["trades"]
            count = f"{first}" if first == second else f"{first} and {second}"
            equal, explained = row["equal"], sum(row["because"].values())
        else:
            count, equal = f"{row['decisions']} decisions", row["decisions"] - row["other_prices"]
            explained = row["other_prices"] - wrong
        profits = [f"{mine:,.2f}", f"{mine - theirs:,.2f}"]
        found.append([row["file"], row["rule"], row["what"], count, f"{equal}", f"{explained}", f"{wrong}", *profits])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in found)


def _shown(pair: Difference) -> str:
    return f"ours {_text(pair.ours)}; theirs {_text(pair.theirs)}"


def _text(trade: Trade | None) -> str:
    if trade is None:
        return "none"
    side = "long" if trade.way > 0 else "short"
    out = "still open" if trade.exit_price is None else f"out {trade.exit_ms} at {trade.exit_price.normalize():f}"
    return f"{side} {trade.entry_ms} at {trade.entry_price.normalize():f}, {out}, profit {trade.profit.normalize():f}"
