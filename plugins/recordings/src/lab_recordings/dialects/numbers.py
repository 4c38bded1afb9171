"""How numbers are written: decimal point or comma, groups of thousands, signs of currency, K and M."""

import re
from collections.abc import Sequence
from typing import Final, Literal

from attrs import define, field

Decimals = Literal["auto", "point", "comma"]

EMPTY: Final = frozenset({"", "nan", "null", "none", "n/a", "na", "-", "--", "#n/a"})
"""Cells, in lower case, that hold no figure."""
_SIGNS_OF_ONE_KIND: Final = str.maketrans({
    **dict.fromkeys("$€£¥₿", ""), **dict.fromkeys("\u00a0\u202f\u2009", " "), "’": "'"
})  # fmt: skip
_CLEAN: Final = re.compile(r"[0-9.,'eE+\n-]*")
_SIGNS: Final = frozenset(".,' ")
_SUFFIXES: Final = {"k": 3, "m": 6, "b": 9, "t": 12}
_SUFFIXED: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kKmMbBtT])")


class NumberStyle:
    """One way to write numbers: the decimal sign, and the sign between groups of three digits, if there is one."""

    def __init__(self, point: str, group: str) -> None:
        self.point, self.group = point, group
        sign, between = re.escape(point), re.escape(group)
        grouped = rf"[1-9][0-9]{{0,2}}(?:{between}[0-9]{{3}})+(?:{sign}[0-9]+)?|" if group else ""
        self._cell = rf"(?:{grouped}[0-9]+(?:{sign}[0-9]*)?|{sign}[0-9]+)(?:[eE][+-]?[0-9]+)?[kKmMbBtT]?"
        self._column = re.compile(rf"(?:{self._cell}\n)*")
        self._one = re.compile(self._cell)

    def fits(self, joined: str) -> bool:
        """Return whether all numbers, each with a line's end behind it, are written in this way."""
        return self._column.fullmatch(joined) is not None

    def fits_one(self, cell: str) -> bool:
        """Return whether a number is written in this way."""
        return self._one.fullmatch(cell) is not None

    def floats(self, cells: Sequence[str]) -> list[float]:
        """Return the numbers. Raises ``ValueError`` where one is none."""
        if self.group or self.point != ".":
            cells = [cell.replace(self.group, "") if self.group else cell for cell in cells]
            cells = [cell.replace(self.point, ".") for cell in cells]
        try:
            return list(map(float, cells))
        except ValueError:
            return list(map(_with_suffix, cells))


PLAIN: Final = NumberStyle(".", "")
_STYLES: Final = {
    (point, group): NumberStyle(point, group) for point in ".," for group in ("", ",", ".", " ", "'") if point != group
}


def cleaned(cells: Sequence[str]) -> list[str]:
    """Return numbers' texts without currency, and with one kind of space and apostrophe."""
    joined = "\n".join(cells)
    if _CLEAN.fullmatch(joined):
        return list(cells)
    return [cell.translate(_SIGNS_OF_ONE_KIND).strip() for cell in cells]


def _with_suffix(cell: str) -> float:
    match = _SUFFIXED.fullmatch(cell)
    return float(cell) if match is None else float(f"{match[1]}e{_SUFFIXES[match[2].lower()]}")


@define
class NumberJudge:
    """Finds the one way in which all numbers of a file are written, block by block."""

    separator: str
    """The sign between the file's cells: where it is a comma, a point in a number is the decimal sign."""
    decimals: Decimals = "auto"
    _alive: dict[tuple[str, str], NumberStyle] = field(init=False)
    _seen: set[str] = field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        points = {"point": ".", "comma": ","}.get(self.decimals, ".,")
        self._alive = {key: style for key, style in _STYLES.items() if key[0] in points}

    def take(self, cells: Sequence[str]) -> None:
        """Take in numbers, cleaned."""
        joined = "\n".join(cells) + "\n"
        signs = _SIGNS & set(joined)
        self._seen |= signs
        plainly: dict[str, bool] = {}  # a way whose groups do not occur fits where the one without groups does
        alive = {}
        for (point, group), style in self._alive.items():
            if group in signs and group:
                fits = style.fits(joined)
            else:
                if point not in plainly:
                    plainly[point] = _STYLES[point, ""].fits(joined)
                fits = plainly[point]
            if fits:
                alive[point, group] = style
        self._alive = alive

    @property
    def lost(self) -> bool:
        """Whether no way is left."""
        return not self._alive

    def misfit(self, cells: Sequence[str]) -> str | None:
        """Return the first text that no way fits, or the last one where each fits some way."""
        alive = list(_STYLES.values())
        for cell in cells:
            alive = [style for style in alive if style.fits_one(cell)]
            if not alive:
                return cell
        return None

    def style(self) -> NumberStyle | None:
        """Return the way that all numbers fit; ``None`` where two of them would give other figures."""
        # Two ways differ only by the part that a sign which does occur has in them.
        roles = {
            (point if point in self._seen else "", group if group in self._seen else ""): style
            for (point, group), style in self._alive.items()
        }
        if len(roles) > 1 and self.separator == "," and self._seen == {"."}:
            return roles.get((".", ""))  # between cells that commas part, a point is the decimal sign
        return next(iter(roles.values())) if len(roles) == 1 else None
