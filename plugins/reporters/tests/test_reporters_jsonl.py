"""``events.jsonl``."""

import json
import logging
import os
import tracemalloc
from decimal import Decimal
from pathlib import Path

import pytest
from lab.domain.control import Command, CommandAction, Notice, TradingState
from lab.domain.orders import Side
from lab_reporters.jsonl import Jsonl
from msgspec.structs import replace

MINUTE = 60 * 10**9
START = 1_800_000_000 * 10**9  # 2027-01-15T08:00:00Z


def lines_of(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.behaviour("J8")
async def test_every_row_is_one_readable_line_with_field_names(rows, run, drive, tmp_path):
    rows.everything()
    await drive(Jsonl(), run.info(tmp_path), rows.rows)
    header, *lines = lines_of(tmp_path / "events.jsonl")
    assert header["schema_version"] == 1
    assert header["kind"] == "header"
    assert header["run"]["fees"] == {"maker": "0.02 %", "taker": "0.06 %"}
    assert [line["seq"] for line in lines] == [row.seq for row in rows.rows]
    candle = next(line for line in lines if line["kind"] == "candle")
    assert candle["time"] == "2027-01-15T08:01:00Z"
    assert candle["body"]["open"] == 42997.0
    assert candle["body"]["status"] == "final"
    gate = next(line for line in lines if line["kind"] == "trading_state")
    assert gate["body"]["halted_by"] == ["no quote yet", "seed_incomplete 37/100"]
    fill = next(line for line in lines if line["kind"] == "order_filled")
    assert fill["body"]["fill"]["price"] == "43010.5"


async def test_what_the_session_says_has_the_time_it_was_said_at_and_not_that_of_the_last_data(
    rows, run, drive, tmp_path
):
    later = START + 90 * 10**9 + 123
    rows.candle(0, 43000.0)
    rows.add("trading_state", TradingState(later, ("quote stale",)), time_ns=START + MINUTE)
    rows.add("command", Command(later, CommandAction.STOP, "session", "SIGINT"), time_ns=START + MINUTE)
    rows.add("notice", Notice(START, "feed", {"state": "down"}), time_ns=START + MINUTE)
    rows.add("trading_state", b'{"a":1}', time_ns=START + MINUTE)
    await drive(Jsonl(), run.info(tmp_path), rows.rows)
    _, candle, halt, stop, notice, broken = lines_of(tmp_path / "events.jsonl")
    assert halt["time"] == stop["time"] == "2027-01-15T08:01:30.000000123Z"
    assert candle["time"] == notice["time"] == broken["time"] == "2027-01-15T08:01:00Z"


async def test_a_figure_is_written_out_however_small_it_is(rows, run, drive, tmp_path):
    rows.fill(3, Side.BUY, "0.0000214", "1E+3", fee="1E-8")
    assert b'"1E-8"' in rows.rows[0].body
    rows.refusal('a reason may say "1E-8" and "1E-99999999"')
    await drive(Jsonl(), run.info(tmp_path), rows.rows)
    _, filled, refused = lines_of(tmp_path / "events.jsonl")
    assert filled["body"]["fill"]["fee"] == "0.00000001"
    assert filled["body"]["position"] == "1000"
    assert refused["body"]["reason"] == 'a reason may say "1E-8" and "1E-99999999"'


@pytest.mark.behaviour("J8")
async def test_files_rotate_at_their_size_and_five_old_ones_stay(rows, run, drive, tmp_path):
    for minute in range(1000):
        rows.candle(minute, 43000.0)
    await drive(Jsonl(rotate_bytes=20_000), run.info(tmp_path), rows.rows)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["events.jsonl", *(f"events.jsonl.{n}" for n in range(1, 6))]
    seqs = []
    for name in (
        "events.jsonl.5",
        "events.jsonl.4",
        "events.jsonl.3",
        "events.jsonl.2",
        "events.jsonl.1",
        "events.jsonl",
    ):
        assert (tmp_path / name).stat().st_size <= 20_000
        header, *lines = lines_of(tmp_path / name)
        assert header["kind"] == "header"
        seqs += [line["seq"] for line in lines]
    assert seqs == list(range(seqs[0], 1001))
    assert seqs[0] > 1


@pytest.mark.behaviour("J8")
def test_the_limit_is_ten_megabytes_and_five_files_unless_told():
    assert (Jsonl().rotate_bytes, Jsonl().keep) == (10_000_000, 5)


async def test_lines_reach_the_file_while_the_run_goes_on(rows, run, drive, tmp_path):
    rows.everything()
    seen = []

    def steps():
        yield from rows.rows
        yield 0.3
        seen.extend(lines_of(tmp_path / "events.jsonl"))

    await drive(Jsonl(), run.info(tmp_path), steps())
    assert len(seen) == len(rows.rows) + 1


@pytest.mark.behaviour("V6")
async def test_malformed_rows_are_written_as_text_with_a_debug_line(rows, run, drive, tmp_path, caplog):
    rows.everything()
    rows.malformed()
    with caplog.at_level(logging.DEBUG, "lab.reporters"):
        await drive(Jsonl(), run.info(tmp_path), rows.rows)
    lines = lines_of(tmp_path / "events.jsonl")[1:]
    assert len(lines) == len(rows.rows)
    odd = [line for line in lines if "malformed" in line]
    assert {"", "{", '["B",1]', "\\xff\\xfe"} <= {line["malformed"] for line in odd}
    assert all(line["body"] is None for line in odd)
    assert len(caplog.records) == len(odd)


async def test_a_run_that_starts_again_goes_on_after_its_last_whole_line(rows, run, drive, tmp_path):
    rows.everything()
    await drive(Jsonl(), run.info(tmp_path), rows.rows[:20])
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])  # killed in the middle of row 20
    await drive(Jsonl(), run.info(tmp_path), rows.rows)
    lines = lines_of(path)[1:]
    assert [line["seq"] for line in lines] == [row.seq for row in rows.rows]
    assert path.read_bytes().startswith(whole)


