"""Files of runs are their owner's alone, whatever the umask, and no link leads lab to another file."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes of files are a POSIX affair")


@pytest.fixture(params=[0o000, 0o022, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """Return the mode of every file and folder that is not as private as it must be."""
    found = {}
    for path in folder.rglob("*"):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode != (0o700 if path.is_dir() else 0o600):
                found[str(path.relative_to(folder))] = oct(mode)
    return found


@pytest.mark.behaviour("X1")
def test_every_file_of_a_session_is_0600_and_every_folder_0700(
    lab: Any, site: Any, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[dict[str, str]] = []
    from lab.journal.store import Journal

    whole = Journal.commit

    def commit(journal: Journal, *args: Any, **options: Any) -> Any:
        done = whole(journal, *args, **options)
        looked.append(modes(lab.folder / "runs"))
        return done

    site.install("their_failing", FAILING)
    monkeypatch.setattr(Journal, "commit", commit)
    lab.mock("--strategy", "failing", "--reporter", "jsonl", minutes=3)
    assert (lab.run().folder / "errors.log").exists()
    assert [found for found in [*looked, modes(lab.folder / "runs")] if found] == []
    assert stat.S_IMODE((lab.folder / "runs").stat().st_mode) == 0o700


FAILING = """
    from attrs import define
    from lab import Strategy, hookimpl

    @define(kw_only=True)
    class Failing(Strategy):
        def on_candle(self, candle, view):
            raise KeyError("on purpose")

    @hookimpl
    def lab_strategies():
        return {"failing": Failing}
"""


@pytest.mark.behaviour("X1")
def test_a_backtests_files_are_private_too(lab: Any, umask: int) -> None:
    assert lab("backtest", "--provider", "mock", "--set", "mock.minutes=40").code == 0
    assert modes(lab.folder / "runs") == {}


@pytest.mark.behaviour("S8", "X1")
def test_a_link_in_the_place_of_the_lock_is_refused_and_not_followed(lab: Any, one_line: Any) -> None:
    (lab.folder / "runs").mkdir()
    (lab.folder / "runs" / ".lock").symlink_to(lab.folder / "target")
    one_line(lab.mock("--reporter", "none", minutes=1), 74, "runs/.lock", "a link", "remove it")
    assert not (lab.folder / "target").exists()


@pytest.mark.behaviour("X1")
def test_a_link_to_another_file_in_the_place_of_latest_shows_nothing_of_it(lab: Any, one_line: Any) -> None:
    (lab.folder / "runs").mkdir()
    (lab.folder / "secret").write_text("the owner's own words", encoding="utf-8")
    (lab.folder / "runs" / "latest").symlink_to("../secret")
    result = lab("report")
    one_line(result, 78, "runs/latest", "no run's name")
    assert "owner" not in result.err


def test_the_files_of_a_process_of_its_own_are_private(lab: Any) -> None:
    args = ("run", "--provider", "mock", "--speed", "max", "--minutes", "1", "--reporter", "html")
    done = subprocess.run(
        lab.command(*args), cwd=lab.folder, env=lab.environment, capture_output=True, timeout=60, check=False,
        preexec_fn=lambda: os.umask(0),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert modes(lab.folder / "runs") == {}
