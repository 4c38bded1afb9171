"""Write the parts of docs/reference that have a source in the code: run by hand, ``uv run python docs/generate.py``.

A page marks such a part with ``<!-- generated: NAME ... -->`` and ``<!-- end -->``; what stands between is replaced by
what the function of that name returns. A test fails while a page differs from that.
"""

import ast
import copy
import importlib
import inspect
import re
import sqlite3
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, get_type_hints

import attrs
import click
from lab.cli.main import COMMANDS, cli
from lab.cli.plugins import _default as default_text
from lab.composition.config import RunSettings
from lab.domain import events
from lab.domain.ledger import Posting
from lab.domain.market import Level
from lab.domain.orders import OrderRequest, OrderType
from lab.exit_codes import EndReason
from lab.health.metrics import METRICS
from lab.journal.codec import INPUT_KINDS, KINDS
from lab.journal.schema import FILE_NAME
from lab.journal.store import Journal
from lab.plugins import hookspecs
from lab.plugins.discovery import KINDS as COMPONENT_KINDS
from lab.plugins.discovery import Offer, Registry
from lab.plugins.settings import settings_of, type_name
from lab.records import health as health_records
from lab.records import report as report_records
from lab.records import run as run_records
from lab.records import statistics as statistics_records
from lab.testing.contracts import by_kind
from library_parts import library_classes, library_functions, library_tables

DOCS: Final = Path(__file__).parent
ROOT: Final = DOCS.parent
_MARK: Final = re.compile(r"(<!-- generated: ([\w-]+)(?: ([^>]*?))? -->\n).*?(<!-- end -->)", re.DOTALL)
_WIDTH: Final = 100

RECORDS: Final = {
    "ComponentRecord": "component",
    "CarriedLoss": "carried loss",
    "GateMemory": "gate memory",
    "Totals": "totals",
    "PositionState": "position",
    "BookState": "book",
    "Counters": "counters",
    "SessionState": "session",
    "RunState": "run state",
    "Instrument": "instrument",
    "Setting": "setting",
    "ProfitBand": "profit band",
    "FillTotals": "fills of a rule",
    "HeldPosition": "held position",
    "Statistics": "statistics",
    "TradeFigures": "figures of trades",
    "MonthFigures": "month",
}
"""The records inside others, by the heading they have on the page."""
KEYS: Final = {
    "candle": "`candle:SYMBOL:OPEN_NS`",
    "deposit": "`deposit:STRATEGY`",
    "order_accepted": "`order:ORDER_ID`",
    "order_refused": "`order:ORDER_ID`; none for a duplicate",
    "order_filled": "`fill:FILL_ID`",
    "order_ended": "`end:ORDER_ID`",
    "strategy_stopped": "`stopped:STRATEGY`",
    "entries_halted": "`halted:STRATEGY:GATE`",
    "funding_paid": "`funding:STRATEGY:SYMBOL:WINDOW_NS`",
    "day_ended": "`day:DAY_NS`",
}
"""The idempotency keys, as `lab.domain.events.key_of` makes them."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars inside a cell are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def prose(text: str) -> str:
    """Return a docstring as Markdown: one blank line between paragraphs, single backticks."""
    return inspect.cleandoc(text).replace("``", "`")


def one_line(text: str) -> str:
    return " ".join(prose(text).split())


# -- cli.md ----------------------------------------------------------------------------------------------------------


def command_help(name: str) -> str:
    """Return the help text of a command; ``lab`` is the group's."""
    if name == "lab":
        command: click.Command = cli
    elif name in COMMANDS:
        command = importlib.import_module(f"lab.cli.{name}").command
    else:
        module, _, attribute = Registry(bundled_points()).commands()[name].target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
    full = "lab" if name == "lab" else f"lab {name}"
    command = copy.copy(command)
    command._help_option = None  # noqa: SLF001 - click keeps the first it made, with whatever names it then had
    context = click.Context(command, info_name=full, terminal_width=_WIDTH, max_content_width=_WIDTH)
    context.help_option_names = ["-h", "--help"]
    return f"```text\n{command.get_help(context)}\n```"


# -- exit-codes.md ---------------------------------------------------------------------------------------------------


