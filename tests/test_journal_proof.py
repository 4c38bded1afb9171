"""What was recorded can be proven, and what was changed afterwards is found."""

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lab.journal.chain import GENESIS, row_hash
from lab.journal.schema import SCHEMA_VERSION

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KINDS = ["run_started", "deposit", "trading_state", "candle", "order_accepted", "order_filled", "run_ended"]


@pytest.fixture
def traded(lab: Any, trader: Any) -> Any:
    """A run of six minutes that traded."""
    assert lab.mock("--strategy", "trader", minutes=6).code == 0
    return lab


def _edit(folder: Path, sql: str, *values: Any) -> None:
    db = sqlite3.connect(folder / "journal.db")
    with db:
        db.execute(sql, values)
    db.close()


@pytest.mark.behaviour("J6")
def test_a_session_whose_beginning_was_changed_is_not_replayed_as_if_it_were_so(traded: Any, one_line: Any) -> None:
    _edit(traded.run().folder, """UPDATE event SET body = replace(body, '"seed":0', '"seed":1') WHERE seq = 1""")
    one_line(traded("replay", "latest"), 74, "row 1 was changed after it was written")


@pytest.mark.behaviour("J6", "M1")
@pytest.mark.parametrize("kind", ["run", "backtest", "replay"])
def test_verify_gives_the_same_bytes_again(lab: Any, trader: Any, kind: str) -> None:
    lab.mock("--strategy", "trader", minutes=6)
    if kind == "backtest":
        args = ("--set", "mock.minutes=200", "--set", "sma.confirmation=1")
        assert lab("backtest", "--provider", "mock", *args).code == 0
    if kind == "replay":
        assert lab("replay", "latest", "--set", "trader.quantity=0.02").code == 0
    assert lab.run().report()["kind"] == kind
    assert lab.run().report()["fills"] > 2
    result = lab("verify", "--json")
    verdict = result.json()
    assert (result.code, verdict["identical"]) == (0, True), verdict
    assert verdict["rows"] == len(lab.run().rows())
    assert verdict["head"] == lab.run().raw()[-1][6].hex()
    assert "identical" in lab("verify", "latest").out


@pytest.mark.behaviour("J6")
@pytest.mark.parametrize("kind", KINDS)
def test_one_changed_byte_of_a_row_is_found_and_the_row_named(traded: Any, one_line: Any, kind: str) -> None:
    folder = traded.run().folder
    number, _, _ = traded.run().rows(kind)[0]
    db = sqlite3.connect(folder / "journal.db")
    (body,) = db.execute("SELECT body FROM event WHERE seq = ?", (number,)).fetchone()
    db.close()
    place = next(i for i, sign in enumerate(body) if sign.isdigit())
    changed = body[:place] + ("8" if body[place] != "8" else "9") + body[place + 1 :]
    _edit(folder, "UPDATE event SET body = ? WHERE seq = ?", changed, number)
    result = traded("verify")
    assert result.code == 1
    assert f"row {number}:" in result.out
    assert "hash" in result.out
    assert result.err == ""


@pytest.mark.behaviour("J6")
@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("DELETE FROM event WHERE seq = 9", 9),
        ("UPDATE event SET time_ns = time_ns + 1 WHERE seq = 12", 12),
        ("UPDATE event SET input_n = input_n + 1 WHERE seq = 9", 9),
        ("UPDATE event SET kind = 'notice' WHERE seq = 10", 10),
        ("UPDATE event SET key = 'other' WHERE seq = 8", 8),
        ("UPDATE event SET hash = x'00' WHERE seq = 11", 11),
    ],
)
def test_a_removed_or_moved_row_breaks_the_chain_there(traded: Any, sql: str, row: int) -> None:
    _edit(traded.run().folder, sql)
    result = traded("verify", "--json")
    verdict = result.json()
    assert (result.code, verdict["identical"], verdict["rows"]) == (1, False, row)
    assert verdict["difference"] == f"row {row}: its hash does not follow"


@pytest.mark.behaviour("J6")
def test_a_row_that_was_changed_with_its_own_hash_breaks_the_chain_at_the_next(traded: Any) -> None:
    rows = traded.run().raw()
    seq, time_ns, input_n, kind, key, body, _ = rows[8]
    changed = row_hash(rows[7][6], seq, time_ns + 1, input_n, kind, key, body)
    _edit(traded.run().folder, "UPDATE event SET time_ns = ?, hash = ? WHERE seq = ?", time_ns + 1, changed, seq)
    verdict = traded("verify", "--json").json()
    assert verdict["difference"] == f"row {seq + 1}: its hash does not follow"


