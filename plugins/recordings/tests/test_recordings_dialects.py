"""Files of candles in the form people have them: each gives the very same candles, or is refused in one line."""

from pathlib import Path

import pytest
from candle_files import READ
from lab.domain.time import SECOND_NS
from lab_recordings import CandleFileReader, Reading, RecordingError
from refused_files import REFUSED

Candles = list[tuple[float, ...]]


def read(path: Path, **settings: str) -> tuple[Candles, CandleFileReader]:
    """Read a file as a replay does: a plain file that is none after all is read in a dialect."""
    reader = CandleFileReader(path, Reading(**settings))  # type: ignore[arg-type]
    try:
        blocks = list(reader.columns())
    except RecordingError as error:
        if not reader.is_plain:
            raise
        reader.fall_back(error)
        blocks = list(reader.columns())
    rows = [row for block in blocks for row in zip(block.opens_ns, *block.figures, strict=True)]
    return rows, reader


@pytest.mark.behaviour("M2")
@pytest.mark.parametrize("origin", READ)
def test_files_of_many_origins_give_the_very_same_candles(tmp_path: Path, origin: str) -> None:
    content, candles, said, suffix, settings = READ[origin]
    path = tmp_path / f"prices{suffix}"
    path.write_bytes(content)
    rows, reader = read(path, **settings)
    assert rows == [tuple(row) for row in candles]
    assert reader.is_plain is (said is None)
    assert reader.said() == (said or "")
    assert reader.interval_ns % SECOND_NS == 0


@pytest.mark.behaviour("M2")
@pytest.mark.parametrize("origin", REFUSED)
def test_files_that_leave_a_doubt_are_refused_in_one_line_with_the_cure(tmp_path: Path, origin: str) -> None:
    content, says, suffix = REFUSED[origin]
    path = tmp_path / f"prices{suffix}"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=f"prices{suffix}{says}") as refused:
        read(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < len(str(path)) + 300
