"""A run's settings and results as rows of label and text, for the header, the closing table and the page."""

from collections.abc import Iterable
from itertools import chain, repeat
from typing import Final

from lab.domain.instrument import Instrument
from lab.domain.ledger import ZERO
from lab.ports import Header, Report
from lab.records.report import Setting
from lab.statistics.wording import figure_rows

from lab_reporters import text

NO_GATES: Final = "no risk gates configured"
_SHOWN_MAX: Final = 12

Rows = list[tuple[str, str]]


def header_rows(header: Header) -> Rows:
    """Return the run's settings as rows; one of them says so where no gate is configured."""
    rows = [
        ("Run", text.joined([header.run_id, f"lab {header.version}"])),
        ("Provider", text.joined([header.provider, header.venue])),
        ("Strategy", text.joined(header.strategies) or "none"),
        *_setting_rows(header),
        ("Symbol", text.joined([header.symbol, header.interval])),
        *_instrument_rows(header),
        ("Equity", _equity_text(header)),
        *_fee_rows(header),
        *_limit_rows(header),
    ]
    if header.speed not in {"1", "1.0"} and header.kind == "run":
        rows.append(("Speed", text.clean(header.speed)))
    if header.no_orders:
        rows.append(("Orders", "none are placed: decisions are recorded as signals"))
    rows.append(("Directory", text.clean(header.directory or "none: nothing is written")))
    return rows


def _equity_text(header: Header) -> str:
    """Return what the run begins with, and where several strategies share it that they do."""
    shared = header.account == "shared" and len(header.strategies) > 1
    return text.money(header.starting_equity) + (", one account of all strategies" if shared else "")


def _setting_rows(header: Header) -> Rows:
    """Return the strategies' settings, and whatever else differs from its default, with where it came from."""
    shown: dict[str, list[str]] = {name: [] for name in header.strategies}
    for one in header.settings:
        if one.component in header.strategies or one.changed:
            shown.setdefault(one.component, []).append(_setting(one))
    said = [f"{text.clean(name)}: {text.joined(_cut(settings)) or 'no settings'}" for name, settings in shown.items()]
    return [("Settings", said[0]), *(("", more) for more in said[1:])] if said else []


def _cut(settings: list[str]) -> list[str]:
    more = len(settings) - _SHOWN_MAX
    return settings if more <= 0 else [*settings[:_SHOWN_MAX], f"{more} more"]


def _setting(one: Setting) -> str:
    known = f" ({one.origin})" if one.origin not in {"default", "the recorded run"} else ""
    return f"{one.key} {text.clean(one.value, 60)}{known}"


def _instrument_rows(header: Header) -> Rows:
    if len(header.instruments) < 2:
        return [("Instrument", instrument_text(header.instrument))]
    said = [f"{text.clean(symbol)}: {instrument_text(one)}" for symbol, one in header.instruments.items()]
    return list(zip(chain(("Instruments",), repeat("")), said, strict=False))


def _fee_rows(header: Header) -> Rows:
    """Return the terms of trading; those that are of one of several symbols on a row of its own."""
    named: dict[str, dict[str, str]] = {}
    for name, figure in header.fees.items():
        symbol, _, rest = name.partition(" ")
        of_one = symbol in header.instruments and len(header.instruments) > 1
        named.setdefault(symbol if of_one else "", {})[rest if of_one else name] = figure
    said = [
        f"{text.clean(symbol)}: {text.joined(one)}" if symbol else text.joined(one) for symbol, one in named.items()
    ]
    return list(zip(chain(("Fees",), repeat("")), said or ["unknown"], strict=False))


def instrument_text(instrument: Instrument) -> str:
    """Return the steps and the minimum of what is traded, with where they come from if that is known."""
    if instrument.origin:
        return text.clean(instrument.origin)
    figures = {
        "tick": text.exact(instrument.tick),
        "lot": text.exact(instrument.lot),
        "smallest quantity": text.exact(instrument.quantity_min),
    }
    return text.joined(figures)


def _limit_rows(header: Header) -> Rows:
    if not header.gates:
        return [("Limits", NO_GATES)]
    rows = [
        ("Limits", f"{text.clean(gate)}: {text.joined(header.limits.get(gate, {})) or 'no figures given'}")
        for gate in header.gates
    ]
    return [rows[0], *(("", said) for _, said in rows[1:])]


def summary_rows(report: Report) -> Rows:
    """Return the final report's figures; where there was no trade, why."""
    rows = [
        ("Status", text.clean(f"{report.status} (exit code {report.exit_code})")),
        ("Reason", text.clean(report.reason)),
        *duration_rows(report),
    ]
    if report.error:
        rows.append(("Error", text.clean(report.error, 1000)))
    rows += [
        ("Candles", f"{report.candles:,}"),
        ("Quotes", f"{report.quotes:,}"),
        ("Decisions", f"{report.decisions:,}"),
        ("Orders", f"{report.orders:,}"),
        ("Fills", f"{report.fills:,}"),
        ("Trades", f"{report.trades:,}"),
        ("Refusals", f"{report.refusals:,}"),
        *_amended_rows(report),
        ("Fees", text.money(report.fees_paid)),
        *margin_rows(report),
        ("P&L", profit_of(report)),
        *_strategy_rows(report),
        *_symbol_rows(report),
        *_band_rows(report),
        ("Max drawdown", text.money(report.max_drawdown)),
        *statistics_rows(report),
    ]
    rows += zip(chain(("Degradations",), repeat("")), map(text.clean, report.degradations), strict=False)
    if report.no_trade_reason:
        rows.append(("No trade", text.clean(report.no_trade_reason)))
    return rows


