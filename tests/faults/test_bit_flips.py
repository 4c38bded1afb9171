"""A flipped bit in a run's files is found, or changes nothing."""

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from flips import flipped, flips, said, wrong

JOURNAL: Final = "journal.db"
TAPE: Final = "tape-0001.jsonl.zst"


def _flip(folder: Path, spare: Path, names: list[str], count: int, seed: int) -> Counter[str]:
    sound = said(folder, tape=TAPE in names)
    assert not sound.found
    assert sound.report is not None
    assert sound.report.fills
    came: Counter[str] = Counter()
    for flip in flips(folder, names, count, seed):
        with flipped(folder, flip, spare) as damaged:
            now = said(damaged, tape=TAPE in names)
        assert not wrong(sound, now), (flip, now)
        came["found" if now.found else "harmless"] += 1
    return came


@pytest.fixture
def run(lab: Any, trader: Any) -> Path:
    assert lab.mock("--strategy", "trader", "--gate", "none", "--reporter", "none", minutes=2).code == 0
    folder: Path = lab.run().folder
    return folder


@pytest.mark.behaviour("J2", "J7")
def test_no_flipped_bit_in_the_journal_of_an_ended_run_changes_a_figure_unseen(run: Path, tmp_path: Path) -> None:
    came = _flip(run, tmp_path / "spare", [JOURNAL], 700, seed=1)
    assert came["found"] > came["harmless"], came


@pytest.mark.behaviour("J2")
def test_no_flipped_bit_in_a_tape_changes_an_input_unseen(run: Path, tmp_path: Path) -> None:
    came = _flip(run, tmp_path / "spare", [TAPE], 300, seed=2)
    assert came["found"] > 290, came


@pytest.mark.night
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10, 20))
def test_of_many_more_flipped_bits_none_changes_a_figure_or_an_input_unseen(
    run: Path, tmp_path: Path, seed: int
) -> None:
    _flip(run, tmp_path / "spare", [JOURNAL, TAPE], 3_000, seed)
