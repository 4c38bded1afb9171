"""The page's style: it stays out of plotly's chart, its colours can be read, its tables can be reached."""

import re
from importlib.resources import files

import pytest
from lab_reporters.summary import Html


def style_rules():
    """Return (selector, declarations) of every rule of the page, those inside media queries too."""
    style = files("lab_reporters").joinpath("page.css").read_text("utf-8")
    style = re.sub(r"@media[^{]*{((?:[^{}]*{[^{}]*})*)}", r"\1", style)
    return [
        (selector.strip(), body)
        for selectors, body in re.findall(r"([^{}]+){([^{}]*)}", style)
        for selector in selectors.split(",")
    ]


def fits(compound, element):
    """Return whether ``tag.class.class`` fits an element (tag, classes). Only these forms stand in the style."""
    tag, *classes = compound.split(".")
    return tag in {"", "*", element[0]} and set(classes) <= set(element[1])


def reaches(selector, path):
    """Return whether a selector fits the last of these nested elements."""
    *outer, last = selector.split()
    if not fits(last, path[-1]):
        return False
    rest = iter(path[:-1])
    return all(any(fits(one, element) for element in rest) for one in outer)


# What plotly's script puts under the chart's <div>, with the names of its classes.
PLOTLY = [("body", ()), ("main", ()), ("section", ()), ("div", ()), ("div", ("plotly-graph-div", "js-plotly-plot"))]
SVG = [*PLOTLY, ("div", ("plot-container", "plotly")), ("div", ("svg-container",)), ("svg", ("main-svg",))]


@pytest.mark.parametrize(
    "inside",
    [
        [],
        [("g", ("hoverlayer",)), ("g", ("hovertext",)), ("text", ("nums",)), ("tspan", ("line",))],
        [("g", ("hoverlayer",)), ("g", ("axistext",)), ("text", ()), ("tspan", ("line",))],
        [("g", ("hoverlayer",)), ("g", ("hovertext",)), ("path", ())],
        [("g", ("infolayer",)), ("g", ("g-gtitle",)), ("text", ("gtitle",))],
        [("g", ("cartesianlayer",)), ("g", ("subplot", "xy")), ("g", ("gridlayer",)), ("path", ("xgrid", "crisp"))],
        [("g", ("scatterlayer",)), ("g", ("trace", "scatter")), ("g", ("lines",)), ("path", ("js-line",))],
        [("g", ("scatterlayer",)), ("g", ("points",)), ("path", ("point",))],
        [("g", ("boxlayer",)), ("g", ("trace", "boxes")), ("path", ("box",))],
        [("g", ("fills",)), ("path", ("js-fill", "fill"))],
    ],
    ids=lambda path: " ".join(path[-1][1]) or path[-1][0] if path else "svg",
)
def test_no_rule_of_the_page_reaches_into_plotlys_chart(inside):
    hit = [selector for selector, _ in style_rules() if reaches(selector.split(":")[0] or "html", [*SVG, *inside])]
    assert hit == ["*"], "a box-sizing for everything, and nothing else"


def luminance(colour):
    colour = colour if len(colour) == 7 else f"#{colour[1] * 2}{colour[2] * 2}{colour[3] * 2}"
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["--up", "--down", "--soft", "--ink", "--accent"])
def test_text_colours_stand_out_from_the_card_by_at_least_4_5_to_1(scheme, name):
    roots = [body for selector, body in style_rules() if selector == ":root"]
    colours = dict(re.findall(r"(--[\w-]+):(#[0-9a-f]{3,6})", roots[scheme]))
    text, ground = luminance(colours[name]), luminance(colours["--card"])
    assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5


async def test_scroll_areas_can_be_reached_by_keyboard_and_tables_have_captions(rows, run, drive, tmp_path):
    rows.everything()
    await drive(Html(charts="plain"), run.info(tmp_path), rows.rows)
    page = (tmp_path / "summary.html").read_text("utf-8")
    areas = re.findall(r'<div class="scroll"([^>]*)>', page)
    assert areas
    assert all('tabindex="0"' in area and "aria-label=" in area for area in areas)
    assert page.count("<table>") == page.count("<caption") > 5
