"""Recognises files that are not CSV by their first bytes."""

from typing import Final

_KINDS: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"BZh", "bzip2 data", "unpack it with bunzip2 first"),
    (b"\xfd7zXZ\x00", "xz data", "unpack it with unxz first"),
    (b"\x28\xb5\x2f\xfd", "zstd data", "unpack it with unzstd first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack the CSV file in it first"),
    (b"PAR1", "a Parquet file", "save it as CSV, for example with pandas: read_parquet(...).to_csv(...)"),
    (b"ARROW1", "a Feather file", "save it as CSV, for example with pandas: read_feather(...).to_csv(...)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "save it as CSV, for example with pandas: read_hdf(...).to_csv(...)"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook", "save the sheet as CSV"),
    (b"SQLite format 3\x00", "an SQLite database", "export the table as CSV"),
    (b"%PDF", "a PDF document", "save the figures as CSV"),
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8"),
)
_ZIP: Final = b"PK\x03\x04"
_SHEETS: Final = (b"[Content_Types].xml", b"_rels/", b"xl/", b"docProps/")
LONGEST: Final = 200
"""How many of a file's first bytes are enough."""


def is_zip(begin: bytes) -> bool:
    """Return whether a file with these first bytes is a zip archive, and no workbook."""
    return begin.startswith(_ZIP) and not any(name in begin for name in _SHEETS)


def other_kind(begin: bytes) -> str | None:
    """Return what a file with these first bytes is and what to do about it, or ``None`` where it may be CSV."""
    for magic, kind, cure in _KINDS:
        if begin.startswith(magic):
            return f"{kind}, not CSV; {cure}"
    if begin.startswith(_ZIP):
        return None if is_zip(begin) else "an Excel workbook, not CSV; save the sheet as CSV"
    if begin.lstrip().startswith((b"{", b"[")):
        return "JSON, not CSV; save it as CSV with a header and one line a row"
    return None
