"""How a run was set up and how it came out, as label and text: for the header, the closing table and the page."""

from collections.abc import Mapping, Sequence, Sized
from typing import Any, Final

from lab_reporters import text

NO_GATES: Final = "no risk gates configured"

Rows = list[tuple[str, str]]

_COUNTS: Final = (
    ("Candles", ("candles", "candles_seen")),
    ("Quotes", ("quotes", "quotes_seen")),
    ("Decisions", ("decisions",)),
    ("Orders", ("orders", "orders_accepted")),
    ("Trades", ("trades", "fills")),
    ("Refusals", ("refusals", "orders_refused")),
)


def header_rows(header: Mapping[str, Any]) -> Rows:
    """Return the run's set-up; that no gate is configured is said aloud."""
    strategies = header.get("strategies", ())
    rows = [
        ("Run", text.joined([header.get("run_id", "unnamed"), f"lab {header.get('version', 'unknown')}"])),
        ("Provider", text.joined([header.get("provider", "unknown"), header.get("venue", "unknown venue")])),
        ("Strategy", text.joined(strategies) or "none"),
        ("Symbol", text.joined([header.get("symbol", "unknown"), header.get("interval", "")])),
        ("Equity", text.money(header.get("starting_equity", "unknown"))),
        ("Fees", text.joined(header.get("fees", {})) or "unknown"),
    ]
    origin = (header.get("instrument") or {}).get("origin")
    if origin:
        rows.insert(4, ("Instrument", text.clean(origin)))
    rows += _limit_rows(header)
    if header.get("speed", 1) not in (1, "1", "1.0"):
        rows.append(("Speed", text.clean(header["speed"])))
    if header.get("no_orders"):
        rows.append(("Orders", "none are placed: decisions are recorded as signals"))
    rows.append(("Directory", text.clean(header.get("directory") or "none: nothing is written")))
    return rows


def _limit_rows(header: Mapping[str, Any]) -> Rows:
    limits = header.get("limits") or {}
    gates = header.get("gates") or list(limits)
    if not gates:
        return [("Limits", NO_GATES)]
    named = limits if isinstance(limits, Mapping) else {}
    rows = [("Limits", f"{gate}: {text.joined(named.get(gate, {})) or 'no figures given'}") for gate in gates]
    return [rows[0], *(("", said) for _, said in rows[1:])]


def summary_rows(report: Mapping[str, Any]) -> Rows:
    """Return the final report's figures; where there was no trade, why."""
    rows = [
        ("Status", _with(report.get("status", "unknown"), "exit code", report.get("exit_code"))),
        ("Reason", text.joined(report.get("reason") or "none given")),
        ("Duration", text.duration(report.get("duration_seconds"))),
    ]
    if error := text.joined(report.get("error") or "", 1000):
        rows.append(("Error", error))
    rows += [(label, count(report, *names)) for label, names in _COUNTS]
    rows += [
        ("Fees", text.money(_first(report, "fees", "fees_paid"))),
        ("P&L", profit_of(report)),
        ("Max drawdown", text.money(_first(report, "max_drawdown", "drawdown"))),
    ]
    if problems := text.joined(report.get("degradations") or ()):
        rows.append(("Degradations", problems))
    if why := no_trade_reason(report):
        rows.append(("No trade", why))
    return rows


def no_trade_reason(report: Mapping[str, Any]) -> str:
    """Return why nothing was traded, empty where something was or no reason is given."""
    return text.joined(report.get("no_trade_reason") or "")


def profit_of(report: Mapping[str, Any]) -> str:
    """Return the run's profit, with its share of the starting equity where the report gives that."""
    starting, ending = _first(report, "starting_equity"), _first(report, "equity", "ending_equity", "final_equity")
    absolute = text.as_decimal(report.get("pnl_absolute"))
    before = text.as_decimal(starting)
    if absolute is not None:
        return text.profit(before + absolute, before) if before else text.money(absolute, signed=True)
    return text.profit(ending, starting)


def count(report: Mapping[str, Any], *names: str) -> str:
    """Return the first of the named counts, a list's length for a list; ``–`` where the report has none."""
    value = _first(report, *names)
    if isinstance(value, Sized) and not isinstance(value, (str, bytes)):
        value = len(value)
    return text.exact(value)


def _first(report: Mapping[str, Any], *names: str) -> Any:
    counts = report.get("counts")
    places: Sequence[Mapping[str, Any]] = [report, counts] if isinstance(counts, Mapping) else [report]
    for place in places:
        for name in names:
            if place.get(name) is not None:
                return place[name]
    return "–"


def _with(value: object, label: str, more: object) -> str:
    return text.clean(value) if more is None else f"{text.clean(value)} ({label} {text.clean(more, 40)})"
