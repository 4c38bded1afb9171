"""Lines of bounded length: whatever a file holds, no reader takes more of it at once than a line of its kind may have.

A file that was packed may be a thousand times as long as it looks, and need not hold the end of a line.
"""

from collections.abc import Callable, Iterator


class LineTooLong(ValueError):
    """A line is longer than any of its kind."""


def bounded_lines(readline: Callable[[int], bytes], most: int) -> Iterator[bytes]:
    """Yield the lines of a file, each with its end; ``readline`` is the file's own, and takes the most to return.

    Raises `LineTooLong` for a line of more than ``most`` bytes, its end included; no more than one byte more was read
    of it.
    """
    while line := readline(most + 1):
        if len(line) > most:
            raise LineTooLong(f"longer than {most:,} bytes")
        yield line
