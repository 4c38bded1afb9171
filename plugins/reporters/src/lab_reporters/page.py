"""Makes the HTML page from the run's header, final report and page model. All data is escaped."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Final

from attrs import define, field
from lab.domain.market import Candle
from lab.domain.time import parse_time
from lab.ports import Header, Report

from lab_reporters import svg, text
from lab_reporters.outcome import (
    band_text,
    duration_rows,
    header_rows,
    month_cells,
    profit_of,
    rule_cells,
    setting_rows,
    strategy_cells,
    summary_rows,
    symbol_cells,
)
from lab_reporters.page_model import PageModel
from lab_reporters.series import Fills, drawdown_curve, equity_curve, held_curve
from lab_reporters.trades import Cells

_MARKS_MAX: Final = 1000
_MONTHS_MAX: Final = 120
_NUMBERS: Final = frozenset({
    "Quantity", "Price", "Entry price", "Exit price", "Fee", "Fees", "Profit", "Realised", "Position", "Spread",
    "Slippage", "Count", "Cash", "Equity", "Funding", "Late", "P&L", "Number of fills", "Number of trades",
    "Return", "Days", "Buy and hold", "Win rate",
})  # fmt: skip
_TIMES: Final = frozenset({"Time", "Entry", "Exit"})
_TABLES: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    (
        "trades",
        "Trades",
        ("Entry", "Exit", "Strategy", "Side", "Quantity", "Symbol", "Entry price", "Exit price", "Fees", "Funding",
         "Profit"),
    ),
    (
        "fills",
        "Fills",
        ("Time", "Strategy", "Side", "Quantity", "Symbol", "Price", "Fee", "Liquidity", "Realised", "Position",
         "Spread", "Slippage", "Rule"),
    ),
    ("margin", "Funding and liquidations", ("Time", "Kind", "Strategy", "What happened", "Cash")),
    ("refusals", "Refusals", ("Time", "Strategy", "By", "Request", "Reason", "Figures")),
    ("incidents", "Gate, feed and other incidents", ("Time", "Kind", "What happened")),
    ("signals", "Signals that became no order", ("Time", "Strategy", "Request", "Why", "Reason")),
)  # fmt: skip
_WHERE_ANY: Final = frozenset({"margin"})
"""The tables that are left out where they have no row."""
# Nothing may be fetched, whatever gets into the page.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_POLICY_SCRIPT: Final = f"{_POLICY} blob:; script-src 'unsafe-inline' 'unsafe-eval'; font-src data:"


@define
class Charts:
    """The data of the charts, cut to what a page can hold."""

    candles: dict[str, list[Candle]]
    fills: dict[str, Fills]
    marked: dict[str, list[int]]
    equity: list[tuple[int, float]]
    held: list[tuple[int, float]]
    falls: list[tuple[int, float]]
    starting: float
    notes: list[str] = field(factory=list)


def page(header: Header, report: Report, story: PageModel, *, charts: str) -> str:
    """Return the whole page. ``charts``: ``auto`` takes plotly where it is installed, ``plain`` is SVG."""
    drawn = _charts(header, report, story)
    pictures, scripted = _pictures(drawn, charts)
    name = f"{header.symbol} {header.interval}"
    style = files("lab_reporters").joinpath("page.css").read_text("utf-8")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY_SCRIPT if scripted else _POLICY}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{_safe(name)} – {_safe(header.run_id)}</title><style>{style}</style></head><body><main>",
        _head(header, report, name),
        _cards(report),
        _callout(report),
        pictures,
        *_results(report),
        *(
            _table(title, columns, *story.shown(key))
            for key, title, columns in _TABLES
            if key not in _WHERE_ANY or story.shown(key)[1]
        ),
        _reasons(story),
        _pairs("Outcome", summary_rows(report), opened=True),
        _pairs("Set-up", header_rows(header), opened=False),
        _settings(header),
        "</main></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _charts(header: Header, report: Report, story: PageModel) -> Charts:
    starting = story.deposits or float(header.starting_equity)
    drawn, notes = dict[str, list[Candle]](), list[str]()
    for symbol, candles in story.candles.items():
        some, joined = candles.drawn()
        drawn[symbol] = some
        said = f"{candles.total:,} candles of {symbol}"
        if some:
            said += f", {text.second(some[0].open_ns)} to {text.second(some[-1].time_ns)}"
        notes.append(said + (f"; each one drawn joins {joined}" if joined > 1 else ""))
    marked = {symbol: fills.drawn(_MARKS_MAX) for symbol, fills in story.fills.items()}
    for symbol, fills in story.fills.items():
        if len(marked[symbol]) < len(fills.time_ns):
            notes.append(f"{len(marked[symbol]):,} of {len(fills.time_ns):,} fills of {symbol} are marked")
    equity = equity_curve(starting, drawn, story.fills, story.moves, story.candles_max)
    first = {symbol: float(price) for symbol, price in report.statistics.first_prices.items()}
    inverse = header.instrument.contract == "inverse"
    held = held_curve(starting, drawn, first, _begin_ns(report), inverse=inverse) if equity else []
    return Charts(drawn, story.fills, marked, equity, held, drawdown_curve(equity, starting), starting, notes)


def _begin_ns(report: Report) -> int:
    try:
        return parse_time(report.first_event or "")
    except ValueError:
        return 0  # only where a line begins depends on it


def _pictures(drawn: Charts, charts: str) -> tuple[str, bool]:
    if not drawn.equity:
        return '<section><h2>Price</h2><p class="sub">There were no candles and no fills to draw.</p></section>', False
    notes = "".join(f'<p class="note">{_safe(note)}.</p>' for note in drawn.notes)
    if charts == "auto":
        try:
            from lab_reporters.interactive import chart

            both = {symbol: (fills, drawn.marked[symbol]) for symbol, fills in drawn.fills.items()}
            picture = chart(drawn.candles, both, drawn.equity, drawn.held, drawn.falls)
            return f"<section><h2>Price and equity</h2>{picture}{notes}</section>", True
        except ImportError:
            pass  # plotly is an extra; the plain charts say the same
    return _plain_pictures(drawn, notes), False


def _plain_pictures(drawn: Charts, notes: str) -> str:
    sections = [
        f"<section><h2>{_safe(symbol)}: price and fills</h2>"
        + svg.price_chart(
            symbol, drawn.candles.get(symbol, ()), drawn.fills.get(symbol, Fills()), drawn.marked.get(symbol, ())
        )
        + "</section>"
        for symbol in [*drawn.candles, *(symbol for symbol in drawn.fills if symbol not in drawn.candles)]
    ]
    equity = svg.equity_chart(drawn.equity, drawn.starting, drawn.held)
    beside = ", and buy and hold" if drawn.held else ""
    sections.append(f"<section><h2>Equity{beside}</h2>{equity}{notes}</section>")
    falls = svg.drawdown_chart(drawn.falls)
    sections += [f"<section><h2>Drawdown in %</h2>{falls}</section>"] if falls else []
    return "".join(sections)


def _head(header: Header, report: Report, name: str) -> str:
    strategies = text.joined(header.strategies)
    where = text.joined([header.provider, header.venue])
    return (
        f'<header><h1>{_safe(name)}</h1><span class="badge">{_safe(report.status)}</span></header>'
        f'<p class="sub">{_safe(strategies)} on {_safe(where)} · paper money · run {_safe(header.run_id)}</p>'
    )


def _cards(report: Report) -> str:
    rows = dict(summary_rows(report))
    labels = ["Trades", "Fills", "Fees", "Max drawdown", "Refusals", *(label for label, _ in duration_rows(report))]
    labels += [label for label in ("Win rate", "Sharpe", "CAGR", "Buy and hold") if label in rows]
    profit = profit_of(report)
    tone = "good" if profit.startswith("+") else "bad" if profit.startswith("-") else ""
    cards = [f'<div class="card"><span>P&amp;L</span><b class="{tone}">{_safe(profit)}</b></div>']
    if band_text(report):
        cards.append(f'<div class="card"><span>P&amp;L band</span><b>{_safe(band_text(report))}</b></div>')
    cards += [f'<div class="card"><span>{label}</span><b>{_safe(rows[label])}</b></div>' for label in labels]
    return f'<div class="cards">{"".join(cards)}</div>'


def _results(report: Report) -> Iterator[str]:
    """Yield the tables of the report: by strategy and symbol where there are several, by month, and by rule."""
    strategies, rules = strategy_cells(report), rule_cells(report)
    columns = ("Strategy", "P&L", "Number of trades", "Number of fills", "Fees", "Funding", "Equity")
    if len(strategies) > 1:
        yield _table("Strategies", columns, strategies, len(strategies))
    months, symbols = month_cells(report), symbol_cells(report)
    if len(symbols) > 1:
        columns = ("Symbol", "Number of trades", "Win rate", "Profit", "Fees", "Funding", "Slippage")
        yield _table("Symbols", columns, symbols, len(symbols))
    if months:
        of_month = ("Month", "Return", "Profit", "Number of trades", "Days", "Buy and hold")
        yield _table("Months", of_month, months[-_MONTHS_MAX:], len(months))
    if rules:
        yield _table("How fills were made", ("Rule", "Number of fills", "Late", "Fees", "Slippage"), rules, len(rules))


def _callout(report: Report) -> str:
    said = [("No trade", report.no_trade_reason), ("Degradations", "; ".join(report.degradations))]
    lines = "".join(f"<p><b>{label}:</b> {_safe(why)}</p>" for label, why in said if why)
    return f'<section class="callout">{lines}</section>' if lines else ""


def _table(title: str, columns: Sequence[str], rows: Sequence[Cells], total: int) -> str:
    if not rows:
        return f'<section><h2>{title}</h2><p class="sub">None.</p></section>'
    body = "".join(f"<tr>{''.join(map(_cell, columns, row))}</tr>" for row in rows)
    head = "".join(f'<th{_numeric(column)} scope="col">{_safe(column)}</th>' for column in columns)
    note = f'<p class="note">The newest {len(rows):,} of {total:,}.</p>' if len(rows) < total else ""
    return (
        f"<section><h2>{title} ({total:,})</h2>"
        f'<div class="scroll" role="region" tabindex="0" aria-label="{title}"><table>'
        f'<caption class="hidden">{title}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{note}</section>"
    )


def _cell(column: str, value: str) -> str:
    if column == "Side":
        return f'<td class="{"buy" if value in {"buy", "long"} else "sell"}">{_safe(value)}</td>'
    return f"<td{_numeric(column) or (' class=t' if column in _TIMES else '')}>{_safe(value)}</td>"


def _numeric(column: str) -> str:
    return ' class="n"' if column in _NUMBERS else ""


def _reasons(story: PageModel) -> str:
    if len(story.reasons) < 2:
        return ""
    commonest = story.reasons.most_common(20)
    rows = [(text.clean(f"{by}: {reason}", 80), f"{times:,}") for (by, reason), times in commonest]
    return _table("Commonest refusals", ("Reason", "Count"), rows, len(rows))


def _pairs(title: str, rows: Iterable[tuple[str, str]], *, opened: bool) -> str:
    body = "".join(f'<tr><th scope="row">{_safe(label)}</th><td>{_safe(said)}</td></tr>' for label, said in rows)
    return (
        f"<details{' open' if opened else ''}><summary>{title}</summary><table>"
        f'<caption class="hidden">{title}</caption><tbody>{body}</tbody></table></details>'
    )


def _settings(header: Header) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_safe(name)}</th><td>{_safe(value)}</td><td>{_safe(origin)}</td></tr>'
        for name, value, origin in setting_rows(header.settings)
    )
    return (
        '<details><summary>Settings in force</summary><table><caption class="hidden">Settings in force</caption>'
        '<thead><tr><th scope="col">Setting</th><th scope="col">Value</th><th scope="col">From</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></details>"
    )


def _safe(value: object) -> str:
    return escape(text.clean(value, 2000), quote=True)
