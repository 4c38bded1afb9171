"""Makes runs for the checker, hands them to it, and writes journals anew with one thing wrong."""

import hashlib
import importlib
import json
import sqlite3
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from checker import check
from checker_flow import ONCE
from checker_inputs import Input, of_csv, of_tape

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Row = dict[str, Any]
DATA = Path(__file__).parents[2] / "plugins/recordings/src/lab_recordings/data"
CANDLES, TICKS = DATA / "btcusd-1m-2020-01-01.csv.gz", DATA / "btcusdt-perp-ticks-2024-08-08.csv.gz"
TWO = (
    "--strategy",
    "flow",
    "--strategy",
    "second=flow",
    "--set",
    "second.seed=2",
    "--gate",
    "none",
    "--reporter",
    "none",
)


def sets(**settings: object) -> tuple[str, ...]:
    """Return options that set what is named ``component__key``."""
    return tuple(word for key, value in settings.items() for word in ("--set", f"{key.replace('__', '.')}={value}"))


def inputs_of(folder: Path, source: Path | None, rates: Path | None = None) -> tuple[list[Input], str | None]:
    """Return what a run was fed, and the hash of its tape: of a file, its tape, or the made-up market."""
    start = rows_of(folder)[0]["body"]
    if source is not None:
        return list(of_csv(source, start["symbol"], start["interval_ns"], rates)), None
    if start["provider"]["type"] == "market":
        made = importlib.import_module("their_market").events(
            *(start["provider"]["settings"][n] for n in ("seed", "seconds"))
        )
        return [(type(one).__name__.lower(), json.loads(json.dumps(one))) for one in made], None
    lines = b"".join(zstd.decompress(data) for path in sorted(folder.glob("tape-*")) if (data := path.read_bytes()))
    return list(of_tape(lines.splitlines())), hashlib.sha256(lines).hexdigest()


def checked(folder: Path, source: Path | None = None, rates: Path | None = None) -> tuple[list[str], int, int]:
    """Let the checker recompute a run."""
    return check(folder / "journal.db", *inputs_of(folder, source, rates))


def rows_of(folder: Path) -> list[Row]:
    """Return the rows of a journal, bodies decoded."""
    names = ("seq", "time_ns", "input_n", "kind", "key", "body")
    with sqlite3.connect(folder / "journal.db") as db:
        rows = [
            dict(zip(names, row, strict=True))
            for row in db.execute(f"SELECT {', '.join(names)} FROM event ORDER BY seq")
        ]
    return [{**row, "body": json.loads(row["body"])} for row in rows]


def put(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as a journal with numbers and a chain that follow."""
    digest = bytes(32)
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE IF EXISTS event")
        db.execute("CREATE TABLE event (seq, time_ns, input_n, kind, key, body, hash)")
        for seq, row in enumerate(rows, 1):
            head = (seq, row["time_ns"], row["input_n"], row["kind"], row["key"] or "")
            body = json.dumps(row["body"], separators=(",", ":"), ensure_ascii=False)
            digest = hashlib.sha256(digest + ("\n".join(map(str, head)) + "\n" + body).encode()).digest()
            db.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)", (*head[:4], row["key"], body, digest))


Pick = Callable[[Row, list[Row]], bool]
Change = Callable[[list[Row]], int]


def where(kind: str, pick: Pick | None = None) -> Callable[[list[Row]], int]:
    """Return the place of the first row of a kind that fits."""

    def find(rows: list[Row]) -> int:
        return next(
            n for n, row in enumerate(rows) if row["kind"] == kind and (pick is None or pick(row["body"], rows))
        )

    return find


def edit(kind: str, pick: Pick | None = None, **changes: Any) -> Change:
    """Change fields of the first row that fits; ``fill__price`` reaches inside, a function is given what is there."""

    def change(rows: list[Row]) -> int:
        place = where(kind, pick)(rows)
        for name, value in changes.items():
            *path, last = name.split("__")
            body = rows[place]["body"]
            for step in path:
                body = body[int(step) if step.isdigit() else step]
            body[last] = value(body.get(last)) if callable(value) else value
        return place + 1

    return change


def cut(kind: str, pick: Pick | None = None) -> Change:
    """Leave the first row out that fits."""

    def change(rows: list[Row]) -> int:
        place = where(kind, pick)(rows)
        del rows[place]
        return place + 1

    return change


def again(kind: str, pick: Pick | None = None, **changes: Any) -> Change:
    """Write the first row that fits a second time, with a key of its own."""

    def change(rows: list[Row]) -> int:
        place = where(kind, pick)(rows)
        copy = json.loads(json.dumps(rows[place]))
        copy["body"].update(changes)
        copy["key"] = None if copy["key"] is None else copy["key"].replace(":", ":", 1)
        rows.insert(place + 1, copy)
        return place + 2

    return change


MINUTE_S, BEGIN_S = 60, 1_704_067_200  # 2024-01-01T00:00:00Z


def held(lab: Any, site: Any, *options: str) -> tuple[Path, Path]:
    """Run a position through two windows of funding and a fall; return the files of prices and rates."""
    if "their_once" not in site.modules:
        site.install("their_once", ONCE)
    steps = [100.0] * 500 + [98.5] * 300 + [95.0] * 200 + [93.0, 91.5, 90.9, 90.2, 88.0, 86.0, 86.0, 110.0]
    lines = [f"{(BEGIN_S + n * MINUTE_S) * 1000},{p},{p},{p},{p},9000" for n, p in enumerate(steps)]
    prices, rates = lab.folder / "prices.csv", lab.folder / "rates.csv"
    prices.write_text("\n".join(["time,open,high,low,close,volume", *lines]) + "\n", encoding="utf-8")
    rates.write_text(
        "time,rate,mark\n2024-01-01T08:00:00Z,0.0003,100.2\n2024-01-01T16:00:00Z,-0.0002,\n", encoding="utf-8"
    )
    given = (
        "--gate",
        "none",
        "--reporter",
        "none",
        "--set",
        "replay.funding=rates.csv",
        *sets(replay__lot="0.001", replay__tick="0.01"),
    )
    assert lab("backtest", "prices.csv", "--strategy", "once", *given, *options).code in (0, 2)
    return prices, rates
