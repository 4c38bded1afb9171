"""Single bits flipped in the files of a run, one at a time, and what its readers then say: right, refused, or wrong."""

import contextlib
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen
from lab.backtesting.verify import check_chain
from lab.errors import JournalError
from lab.journal.audit import audit
from lab.journal.reader import JournalReader
from lab.journal.report import build_report
from lab.journal.tape import read_tape
from lab.ports import Report
from msgspec.structs import replace

_LABELS: Final = {"run_id": "", "started": ""}
"""What labels a run and decides nothing: it lies outside the chain."""


@frozen
class Flip:
    """A bit of a file of a run."""

    file: str
    byte: int
    bit: int


@frozen
class Said:
    """What the readers of a run said: its figures where they could be read, and whether they found damage."""

    report: Report | None
    inputs: Any
    found: bool


def flips(folder: Path, names: Sequence[str], count: int, seed: int) -> Iterator[Flip]:
    """Yield ``count`` flips in files of a run's folder, drawn evenly over their bytes."""
    draw, sizes = random.Random(seed), [(folder / name).stat().st_size for name in names]
    for _ in range(count):
        [name] = draw.choices(names, sizes)
        yield Flip(name, draw.randrange(sizes[names.index(name)]), draw.randrange(8))


@contextlib.contextmanager
def flipped(folder: Path, flip: Flip, spare: Path) -> Iterator[Path]:
    """Give a copy of a run's folder, in ``spare``, with one bit flipped."""
    shutil.copytree(folder, spare)
    with (spare / flip.file).open("r+b") as file:
        file.seek(flip.byte)
        [value] = file.read(1)
        file.seek(flip.byte)
        file.write(bytes((value ^ 1 << flip.bit,)))
    try:
        yield spare
    finally:
        shutil.rmtree(spare)


def said(folder: Path, *, tape: bool) -> Said:
    """Read a run as `lab report`, `lab audit` and `lab verify` do, without stepping its inputs again."""
    try:
        with contextlib.closing(JournalReader.open(folder)) as reader:
            report = replace(build_report(reader), **_LABELS)
            found = check_chain(reader) is not None or audit(reader).found > 0
        inputs = list(read_tape(folder)) if tape else None
    except JournalError:
        return Said(None, None, found=True)
    return Said(report, inputs, found)


def wrong(sound: Said, now: Said) -> bool:
    """Return whether figures changed and nobody found out."""
    return not now.found and evolve(now, found=sound.found) != sound
