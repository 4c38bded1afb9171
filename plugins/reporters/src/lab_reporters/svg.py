"""Charts as inline SVG: no JavaScript, colours from the page's style sheet, tooltips by ``<title>``."""

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from attrs import frozen
from lab.domain.market import Candle
from lab.domain.time import DAY_NS, MINUTE_NS

from lab_reporters import text
from lab_reporters.series import Fills

_WIDTH: Final = 1000.0
_RIGHT: Final = 84.0
_TOP: Final = 10.0
_BOTTOM: Final = 24.0


@frozen
class Frame:
    """The places of times and values on the picture."""

    height: float
    from_ns: int
    to_ns: int
    low: float
    high: float

    def x(self, time_ns: int) -> float:
        """Return the place of a time from the left."""
        return (time_ns - self.from_ns) / (self.to_ns - self.from_ns) * (_WIDTH - _RIGHT)

    def y(self, value: float) -> float:
        """Return the place of a value from the top."""
        return _TOP + (self.high - value) / (self.high - self.low) * (self.height - _TOP - _BOTTOM)


def price_chart(symbol: str, candles: Sequence[Candle], fills: Fills, marked: Sequence[int]) -> str:
    """Return the candles with the marked fills as triangles, buys from below, sells from above."""
    times = [fills.time_ns[i] for i in marked]
    prices = [fills.price[i] for i in marked]
    ends = [candle.open_ns for candle in candles] + [candle.time_ns for candle in candles]
    lows = [candle.low for candle in candles] + [candle.open for candle in candles] + prices
    highs = [candle.high for candle in candles] + [candle.open for candle in candles] + prices
    if not lows:
        return ""
    frame = _frame(360.0, ends + times, min(lows), max(highs))
    marks = "".join(_marker(frame, fills, i) for i in marked)
    return _picture(frame, f"Price of {symbol} with fills", _candles(frame, candles) + marks)


def equity_chart(points: Sequence[tuple[int, float]], starting: float, held: Sequence[tuple[int, float]]) -> str:
    """Return the equity as a line over the starting equity, and beside it what buying and holding would have given."""
    if not points:
        return ""
    values = [starting, *(value for _, value in [*points, *held])]
    frame = _frame(220.0, [time_ns for time_ns, _ in [*points, *held]], min(values), max(values))
    base = frame.y(starting)
    line = _line(frame, points)
    first, last = frame.x(points[0][0]), frame.x(points[-1][0])
    area = f'<path class="area" d="M{first:.1f},{base:.1f}L{line}L{last:.1f},{base:.1f}Z"/>'
    start = f'<path class="start" d="M0,{base:.1f}H{_WIDTH - _RIGHT:.1f}"><title>starting equity</title></path>'
    beside = f'<path class="held" d="M{_line(frame, held)}"><title>buy and hold</title></path>' if held else ""
    return _picture(frame, "Equity", f'{area}{start}{beside}<path class="line" d="M{line}"/>')


def drawdown_chart(falls: Sequence[tuple[int, float]]) -> str:
    """Return how far the equity was below its highest so far, in %, as an area below 0; nothing where it never was."""
    lowest = min((fall for _, fall in falls), default=0.0)
    if not lowest < 0.0:
        return ""
    frame = _frame(140.0, [time_ns for time_ns, _ in falls], lowest, 0.0)
    base, first, last = frame.y(0.0), frame.x(falls[0][0]), frame.x(falls[-1][0])
    line = _line(frame, falls)
    area = f'<path class="fall" d="M{first:.1f},{base:.1f}L{line}L{last:.1f},{base:.1f}Z"/>'
    return _picture(frame, "Drawdown in %", area)


def _line(frame: Frame, points: Sequence[tuple[int, float]]) -> str:
    return "L".join(f"{frame.x(time_ns):.1f},{frame.y(value):.1f}" for time_ns, value in points)


def curves_chart(curves: Sequence[tuple[str, Sequence[tuple[int, float]]]]) -> str:
    """Return several lines over each other, each with its name as tooltip and a class ``line-N`` for its colour."""
    points = [point for _, curve in curves for point in curve]
    if not points:
        return ""
    values = [value for _, value in points]
    frame = _frame(300.0, [time_ns for time_ns, _ in points], min(values), max(values))
    lines = []
    for place, (name, curve) in enumerate(curves):
        line = "L".join(f"{frame.x(time_ns):.1f},{frame.y(value):.1f}" for time_ns, value in curve)
        if line:
            named = escape(text.clean(name), quote=True)
            lines.append(f'<path class="line line-{place}" d="M{line}"><title>{named}</title></path>')
    return _picture(frame, "Equity of the runs", "".join(lines))