def exit_codes() -> str:
    """Return every exit code."""
    rows = [[str(reason.exit_code), f"`{reason.code}`", reason.status, reason.meaning] for reason in EndReason]
    return table(("exit code", "`reason`", "`status`", "meaning"), rows)


# -- events.md -------------------------------------------------------------------------------------------------------


def inputs() -> str:
    """Return a section for each kind of input."""
    parts = []
    for cls, kind in INPUT_KINDS.items():
        fields = get_type_hints(cls)
        rows = [[str(place), f"`{name}`", written(kind_of)] for place, (name, kind_of) in enumerate(fields.items())]
        parts.append(section(kind, cls, table(("place", "field", "JSON"), rows)))
    return "\n\n".join(parts)


def outputs() -> str:
    """Return a section for each kind of output."""
    parts = []
    for cls, kind in KINDS.items():
        if cls not in INPUT_KINDS:
            parts.append(section(kind, cls, fields_table(cls)))
    for kind, cls, note in (
        ("margin call", events.MarginCall, "inside `liquidated`"),
        ("request", OrderRequest, "inside `signal` and `order_refused`"),
        ("fill", events.Fill, "inside `order_filled`"),
    ):
        parts.append(section(kind, cls, fields_table(cls), note))
    return "\n\n".join(parts)


def section(kind: str, cls: type, content: str, note: str = "") -> str:
    key = note or (f"key {KEYS[kind]}" if kind in KEYS else "no key")
    return f"### {kind}\n\n{key}\n\n{prose(cls.__doc__ or '')}\n\n{content}"


def fields_table(cls: type) -> str:
    return table(("field", "JSON"), [[f"`{name}`", written(kind)] for name, kind in get_type_hints(cls).items()])


def field_docs(cls: type) -> dict[str, str]:
    """Return what stands below each field of a record, as text on one line; the base classes' fields come first."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith(("lab.records.", "lab.feed.")):
            continue
        body = ast.parse(inspect.getsource(base)).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in pairwise(body.body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
                found[field.target.id] = one_line(ast.literal_eval(below.value))
    return found


def record(*names: str) -> str:
    """Return a table for each of these records: field, JSON and meaning."""
    modules = (run_records, report_records, statistics_records, health_records)
    classes = {cls.__name__: cls for module in modules for cls in vars(module).values() if isinstance(cls, type)}
    parts = []
    for name in names:
        cls = classes[name]
        meanings = field_docs(cls)
        rows = [[f"`{key}`", written(kind), meanings[key]] for key, kind in get_type_hints(cls).items()]
        above = {
            key for one in names if one != name and issubclass(cls, classes[one]) for key in field_docs(classes[one])
        }
        rows = [row for row in rows if row[0].strip("`") in meanings.keys() - above]
        head = f"### {RECORDS[name]}\n\n{prose(cls.__doc__ or '')}\n\n" if len(names) > 1 or name in RECORDS else ""
        parts.append(head + table(("field", "JSON", "meaning"), rows))
    return "\n\n".join(parts)


def written(kind: Any) -> str:
    """Return how a type is written in JSON."""
    name = getattr(kind, "__name__", str(kind))
    known = {
        "int": "whole number", "float": "number", "str": "text", "bool": "true or false", "Decimal": "decimal as text",
        "OrderRequest": "object, see [request](#request)", "Fill": "object, see [fill](#fill)",
        "MarginCall": "object, see [margin call](#margin-call)",
        "Statistics": "object, see [statistics](statistics.md)",
        "Side": "`buy` or `sell`", "OrderType": " or ".join(f"`{one}`" for one in OrderType), "NoneType": "null",
    }  # fmt: skip
    if name in known:
        return known[name]
    if name in RECORDS:
        return f"object, see [{RECORDS[name]}](#{RECORDS[name].replace(' ', '-')})"
    arguments: list[Any] = list(getattr(kind, "__args__", ()))
    if name == "Literal":
        return " or ".join(f"`{value}`" for value in arguments)
    if name == "Any":
        return "any"
    if name == "Mapping":
        return f"object of {written(arguments[1])}" if len(arguments) == 2 else "object of text"
    if name == "tuple":
        pairs = {Posting: "[account, amount as text]", Level: "[price, size]"}
        return f"array of {pairs.get(arguments[0]) or written(arguments[0])}"
    return " or ".join(written(part) for part in arguments)


# -- configuration.md, plugins.md ------------------------------------------------------------------------------------


def bundled_points() -> list[Any]:
    """Return the entry points of this repository's own plugins, whatever else is installed."""
    from importlib.metadata import entry_points

    files = sorted((ROOT / "plugins").glob("*/pyproject.toml"))
    projects = [tomllib.loads(path.read_text(encoding="utf-8"))["project"] for path in files]
    ours = {(p["name"], name) for p in projects for name in p.get("entry-points", {}).get("lab", {})}
    return [point for point in entry_points(group="lab") if point.dist and (point.dist.name, point.name) in ours]


