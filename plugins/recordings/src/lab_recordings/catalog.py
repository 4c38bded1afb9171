"""The recordings that come with this distribution, by name, and how a name or a path is found."""

import difflib
import hashlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal

from attrs import frozen

from lab_recordings.errors import RecordingError


@frozen
class Recording:
    """One shipped file of real prices. Source and licence stand in ``data/NOTICE``.

    ``tick`` and ``lot`` are the steps it is traded on, whatever the decimals of its prices.
    """

    name: str
    path: Path
    kind: Literal["ticks", "candles"]
    symbol: str
    tick: Decimal
    lot: Decimal
    description: str


_DATA: Final = Path(__file__).parent / "data"
_RECORDINGS: Final = {
    found.name: found
    for found in (
        Recording(
            "btcusdt-ticks",
            _DATA / "btcusdt-perp-ticks-2024-08-08.csv.gz",
            "ticks",
            "BTCUSDT",
            Decimal("0.1"),
            Decimal("0.0001"),
            "BTCUSDT perpetual: best bid and ask and trades of 345 s before 2024-08-09 00:00 UTC",
        ),
        Recording(
            "btcusd-1m",
            _DATA / "btcusd-1m-2020-01-01.csv.gz",
            "candles",
            "BTCUSD",
            Decimal("0.1"),
            Decimal("0.0001"),
            "BTC/USD spot: one-minute candles of 2020-01-01 UTC",
        ),
    )
}


def names() -> Sequence[str]:
    """Return the names of the shipped recordings."""
    return tuple(_RECORDINGS)


def recording(name: str) -> Recording:
    """Return a shipped recording. Raises `RecordingError` naming near ones."""
    found = _RECORDINGS.get(name)
    if found is None:
        near = difflib.get_close_matches(name, _RECORDINGS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_RECORDINGS)}"
        raise RecordingError(name, None, f"no recording of this name; {hint}")
    return found


def shipped(path: Path) -> Recording | None:
    """Return the shipped recording that a file is, or ``None``."""
    return next((one for one in _RECORDINGS.values() if one.path == path), None)


def locate(name_or_path: str | Path) -> Path:
    """Return the file of a recording's name or of a path; a name wins. Raises `RecordingError` when it is neither."""
    if str(name_or_path) in _RECORDINGS:
        return _RECORDINGS[str(name_or_path)].path
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.is_dir():
        raise RecordingError(path, None, "is a directory, not a CSV file")
    near = difflib.get_close_matches(path.name, _RECORDINGS, n=1)
    hint = f"did you mean the recording {near[0]!r}?" if near else f"recordings by name: {', '.join(_RECORDINGS)}"
    raise RecordingError(path, None, f"no such file; {hint}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file as it lies on disk (compressed, where it is), in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
