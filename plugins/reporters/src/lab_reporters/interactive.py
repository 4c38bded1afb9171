"""Charts with plotly: zoom and figures under the pointer. Its JavaScript goes into the page, so it works offline."""

from collections.abc import Mapping, Sequence
from html import escape
from importlib import import_module
from typing import Any

from lab.domain.market import Candle

from lab_reporters import text
from lab_reporters.series import Fills


def chart(
    candles: Mapping[str, Sequence[Candle]],
    fills: Mapping[str, tuple[Fills, Sequence[int]]],
    equity: Sequence[tuple[int, float]],
    held: Sequence[tuple[int, float]],
    falls: Sequence[tuple[int, float]],
) -> str:
    """Return a ``<div>`` with the symbols' candles and fills, the equity beside what buying and holding would have
    given, and the drawdown in %, one below the other, on one time axis.

    Raises ``ImportError`` where plotly is not installed.
    """
    go: Any = import_module("plotly.graph_objects")
    subplots: Any = import_module("plotly.subplots")
    titles = [*(escape(text.clean(symbol)) for symbol in candles), "Equity, and buy and hold", "Drawdown in %"]
    heights = [*([3] * len(candles)), 2, 1]
    figure = subplots.make_subplots(
        rows=len(titles), cols=1, shared_xaxes=True, vertical_spacing=0.05, subplot_titles=titles, row_heights=heights
    )
    for row, (symbol, some) in enumerate(candles.items(), 1):
        figure.add_trace(_candles(go, some), row=row, col=1)
        if symbol in fills:
            for trace in _fills(go, *fills[symbol]):
                figure.add_trace(trace, row=row, col=1)
    for row, name, points, color, fill in (
        (len(candles) + 1, "equity", equity, "#3b82c4", None),
        (len(candles) + 1, "buy and hold", held, "#c98a1b", None),
        (len(candles) + 2, "drawdown", falls, "#d9564a", "tozeroy"),
    ):
        x, y = [text.moment(time_ns) for time_ns, _ in points], [value for _, value in points]
        figure.add_trace(
            go.Scatter(x=x, y=y, name=name, fill=fill, line={"color": color, "width": 1.5}), row=row, col=1
        )
    # Grey on nothing reads well on the page's light and on its dark ground.
    figure.update_layout(
        template="none", height=130 + 110 * sum(heights), margin={"l": 10, "r": 70, "t": 30, "b": 30},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"color": "#808890"}, showlegend=False,
        hovermode="x",
    )  # fmt: skip
    figure.update_xaxes(rangeslider_visible=False, gridcolor="rgba(128,136,144,0.2)")
    figure.update_yaxes(side="right", exponentformat="none", gridcolor="rgba(128,136,144,0.2)", zeroline=False)
    config = {"displaylogo": False, "responsive": True, "showSendToCloud": False}
    # A fixed id: the default one is random, and the same run shall give the same bytes.
    found: str = figure.to_html(full_html=False, include_plotlyjs=True, div_id="chart", config=config)
    return found


def _candles(go: Any, candles: Sequence[Candle]) -> Any:
    return go.Candlestick(
        x=[text.moment(candle.open_ns) for candle in candles],
        open=[candle.open for candle in candles],
        high=[candle.high for candle in candles],
        low=[candle.low for candle in candles],
        close=[candle.close for candle in candles],
        increasing={"line": {"color": "#1a9a78", "width": 1}},
        decreasing={"line": {"color": "#d9564a", "width": 1}},
        name="price",
    )


def _fills(go: Any, fills: Fills, marked: Sequence[int]) -> list[Any]:
    traces = []
    for name, symbol, color, sign in (("buy", "triangle-up", "#1a9a78", 1), ("sell", "triangle-down", "#d9564a", -1)):
        places = [i for i in marked if fills.quantity[i] * sign > 0]
        traces.append(
            go.Scatter(
                x=[text.moment(fills.time_ns[i]) for i in places],
                y=[fills.price[i] for i in places],
                text=[f"{name} {text.exact(abs(fills.quantity[i]))}" for i in places],
                mode="markers",
                marker={"symbol": symbol, "size": 11, "color": color, "line": {"color": "#ffffff", "width": 1}},
                name=name,
            )
        )
    return traces