def _hash_again(folder: Path) -> None:
    """Make every hash follow from its row and the one before, as somebody would who knows how."""
    db = sqlite3.connect(folder / "journal.db")
    previous = GENESIS
    with db:
        for row in db.execute("SELECT seq, time_ns, input_n, kind, key, body FROM event ORDER BY seq").fetchall():
            previous = row_hash(previous, *row[:5], row[5].encode())
            db.execute("UPDATE event SET hash = ? WHERE seq = ?", (previous, row[0]))
    db.close()


@pytest.mark.behaviour("J6", "M1")
@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE event SET time_ns = time_ns + 1 WHERE seq = 12", "row 12: the journal has"),
        ("UPDATE event SET input_n = input_n + 1 WHERE seq = 9", "row 9: the journal has"),
        ("UPDATE event SET key = 'other' WHERE seq = 8", "row 8: the journal has"),
        ("DELETE FROM event WHERE seq = 9", "row 9: its hash does not follow"),
        (
            "UPDATE event SET body = replace(body, '\"cash\":\"', '\"cash\":\"1') WHERE kind = 'run_ended'",
            "run_ended: books",
        ),
        (
            "UPDATE event SET body = replace(body, '\"fills\":', '\"fills\":1') WHERE kind = 'run_ended'",
            "run_ended: totals",
        ),
    ],
    ids=["time", "input", "key", "removed", "books", "totals"],
)
def test_a_change_whose_every_hash_was_made_again_is_found_by_running_the_inputs(
    traded: Any, sql: str, said: str
) -> None:
    _edit(traded.run().folder, sql)
    _hash_again(traded.run().folder)
    result = traded("verify", "--json")
    assert result.code == 1
    assert result.json()["difference"].startswith(said)


@pytest.mark.behaviour("J2", "J6")
@pytest.mark.parametrize("kind", ["run_started", "run_ended", "order_filled"])
@pytest.mark.parametrize("command", ["verify", "report", "runs", "replay"])
def test_a_row_that_is_no_json_any_more_is_never_a_traceback(traded: Any, kind: str, command: str) -> None:
    number, _, _ = traded.run().rows(kind)[0]
    _edit(traded.run().folder, "UPDATE event SET body = '{broken' WHERE seq = ?", number)
    result = traded(command, *(["latest"] if command == "replay" else []))
    assert "Traceback" not in result.err
    if command == "verify":
        assert result.code == 1
        assert f"row {number}" in result.out
    elif result.code:
        assert len(result.err.splitlines()) == 1
        assert "journal.db" in result.err


@pytest.mark.behaviour("J2")
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"{broken",
        lambda data: data[: len(data) // 2],
        lambda data: data[:100] + bytes(byte ^ 0x55 for byte in data[100:6000]) + data[6000:],
        lambda data: b"\0" * len(data),
    ],
    ids=["empty", "text", "half", "flipped", "zeros"],
)
def test_a_damaged_file_is_named_and_never_a_traceback(
    traded: Any, one_line: Any, damage: Callable[[bytes], bytes]
) -> None:
    path = traded.run().folder / "journal.db"
    path.write_bytes(damage(path.read_bytes()))
    for command in ("verify", "report"):
        result = traded(command)
        if command == "verify" and result.code == 1:
            continue  # enough was readable to name the row
        one_line(result, 74, "journal.db")
    listed = traded("runs", "--json")
    assert listed.code == 0
    assert listed.json()["runs"][0]["status"] == "unreadable"


@pytest.mark.behaviour("J5")
def test_a_journal_of_a_newer_lab_is_refused_by_name_and_version(traded: Any, one_line: Any) -> None:
    _edit(traded.run().folder, "PRAGMA user_version = 99")
    for command in ("report", "verify"):
        one_line(traded(command), 74, "journal.db", "version 99", f"newer than this lab reads ({SCHEMA_VERSION})")
    one_line(traded("replay", "latest"), 74, "journal.db", "version 99")
    assert "version 99" in traded("runs", "--json").json()["runs"][0]["reason"]