def statistics_rows(report: Report) -> Rows:
    """Return the important statistics, and what is left out, with the reason."""
    rows: Rows = []
    for label, said in figure_rows(report.statistics, text.money):
        name = f"{label[0].upper()}{label[1:]}"
        rows.append(("" if name in dict(rows) else name, text.clean(said)))
    return rows


def _amended_rows(report: Report) -> Rows:
    """Return how often orders were amended, and amendments refused, where any was."""
    if not report.amended and not report.amendments_refused:
        return []
    refused = f", {report.amendments_refused:,} amendments refused" if report.amendments_refused else ""
    return [("Amended", f"{report.amended:,}{refused}")]


def _strategy_rows(report: Report) -> Rows:
    """Return the result of each strategy, where there are several."""
    if len(report.books) < 2:
        return []
    said = [
        f"{text.clean(name)} {profit}, trades {trades}, fills {fills}, fees {fees}"
        for name, profit, trades, fills, fees, *_ in strategy_cells(report)
    ]
    return list(zip(chain(("of which",), repeat("")), said, strict=False))


def _symbol_rows(report: Report) -> Rows:
    """Return the result of each symbol, where there are several."""
    cells = symbol_cells(report)
    said = [
        f"{text.clean(symbol)} {profit}, trades {trades}, fees {fees}"
        for symbol, trades, _, profit, fees, *_ in (cells if len(cells) > 1 else ())
    ]
    return list(zip(chain(("by symbol",), repeat("")), said, strict=False))


def strategy_cells(report: Report) -> list[tuple[str, ...]]:
    """Return each strategy with its profit, its trades and fills, its fees and funding, and the equity of its book."""
    return [
        (
            name, text.money(book.pnl, signed=True), f"{book.trades:,}", f"{book.fills:,}",
            *(text.money(book.balances.get(account, ZERO)) for account in ("fees", "funding")), text.money(book.equity),
        )
        for name, book in report.books.items()
    ]  # fmt: skip


def symbol_cells(report: Report) -> list[tuple[str, ...]]:
    """Return each symbol with its trades, how many of them won, their profit, and what its fills cost."""
    return [
        (
            symbol, f"{one.trades:,}", "–" if one.win_rate_percent is None else f"{one.win_rate_percent:.2f} %",
            text.money(one.profit, signed=True), *map(text.money, (one.fees, one.funding, one.slippage)),
        )
        for symbol, one in report.statistics.by_symbol.items()
    ]  # fmt: skip


def month_cells(report: Report) -> list[tuple[str, ...]]:
    """Return each month with its return, its profit, its trades and days, and what holding would have given."""
    return [
        (
            one.month, _share(one.return_percent), text.money(one.profit, signed=True), f"{one.trades:,}",
            f"{one.days}", _share(one.buy_and_hold_percent),
        )
        for one in report.statistics.by_month
    ]  # fmt: skip


def _share(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:+.2f} %"


def rule_cells(report: Report) -> list[tuple[str, ...]]:
    """Return each rule with its fills, the late ones among them, their fees and their slippage; the commonest first."""
    return [
        (rule, f"{one.fills:,}", f"{one.late:,}", text.money(one.fees), text.money(one.slippage))
        for rule, one in sorted(report.fill_rules.items(), key=lambda item: -item[1].fills)
    ]


def band_text(report: Report) -> str:
    """Return the profit at the worst and at the best prices of the fills; an empty text where they are the same."""
    band = report.pnl_band
    if band.pessimistic == band.optimistic:
        return ""
    return " to ".join(text.money(one, signed=True) for one in (band.pessimistic, band.optimistic))


def _band_rows(report: Report) -> Rows:
    """Return the band of the profit, where it is one, and how fills were made."""
    rows: list[tuple[str, str]] = []
    if band_text(report):
        rows.append(("P&L band", f"{band_text(report)}, at the worst and the best prices of the same fills"))
    made = [
        f"{text.clean(rule)} {fills}" + (f" ({late} late)" if late != "0" else "")
        for rule, fills, late, *_ in rule_cells(report)
    ]
    if made:
        rows.append(("Filled by", ", ".join(made)))
    return rows


def margin_rows(report: Report) -> Rows:
    """Return funding and liquidations, where there were any."""
    rows = []
    if report.funding_paid:
        rows.append(("Funding", text.money(report.funding_paid)))
    if report.liquidations:
        figures = {"fees": report.liquidation_fees, "paid by the insurance fund": report.insurance_paid}
        said = [str(report.liquidations), *(f"{name} {text.money(one)}" for name, one in figures.items() if one)]
        rows.append(("Liquidations", ", ".join(said)))
    return rows


def duration_rows(report: Report) -> Rows:
    """Return how long a session ran; of a backtest or a replay how much time its data cover, and the computing time."""
    if report.kind == "run":
        return [("Duration", text.duration(report.duration_seconds))]
    return [
        ("Data", text.duration(report.data_seconds)),
        ("Computed in", f"{report.duration_seconds:,.{2 if report.duration_seconds < 10 else 0}f} s"),
    ]


def setting_rows(settings: Iterable[Setting]) -> list[tuple[str, str, str]]:
    """Return every setting in force: its name, its value, and where it came from."""
    return [(f"{one.component}.{one.key}", text.clean(one.value, 200), one.origin) for one in settings]


def profit_of(report: Report) -> str:
    """Return the run's profit, with its share of the starting equity."""
    return text.profit(report.ending_equity, report.starting_equity)
