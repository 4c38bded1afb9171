"""Folders as users have them: odd names, things in the way, no permission."""

import os
from pathlib import Path
from typing import Any

import pytest

RUN = ("run", "--provider", "mock", "--speed", "max", "--minutes", "1", "--reporter", "none")


@pytest.mark.behaviour("S5")
@pytest.mark.parametrize("inside", [[], ["file"]], ids=["empty", "full"])
def test_a_folder_where_the_link_to_the_newest_run_belongs_is_named_before_anything_is_made(
    lab: Any, one_line: Any, inside: list[str]
) -> None:
    latest = lab.folder / "runs" / "latest"
    latest.mkdir(parents=True)
    for name in inside:
        (latest / name).touch()
    before = [*lab.files(), "runs/.lock"]
    one_line(lab(*RUN), 74, "runs/latest", "a folder", "move it away")
    one_line(lab("backtest", "btcusd-1m"), 74, "runs/latest", "move it away")
    assert lab.files() == sorted(before)
    for command in ("report", "verify", "replay"):
        one_line(lab(command, "latest"), 78, "runs/latest", "is a folder", "lab runs")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_bytes(b""), ["a file"]),
        (lambda path: path.write_bytes(b"\xff\0 rubbish\n"), ["a file"]),
        (lambda path: path.write_text("x" * 5000, encoding="utf-8"), ["a file"]),
        (lambda path: path.symlink_to("nowhere"), ["leads to nowhere"]),
        (lambda path: path.symlink_to("latest"), ["leads to latest"]),
        (lambda path: path.symlink_to("."), ["leads to ."]),
    ],
    ids=["empty file", "binary", "long", "dangling", "circle", "no run"],
)
def test_a_link_to_the_newest_run_that_leads_nowhere_is_named_and_the_next_run_mends_it(
    lab: Any, one_line: Any, make: Any, words: list[str]
) -> None:
    (lab.folder / "runs").mkdir()
    make(lab.folder / "runs" / "latest")
    for command in ("report", "verify", "replay"):
        result = lab(command, "latest")
        one_line(result, 78, "runs/latest", "no run", "lab runs", *words)
        assert "rubbish" not in result.err, "a file that is no link of ours may be any file"
        assert "xxx" not in result.err
    one_line(lab("report", "runs/latest"), 78, "runs/latest", "no run")
    assert lab("runs").code == 0
    assert lab(*RUN).code == 0
    assert lab("report", "--json").json()["reason"] == "completed"


def test_a_text_file_stands_for_the_link_where_links_are_not_to_be_had(lab: Any) -> None:
    assert lab(*RUN).code == 0
    name = lab.run().folder.name
    latest = lab.folder / "runs" / "latest"
    latest.unlink()
    latest.write_text(f"{name}\n", encoding="utf-8")
    assert lab("report", "--json").json()["run_id"] == name
    assert lab("verify", "runs/latest").code == 0


@pytest.mark.parametrize("name", ["with space", "ünï ✓ 漢", 'quote\'s "two"', "-dash", "%41 #1?x=y"])
def test_a_state_directory_may_have_any_name(lab: Any, name: str) -> None:
    place = lab.folder / name
    result = lab(*RUN[:-2], "--state-dir", str(place))
    assert (result.code, result.err) == (0, "")
    assert f"files: {place}" in result.out
    assert (place / "runs" / "latest" / "summary.html").is_file()
    for command in (("report",), ("verify",), ("runs",), ("replay", "latest"), ("doctor", "--offline")):
        done = lab(*command, "--state-dir", str(place))
        assert (done.code, done.err) == (0, ""), command


@pytest.mark.behaviour("S5")
@pytest.mark.parametrize("place", ["file", "file/below", "runs-is-a-file", "/proc/lab"])
def test_a_place_that_cannot_hold_runs_is_named_with_its_cure(lab: Any, one_line: Any, place: str) -> None:
    (lab.folder / "file").touch()
    (lab.folder / "runs-is-a-file").mkdir()
    (lab.folder / "runs-is-a-file" / "runs").touch()
    before = lab.files()
    one_line(lab(*RUN, env={"LAB_RUN_STATE_DIR": place}), 74, place, "--state-dir")
    assert lab.files() == before


@pytest.mark.behaviour("S5")
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_read_only_state_directory_is_named_with_its_cure(lab: Any, one_line: Any, tmp_path: Path) -> None:
    place = tmp_path / "sealed"
    place.mkdir(mode=0o555)
    one_line(lab(*RUN, "--state-dir", str(place)), 74, "sealed", "Permission denied", "--state-dir")
    one_line(lab("doctor", "--offline", "--state-dir", str(place)), 1, "sealed")


@pytest.mark.behaviour("S5")
@pytest.mark.parametrize("value", ["1e9", "525601", "-1", "0", "nan", "inf", "-inf", "1e400", "", "ten", "1,5"])
def test_minutes_that_are_none_are_named_with_their_value(lab: Any, one_line: Any, value: str) -> None:
    one_line(lab(*RUN[:5], "--minutes", value), 78, "--minutes", "minutes")
    assert lab.files() == []


@pytest.mark.behaviour("S5")
@pytest.mark.parametrize("value", ["", "0m", "-1m", "1", "1M", "1 m", "0.5m", "1µs", "32d", "9" * 30 + "d", "nan"])
def test_an_interval_that_is_none_is_named_with_its_value(lab: Any, one_line: Any, value: str) -> None:
    one_line(lab(*RUN, "--interval", value), 78, "--interval", repr(value))
    assert lab.files() == []


@pytest.mark.behaviour("R7", "S5")
@pytest.mark.parametrize("values", [("none", "margin"), ("margin", "none"), ("none", "x")], ids=" ".join)
def test_no_gates_and_a_gate_contradict_each_other(lab: Any, one_line: Any, values: tuple[str, str]) -> None:
    one_line(lab(*RUN, "--gate", values[0], "--gate", values[1]), 64, "--gate none")
    one_line(lab(*RUN, "--set", f"run.gates={','.join(values)}"), 78, "--set", "run.gates", "none alone")
    one_line(lab(*RUN, env={"LAB_RUN_GATES": ",".join(values)}), 78, "LAB_RUN_GATES", "none alone")
    assert lab.files() == []


def test_a_gate_named_twice_is_named_with_its_cure(lab: Any, one_line: Any) -> None:
    one_line(lab(*RUN, "--gate", "margin", "--gate", "margin"), 78, "'margin'", "name it once")
    assert lab(*RUN, "--gate", "none", "--gate", "none", "--no-write").code == 0


def test_a_list_of_what_is_known_names_each_once(lab: Any) -> None:
    result = lab(*RUN, "--set", "qqqqqqqq.x=1")
    names = result.err.partition("known: ")[2].strip().split(", ")
    assert result.code == 78
    assert len(names) == len(set(names)) > 5