def _frame(height: float, times: Sequence[int], low: float, high: float) -> Frame:
    from_ns, to_ns = min(times), max(times)
    if to_ns - from_ns < MINUTE_NS:
        from_ns, to_ns = from_ns - MINUTE_NS // 2, to_ns + MINUTE_NS // 2
    margin = (high - low) * 0.06 or abs(high) * 0.001 or 1.0
    return Frame(height, from_ns, to_ns, low - margin, high + margin)


def _candles(frame: Frame, candles: Sequence[Candle]) -> str:
    paths: dict[str, tuple[list[str], list[str]]] = {"up": ([], []), "down": ([], [])}
    for candle in candles:
        left, right = frame.x(candle.open_ns), frame.x(max(candle.time_ns, candle.open_ns))
        width = max((right - left) * 0.7, 0.6)
        middle = (left + right) / 2
        wicks, bodies = paths["up" if candle.close >= candle.open else "down"]
        top, foot = frame.y(max(candle.open, candle.close)), frame.y(min(candle.open, candle.close))
        wicks.append(f"M{middle:.1f},{frame.y(candle.high):.1f}V{frame.y(candle.low):.1f}")
        bodies.append(f"M{middle - width / 2:.1f},{top:.1f}h{width:.1f}v{max(foot - top, 0.8):.1f}h{-width:.1f}z")
    return "".join(
        f'<path class="wick {way}" d="{"".join(wicks)}"/><path class="body {way}" d="{"".join(bodies)}"/>'
        for way, (wicks, bodies) in paths.items()
        if wicks
    )


def _marker(frame: Frame, fills: Fills, i: int) -> str:
    x, y, quantity = frame.x(fills.time_ns[i]), frame.y(fills.price[i]), fills.quantity[i]
    way, turn = ("buy", 1) if quantity > 0 else ("sell", -1)
    said = f"{way} {text.exact(abs(quantity))} @ {text.exact(fills.price[i])}, {text.second(fills.time_ns[i])}"
    shape = f"M{x:.1f},{y:.1f}l6,{11 * turn}h-12z"
    return f'<path class="fill {way}" d="{shape}"><title>{escape(said)}</title></path>'


def _picture(frame: Frame, label: str, inside: str) -> str:
    axes = "".join(_value_lines(frame)) + "".join(_time_labels(frame))
    name = escape(text.clean(label), quote=True)
    box = f"0 0 {_WIDTH:.0f} {frame.height:.0f}"
    return f'<svg class="drawing" viewBox="{box}" role="img" aria-label="{name}">{axes}{inside}</svg>'


def _value_lines(frame: Frame) -> Iterator[str]:
    for value in ticks(frame.low, frame.high, 5):
        y, x = frame.y(value), _WIDTH - _RIGHT
        yield f'<path class="grid" d="M0,{y:.1f}H{x:.1f}"/>'
        yield f'<text class="value" x="{x + 6:.1f}" y="{y + 4:.1f}">{text.price(value)}</text>'


def _time_labels(frame: Frame) -> Iterator[str]:
    span = frame.to_ns - frame.from_ns
    part = slice(11, 19) if span < 10 * MINUTE_NS else slice(11, 16) if span < DAY_NS else slice(5, 16)
    part = part if span < 20 * DAY_NS else slice(0, 10)
    for i in range(6):
        time_ns = frame.from_ns + span * i // 5
        anchor = "start" if i == 0 else "end" if i == 5 else "middle"
        said = escape(text.second(time_ns)[part].replace("T", " "))
        place = f'x="{frame.x(time_ns):.1f}" y="{frame.height - 6:.1f}"'
        yield f'<text class="time" text-anchor="{anchor}" {place}>{said}</text>'


def ticks(low: float, high: float, wanted: int) -> list[float]:
    """Return about ``wanted`` round values (1, 2 or 5 times a power of ten apart) within the range."""
    raw = (high - low) / wanted
    if not raw > 0 or not math.isfinite(raw):
        return []
    power = math.floor(math.log10(raw))
    unit = 10.0**power
    step = next(size * unit for size in (1, 2, 5, 10) if size * unit >= raw * 0.999)
    first = math.ceil(low / step)
    return [round(i * step, max(0, -power + 1)) for i in range(first, math.floor(high / step) + 1)][: 4 * wanted]