@pytest.mark.behaviour("J6", "P1")
def test_other_code_of_a_strategy_is_found_at_its_first_different_row_and_the_versions_named(
    traded: Any, trader: Any
) -> None:
    first = next(n for n, _, body in traded.run().rows("order_accepted") if body["side"] == "buy")
    site = trader.folder
    source = (site / "their_trader.py").read_text(encoding="utf-8")
    (site / "their_trader.py").write_text(source.replace("self.quantity", "2 * self.quantity"), encoding="utf-8")
    (site / "their_trader-1.2.3.dist-info").rename(site / "their_trader-1.2.4.dist-info")
    info = site / "their_trader-1.2.4.dist-info" / "METADATA"
    info.write_text(info.read_text(encoding="utf-8").replace("1.2.3", "1.2.4"), encoding="utf-8")
    result = traded.process("verify", "--json", env=traded.see(trader))
    verdict = result.json()
    assert (result.code, verdict["identical"]) == (1, False), result
    assert verdict["rows"] <= first
    assert f"row {verdict['rows']}" in verdict["difference"]
    assert "1.2.3" in verdict["cause"]
    assert "1.2.4" in verdict["cause"]


@pytest.mark.behaviour("J6")
def test_an_edited_tape_is_found_by_the_digest_in_the_journal(traded: Any) -> None:
    path = traded.run().folder / "tape-0001.jsonl.zst"
    with zstd.open(path, "rb") as file:
        lines = file.read().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if line.startswith(b'["candle"') and b"final" in line)
    edited = lines[place].replace(b'"final"', b'"unconfirmed"')
    path.write_bytes(zstd.compress(b"".join([*lines[:place], edited, *lines[place + 1 :]])))
    result = traded("verify", "--json")
    verdict = result.json()
    assert (result.code, verdict["identical"]) == (1, False)
    assert verdict["difference"] == "the tape is not what the run took in"
    assert verdict["cause"] == "the tape's SHA-256 is not the one in the journal"


@pytest.mark.behaviour("J6")
@pytest.mark.parametrize(
    ("damage", "word"),
    [
        ("missing", "no tape there"),
        ("short", "tape-0001.jsonl.zst: torn"),
        ("rubbish line", "not an input"),
        ("one input fewer", "inputs, the run took"),
    ],
    ids=["missing", "short", "rubbish line", "one input fewer"],
)
def test_a_tape_that_is_not_all_there_is_named_as_the_cause(traded: Any, damage: str, word: str) -> None:
    path = traded.run().folder / "tape-0001.jsonl.zst"
    if damage == "missing":
        path.unlink()
    elif damage == "short":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "rubbish line":
        path.write_bytes(path.read_bytes() + zstd.compress(b'["candle",[1,2]]\n'))
    else:
        path.write_bytes(zstd.compress(b"".join(zstd.decompress(path.read_bytes()).splitlines(keepends=True)[:-1])))
    result = traded("verify")
    assert result.code == 1
    assert result.err == ""
    assert word in result.out.partition("cause: ")[2]


@pytest.mark.behaviour("J6", "M2")
def test_a_backtests_file_that_has_changed_since_is_refused_by_its_hash(lab: Any, trader: Any) -> None:
    rows = [f"{1704067200 + 60 * n},{100 + n % 7},{110 + n % 7},90,{100 + n % 5},1" for n in range(60)]
    file = lab.folder / "prices.csv"
    file.write_text("\n".join(["time,open,high,low,close,volume", *rows, ""]), encoding="utf-8")
    sets = ("--set", "trader.quantity=0.5", "--set", "replay.tick=0.01")
    result = lab("backtest", "prices.csv", "--strategy", "trader", *sets)
    assert result.code == 0, result
    assert lab("verify").code == 0
    file.write_text(file.read_text(encoding="utf-8").replace("\n1704067260,101", "\n1704067260,102"), encoding="utf-8")
    result = lab("verify")
    assert result.code != 0
    assert "SHA-256" in result.out + result.err
    assert "Traceback" not in result.err


@pytest.mark.behaviour("J3")
def test_a_reader_never_meets_a_locked_journal_while_the_run_goes_on(lab: Any, trader: Any) -> None:
    trader.install(
        "their_watcher",
        """
        from attrs import define, field
        from lab import Reporter, hookimpl
        from lab.journal.reader import JournalReader

        @define(kw_only=True)
        class Watcher(Reporter):
            async def report(self, run, records):
                last = 0
                async for record in records:
                    reader = JournalReader.open(run.directory)
                    seen = reader.count()
                    reader.close()
                    assert seen >= record.seq > last
                    last = record.seq

        @hookimpl
        def lab_reporters():
            return {"watcher": Watcher}
        """,
    )
    assert lab.mock("--strategy", "trader", "--reporter", "watcher", minutes=5).code == 0
    report = lab.run().report()
    assert report["error_count"] == 0
    assert not [body for _, _, body in lab.run().rows("notice") if body[1] == "reporter"]
