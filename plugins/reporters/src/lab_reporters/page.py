"""The page itself: one text from the run's header, final report and story. Everything that came in is escaped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

from attrs import define, field
from lab.domain.market import Candle

from lab_reporters import svg, text
from lab_reporters.outcome import header_rows, no_trade_reason, profit_of, summary_rows
from lab_reporters.page_model import Cells, PageModel
from lab_reporters.series import Fills, equity_curve

_MARKS_MAX: Final = 1000
_NUMBERS: Final = frozenset({"Quantity", "Price", "Fee", "Realised", "Position", "Spread", "Slippage", "Count"})
_TABLES: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    (
        "trades",
        "Trades",
        ("Time", "Strategy", "Side", "Quantity", "Symbol", "Price", "Fee", "Liquidity", "Realised", "Position",
         "Spread", "Slippage", "Rule"),
    ),
    ("refusals", "Refusals", ("Time", "Strategy", "By", "Request", "Reason", "Figures")),
    ("incidents", "Gate, feed and other incidents", ("Time", "Kind", "What happened")),
    ("signals", "Signals that became no order", ("Time", "Strategy", "Request", "Why", "Reason")),
)  # fmt: skip
# Nothing may be fetched, whatever gets into the page.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_POLICY_SCRIPT: Final = f"{_POLICY} blob:; script-src 'unsafe-inline' 'unsafe-eval'; font-src data:"


@define
class Charts:
    """What is drawn, cut to what a page can bear."""

    candles: dict[str, list[Candle]]
    fills: dict[str, Fills]
    marked: dict[str, list[int]]
    equity: list[tuple[int, float]]
    starting: float
    notes: list[str] = field(factory=list)


def page(header: Mapping[str, Any], report: Mapping[str, Any], story: PageModel, *, charts: str) -> str:
    """Return the whole page. ``charts``: ``auto`` takes plotly where it is installed, ``plain`` is SVG."""
    drawn = _charts(header, story)
    pictures, scripted = _pictures(drawn, charts)
    name = text.joined([header.get("symbol", "lab"), header.get("interval", "")]).replace(",", "")
    style = files("lab_reporters").joinpath("page.css").read_text("utf-8")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY_SCRIPT if scripted else _POLICY}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{_safe(name)} – {_safe(header.get('run_id', 'run'))}</title><style>{style}</style></head><body><main>",
        _head(header, report, name),
        _cards(report),
        _callout(report),
        pictures,
        *(_table(title, columns, *story.shown(key)) for key, title, columns in _TABLES),
        _reasons(story),
        _pairs("Outcome", summary_rows(report), opened=True),
        _pairs("Settings", [*header_rows(header), *_other(header)], opened=False),
        "</main></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _charts(header: Mapping[str, Any], story: PageModel) -> Charts:
    starting = story.deposits or float(text.as_decimal(header.get("starting_equity")) or 0)
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
    equity = equity_curve(starting, drawn, story.fills, story.candles_max)
    return Charts(drawn, story.fills, marked, equity, starting, notes)


def _pictures(drawn: Charts, charts: str) -> tuple[str, bool]:
    if not drawn.equity:
        return '<section><h2>Price</h2><p class="sub">There were no candles and no fills to draw.</p></section>', False
    notes = "".join(f'<p class="note">{_safe(note)}.</p>' for note in drawn.notes)
    if charts == "auto":
        try:
            from lab_reporters.interactive import chart

            both = {symbol: (fills, drawn.marked[symbol]) for symbol, fills in drawn.fills.items()}
            return (
                f"<section><h2>Price and equity</h2>{chart(drawn.candles, both, drawn.equity)}{notes}</section>",
                True,
            )
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
    sections.append(f"<section><h2>Equity</h2>{svg.equity_chart(drawn.equity, drawn.starting)}{notes}</section>")
    return "".join(sections)


def _head(header: Mapping[str, Any], report: Mapping[str, Any], name: str) -> str:
    strategies = text.joined(header.get("strategies", ()))
    where = text.joined([header.get("provider", "unknown provider"), header.get("venue", "")])
    return (
        f'<header><h1>{_safe(name)}</h1><span class="badge">{_safe(report.get("status", "unknown"))}</span></header>'
        f'<p class="sub">{_safe(strategies)} on {_safe(where)} · paper money · run {_safe(header.get("run_id", "?"))}'
        "</p>"
    )


def _cards(report: Mapping[str, Any]) -> str:
    rows = dict(summary_rows(report))
    profit = profit_of(report)
    tone = "good" if profit.startswith("+") else "bad" if profit.startswith("-") else ""
    cards = [f'<div class="card"><span>P&amp;L</span><b class="{tone}">{_safe(profit)}</b></div>']
    cards += [
        f'<div class="card"><span>{label}</span><b>{_safe(rows[label])}</b></div>'
        for label in ("Trades", "Fees", "Max drawdown", "Refusals", "Duration")
    ]
    return f'<div class="cards">{"".join(cards)}</div>'


def _callout(report: Mapping[str, Any]) -> str:
    said = [("No trade", no_trade_reason(report)), ("Degradations", text.joined(report.get("degradations") or ()))]
    lines = "".join(f"<p><b>{label}:</b> {_safe(why)}</p>" for label, why in said if why)
    return f'<section class="callout">{lines}</section>' if lines else ""


def _table(title: str, columns: Sequence[str], rows: Sequence[Cells], total: int) -> str:
    if not rows:
        return f'<section><h2>{title}</h2><p class="sub">None.</p></section>'
    body = "".join(f"<tr>{''.join(map(_cell, columns, row))}</tr>" for row in rows)
    head = "".join(f'<th{_numeric(column)} scope="col">{column}</th>' for column in columns)
    note = f'<p class="note">The newest {len(rows):,} of {total:,}.</p>' if len(rows) < total else ""
    return (
        f'<section><h2>{title} ({total:,})</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{note}</section>"
    )


def _cell(column: str, value: str) -> str:
    if column == "Side":
        return f'<td class="{"buy" if value == "buy" else "sell"}">{_safe(value)}</td>'
    return f"<td{_numeric(column) or (' class=t' if column == 'Time' else '')}>{_safe(value)}</td>"


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
        f"<details{' open' if opened else ''}><summary>{title}</summary><table><tbody>{body}</tbody></table></details>"
    )


def _other(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    known = {"run_id", "version", "provider", "venue", "strategies", "symbol", "interval", "instrument",
             "starting_equity", "fees", "limits", "gates", "speed", "no_orders", "directory"}  # fmt: skip
    return [(str(key), text.joined(value, 2000)) for key, value in header.items() if key not in known]


def _safe(value: object) -> str:
    return escape(text.clean(value, 2000), quote=True)