def bundled_offers() -> list[Offer]:
    registry = Registry(bundled_points())
    return [offer for kind in COMPONENT_KINDS for offer in registry.offers(kind)]


def run_settings() -> str:
    return settings_table("run", RunSettings)


def component_settings() -> str:
    """Return a section for each bundled component."""
    parts = []
    for offer in bundled_offers():
        about = one_line((offer.cls.__doc__ or "").strip().partition("\n")[0])
        head = f"### {offer.name}\n\n{offer.kind}, from {offer.plugin.distribution}. {about}"
        parts.append(f"{head}\n\n{settings_table(offer.name, offer.cls)}")
    return "\n\n".join(parts)


def settings_table(name: str, cls: type) -> str:
    rows = []
    for key, field in settings_of(cls).items():
        default = default_text(field)
        shown = {"required": "required", '""': "empty"}.get(default, f"`{default}`")
        rows.append([f"`{name}.{key}`", shown, type_name(field.type), str(field.metadata.get("help", ""))])
    return table(("setting", "default", "type", "what it is"), rows)


def bundled_plugins() -> str:
    rows = []
    for plugin in Registry(bundled_points()).plugins:
        offered = [f"{offer.kind} `{offer.name}`" for offer in bundled_offers() if offer.plugin.name == plugin.name]
        rows.append([f"`{plugin.name}`", plugin.distribution, ", ".join(offered)])
    return table(("entry point", "distribution", "components"), rows)


def hooks() -> str:
    rows = []
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction):
        if name.startswith("lab_"):
            rows.append([f"`{name}()`", one_line(function.__doc__ or "")])
    return table(("hook", "what it does"), rows)


def contracts() -> str:
    """Return the rules of each kind's contract."""
    from lab import ports

    bases = (ports.Strategy, ports.Provider, ports.RiskGate, ports.Broker, ports.Reporter)
    parts = []
    for base, kind in zip(bases, ("Strategy", "Provider", "Risk gate", "Broker", "Reporter"), strict=True):
        contract = by_kind(base)
        rules = [getattr(contract, name).rule for name in contract.rules().values()]
        rows = [[one.number, one.title, one.why, one.cure] for one in rules]
        parts.append(f"### {kind}\n\n`{contract.__name__}`\n\n{table(('rule', 'what holds', 'why', 'cure'), rows)}")
    return "\n\n".join(parts)


def names() -> str:
    import lab

    return ", ".join(f"`{name}`" for name in lab.__all__)


def testing_names() -> str:
    import lab.testing

    return ", ".join(f"`{name}`" for name in lab.testing.__all__)


# -- journal.md ------------------------------------------------------------------------------------------------------


def schema() -> str:
    """Return what a new journal is made of."""
    with tempfile.TemporaryDirectory() as folder:
        Journal(Path(folder), durable=True, labels={}).close()
        database = sqlite3.connect(Path(folder) / FILE_NAME)
        statements = [
            row[0] for row in database.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL ORDER BY rowid")
        ]
        database.close()
    return "```sql\n" + ";\n".join(statements) + ";\n```"


# -- health.md -------------------------------------------------------------------------------------------------------


def metrics() -> str:
    """Return every metric, with the labels that a session in full has."""
    everything = health_records.Health(
        status="trading", version="", provider="", strategies=("",), symbol="", interval="", currency="USDT",
        feed_ages={"quote": 0.0},
    )  # fmt: skip
    rows = []
    for metric in METRICS:
        labels = list(dict.fromkeys(name for labels, _ in metric.samples(everything) for name in labels))
        rows.append([f"`{metric.name}`", metric.kind, ", ".join(f"`{name}`" for name in labels), metric.help])
    return table(("metric", "type", "labels", "what it is"), rows)


