"""Whatever a file holds, no command takes more than 64 MiB over its usual memory to say what is wrong with it."""

import contextlib
import gzip
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import memory
import pytest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.skipif(not memory.CAN_BE_MEASURED, reason="peaks of memory are read from Linux's /proc")
LONG: Final = 50 << 20  # bytes; whoever reads it whole holds it twice, at the least
TAPE: Final = "tape-0001.jsonl.zst"


def _one_line(folder: Path) -> None:
    """A line of zeros, packed to a few kilobytes."""
    packer = zstd.ZstdCompressor()
    with (folder / TAPE).open("wb") as file:
        for _ in range(LONG >> 20):
            file.write(packer.compress(bytes(1 << 20)))
        file.write(packer.flush())


def _wide_window(folder: Path) -> None:
    """A frame whose reader has to keep the last 128 MiB."""
    options = {zstd.CompressionParameter.window_log: 27}
    packer = zstd.ZstdCompressor(options=options)
    lines = zstd.decompress((folder / TAPE).read_bytes())
    with (folder / TAPE).open("wb") as file:
        for _ in range(1 + 2 * LONG // len(lines)):
            file.write(packer.compress(lines))
        file.write(packer.flush())


def _changed(sql: str, *before: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with contextlib.closing(sqlite3.connect(folder / "journal.db")) as db, db:
            for one in before:
                db.execute(one)
            db.execute(sql, (LONG,))

    return change


HOSTILE: Final[dict[str, tuple[Callable[[Path], None], tuple[str, ...], str]]] = {
    "a tape of one line": (_one_line, ("verify", "replay", "lookahead"), TAPE),
    "a tape of wide windows": (_wide_window, ("verify", "replay"), TAPE),
    "a body": (
        _changed("UPDATE event SET body=printf('%.*c', ?, 'x') WHERE seq=4"),
        ("audit", "verify"),
        "journal.db",
    ),
    "the first body": (
        _changed("UPDATE event SET body=printf('%.*c', ?, 'x') WHERE seq=1"),
        ("report", "audit", "verify", "replay"),
        "journal.db",
    ),
    "a label": (_changed("UPDATE meta SET value=printf('%.*c', ?, 'x')"), ("report",), "journal.db"),
    "a state": (
        _changed("UPDATE state SET body=printf('%.*c', ?, 'x')", "DELETE FROM event WHERE kind='run_ended'"),
        ("report",),
        "journal.db",
    ),
}


@pytest.mark.behaviour("J2")
def test_no_run_makes_a_command_take_more_than_64_mib_over_what_a_sound_run_takes(lab: Any) -> None:
    assert lab.mock("--reporter", "none", minutes=1).code == 0
    sound = lab.run().folder
    usual = [("verify", sound.name), ("replay", sound.name), ("audit", sound.name), ("report", sound.name), ("runs",)]
    asked = []
    for what, (change, commands, culprit) in HOSTILE.items():
        folder = sound.with_name(what.replace(" ", "-"))
        shutil.copytree(sound, folder)
        change(folder)
        asked += [((command, str(folder)), culprit, what) for command in commands]
    asked.append((("runs",), "", "all of them"))
    before = len(usual)
    found = memory.measured(lab.folder, lab.environment, [*usual, *(command for command, _, _ in asked)])
    assert [one.code for one in found[:before]] == [0] * before, found[:before]
    wrong = [
        (what, command[0], complaints, one.said[:300])
        for (command, culprit, what), one in zip(asked, found[before:], strict=True)
        if (complaints := memory.complaints(one, culprit, (1, 74, 78) if culprit else (0,)))
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_no_file_of_prices_rates_or_latencies_makes_a_command_take_more_than_64_mib(lab: Any) -> None:
    def sparse(name: str, begin: str) -> str:
        with (lab.folder / name).open("wb") as file:
            file.write(begin.encode())
            file.truncate(LONG)
        return name

    rows = "".join(f"{1_704_067_200 + 60 * n},10001,10002,10001,10001.5,3\n" for n in range(50))
    (lab.folder / "good.csv").write_text("time,open,high,low,close,volume\n" + rows)
    with gzip.open(lab.folder / "line.csv.gz", "wb", 1) as packed:
        for _ in range(LONG >> 20):
            packed.write(b"1" * (1 << 20))
    rates = "time,rate\n" + "".join(f"{n},0\n" for n in range(1, 2_000_000))
    (lab.folder / "rates.csv").write_text(rates)
    good = ("backtest", "good.csv", "--gate", "none", "--reporter", "none", "--no-write")
    measured_latency = "paper.latency_model=lab_paper_broker.models:Measured(path='{}')".format
    asked = [
        (("backtest", "line.csv.gz"), "line.csv.gz"),
        (("backtest", sparse("zeros.csv", "")), "zeros.csv"),
        ((*good, "--set", f"replay.funding={sparse('one-line.csv', 'time,rate')}"), "one-line.csv"),
        ((*good, "--set", "replay.funding=rates.csv"), "rates.csv"),
        ((*good, "--set", measured_latency(sparse("latencies.csv", ""))), "latencies.csv"),
        (("config", "--config", sparse("big.toml", "a = 1")), "big.toml"),
        (("report", "latest"), "latest"),
    ]
    (lab.folder / "runs").mkdir()
    sparse("runs/latest", "not a run")
    first, *found = memory.measured(lab.folder, lab.environment, [good, *(command for command, _ in asked)])
    (lab.folder / "runs" / "latest").unlink(missing_ok=True)
    assert first.code == 0, first
    wrong = [
        (command, complaints, one.said[:300])
        for (command, culprit), one in zip(asked, found, strict=True)
        if (complaints := memory.complaints(one, culprit, (69, 78)))
    ]
    assert not wrong, "\n".join(map(str, wrong))