@pytest.mark.behaviour("J8")
@pytest.mark.parametrize("begun", [None, 0, 30, "header"], ids=["moved", "empty", "torn_header", "header_alone"])
async def test_a_run_that_was_killed_while_the_file_rotated_writes_no_row_twice(rows, run, drive, tmp_path, begun):
    rows.everything()
    path, old = tmp_path / "events.jsonl", tmp_path / "events.jsonl.1"
    await drive(Jsonl(), run.info(tmp_path), rows.rows[:20])
    header = path.read_bytes().splitlines(keepends=True)[0]
    path.replace(old)
    before = old.read_bytes()
    if begun is not None:
        path.write_bytes(header if begun == "header" else header[:begun])
    await drive(Jsonl(), run.info(tmp_path), rows.rows)
    assert old.read_bytes() == before
    first, *lines = lines_of(path)
    assert first["kind"] == "header"
    assert [line["seq"] for line in lines] == [row.seq for row in rows.rows[20:]]
    assert sorted(tmp_path.iterdir()) == [path, old]


@pytest.mark.parametrize("left", [b"no json\n", b'{"kind":"header","run_id":"other"}\n', b'{"kind":"hea'])
async def test_what_another_run_left_is_put_aside(rows, run, drive, tmp_path, left):
    (tmp_path / "events.jsonl").write_bytes(left)
    rows.everything()
    await drive(Jsonl(), run.info(tmp_path), rows.rows)
    assert (tmp_path / "events.jsonl.1").read_bytes() == left
    assert len(lines_of(tmp_path / "events.jsonl")) == len(rows.rows) + 1


async def test_of_a_file_that_is_one_endless_line_no_more_than_a_beginning_is_read(rows, run, drive, tmp_path):
    with (tmp_path / "events.jsonl").open("wb") as file:
        file.write(b"[" * 100_000)
        file.truncate(50 << 20)
    rows.everything()
    tracemalloc.start()
    await drive(Jsonl(), run.info(tmp_path), rows.rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
    assert (tmp_path / "events.jsonl.1").stat().st_size == 50 << 20
    assert len(lines_of(tmp_path / "events.jsonl")) == len(rows.rows) + 1


async def test_nothing_is_written_without_a_directory(rows, run, drive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows.everything()
    await drive(Jsonl(), run.info(None), rows.rows)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.behaviour("N3")
async def test_the_header_has_the_settings_in_force_and_money_as_plain_text(rows, run, drive, tmp_path):
    run.header = replace(run.header, starting_equity=Decimal("0.00000001"))
    await drive(Jsonl(), run.info(tmp_path), rows.rows)
    header = lines_of(tmp_path / "events.jsonl")[0]["run"]
    assert header["starting_equity"] == "0.00000001"
    assert {"component": "sma", "key": "fast", "value": "7", "origin": "--set", "changed": True} in header["settings"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_full_disk_is_named_by_the_error(rows, run, drive, tmp_path, monkeypatch):
    monkeypatch.setattr("lab_reporters.jsonl.private", lambda _, flags: os.open("/dev/full", flags))
    rows.everything()
    with pytest.raises(ExceptionGroup) as caught:  # the one of the test's own task group
        await drive(Jsonl(), run.info(tmp_path), [*rows.rows, 0.3])
    assert [(type(error), error.errno) for error in caught.value.exceptions] == [(OSError, 28)]