# -- feed.md ---------------------------------------------------------------------------------------------------------


def feed_edges() -> str:
    """Return the table of the feed's state machine."""
    import lab.feed

    return "\n".join(line for line in (lab.feed.__doc__ or "").splitlines() if line.startswith("|"))


def feed_figures() -> str:
    """Return every figure of a venue's habits."""
    from lab.feed import Habits

    meanings = field_docs(Habits)
    rows = [[f"`{one.name}`", f"`{one.default}`", meanings[one.name]] for one in attrs.fields(Habits)]
    return table(("figure", "default", "meaning"), rows)


def feed_classes(*names: str) -> str:
    """Return a section for each of these classes of `lab.feed`: its text, its arguments, its methods."""
    import lab.feed

    parts = []
    for name in names:
        cls = getattr(lab.feed, name)
        parts.append(f"### {name}\n\n{prose(cls.__doc__ or '')}")
        if attrs.has(cls):
            parts.append(f"`{signature_of(cls.__init__, name)}`")
        rows = [
            [f"`{signature_of(method, one)}`", one_line(method.__doc__ or "")]
            for one, method in vars(cls).items()
            if inspect.isfunction(method) and not one.startswith("_")
        ]
        if rows:
            parts.append(table(("method", "what it does"), rows))
    return "\n\n".join(parts)


def signature_of(function: Callable[..., Any], name: str) -> str:
    """Return how a function is called, without ``self``, its defaults shown where they are plain values."""
    shown = []
    for one in list(inspect.signature(function).parameters.values())[1:]:
        plain = one.default is inspect.Parameter.empty or isinstance(one.default, int | float | str | tuple)
        shown.append(one.replace(annotation=one.empty, default=one.default if plain else ...))
    text = str(inspect.Signature(shown)).replace("Ellipsis", "...")
    return f"{'await ' * inspect.iscoroutinefunction(function)}{name}{text}"


def feed_values() -> str:
    """Return the names of `lab.feed` that are no classes of its own: types of callables and constants."""
    import lab.feed

    source = ast.parse(inspect.getsource(importlib.import_module("lab.feed.venue"))).body
    rows = []
    for one, below in pairwise(source):
        if isinstance(below, ast.Expr) and isinstance(one, ast.Assign | ast.AnnAssign):
            target = one.targets[0] if isinstance(one, ast.Assign) else one.target
            assert one.value is not None
            rows.append(
                [f"`{ast.unparse(target)}`", f"`{ast.unparse(one.value)}`", one_line(ast.literal_eval(below.value))]
            )
    assert {row[0].strip("`") for row in rows} <= set(lab.feed.__all__)
    return table(("name", "what it is", "meaning"), rows)


# -- pages -----------------------------------------------------------------------------------------------------------

PARTS: Final[dict[str, Callable[..., str]]] = {
    "help": command_help,
    "exit-codes": exit_codes,
    "inputs": inputs,
    "outputs": outputs,
    "record": record,
    "run-settings": run_settings,
    "component-settings": component_settings,
    "bundled-plugins": bundled_plugins,
    "hooks": hooks,
    "contracts": contracts,
    "names": names,
    "testing-names": testing_names,
    "schema": schema,
    "metrics": metrics,
    "feed-edges": feed_edges,
    "feed-figures": feed_figures,
    "feed-classes": feed_classes,
    "feed-values": feed_values,
    "library-functions": library_functions,
    "library-classes": library_classes,
    "library-tables": library_tables,
}


def filled(text: str) -> str:
    """Return a page with its generated parts as they should be."""

    def replace(match: re.Match[str]) -> str:
        arguments = match[3].split() if match[3] else []
        return f"{match[1]}\n{PARTS[match[2]](*arguments)}\n\n{match[4]}"

    return _MARK.sub(replace, text)


def pages() -> dict[Path, str]:
    """Return every page of the reference that has generated parts, as it should be."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((DOCS / "reference").glob("*.md"))}
    return {path: filled(text) for path, text in texts.items() if _MARK.search(text)}


def main() -> None:
    """Write the pages that differ."""
    for path, text in pages().items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
