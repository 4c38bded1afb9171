"""Lines of bounded length."""

import io

import pytest
from lab.lines import LineTooLong, bounded_lines


def test_lines_come_with_their_ends_and_the_last_one_as_it_is() -> None:
    assert list(bounded_lines(io.BytesIO(b"a\n\nbc\rd\nlast").readline, 5)) == [b"a\n", b"\n", b"bc\rd\n", b"last"]


def test_no_more_than_a_byte_is_read_of_a_line_beyond_the_most() -> None:
    file = io.BytesIO(b"fits\n" + b"x" * 1000)
    lines = bounded_lines(file.readline, 5)
    assert next(lines) == b"fits\n"
    with pytest.raises(LineTooLong, match="longer than 5 bytes"):
        next(lines)
    assert file.tell() == 5 + 6
