"""Tables as frames of pandas, polars or pyarrow, each column of its type, also where there is no row."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any, Final, get_args, get_type_hints

from lab.errors import ConfigError

Columns = Mapping[str, list[Any]]
_SAMPLES: Final[Mapping[str, Any]] = {
    "time": datetime(1970, 1, 1, tzinfo=UTC), "length": timedelta(), "figure": 0.0, "count": 0, "text": "x",
}  # fmt: skip
_GIVEN: Final = frozenset({"time", "length", "figure"})
"""Kinds whose type pandas is given where there are rows, too: a column of nothing but ``None`` would have none."""


def kinds_of(row: type) -> dict[str, str]:
    """Return what the fields of a named tuple hold: ``time``, ``length``, ``figure``, ``count``, ``text``, ``any``."""
    return {name: _kind(name, hint) for name, hint in get_type_hints(row).items()}


def _kind(name: str, hint: Any) -> str:
    classes = {*(get_args(hint) or (hint,))} - {type(None)}
    if classes == {int} and name.endswith("_ns"):
        return "length" if name == "held_ns" else "time"
    for known, kind in ((Decimal, "figure"), (float, "figure"), (int, "count"), (str, "text")):
        if classes == {known}:
            return kind
    return "any"


def to_pandas(columns: Columns, kinds: Sequence[str]) -> Any:
    """Return a ``pandas.DataFrame``, whose columns have the types that pandas gives such values."""
    pandas = _imported("pandas")
    made = {}
    for (name, values), kind in zip(columns.items(), kinds, strict=True):
        known = kind in _SAMPLES and (not values or kind in _GIVEN)
        made[name] = pandas.Series(values, dtype=pandas.Series([_SAMPLES[kind]]).dtype if known else None)
    return pandas.DataFrame(made)


def to_polars(columns: Columns, kinds: Sequence[str]) -> Any:
    """Return a ``polars.DataFrame``."""
    polars = _imported("polars")
    types = {
        "time": polars.Datetime("us", "UTC"), "length": polars.Duration("us"), "figure": polars.Float64,
        "count": polars.Int64, "text": polars.String,
    }  # fmt: skip
    pairs = zip(columns, kinds, strict=True)
    return polars.DataFrame(columns, schema_overrides={name: types[kind] for name, kind in pairs if kind in types})


def to_arrow(columns: Columns, kinds: Sequence[str]) -> Any:
    """Return a ``pyarrow.Table``."""
    pyarrow = _imported("pyarrow")
    types = {
        "time": pyarrow.timestamp("us", tz="UTC"), "length": pyarrow.duration("us"), "figure": pyarrow.float64(),
        "count": pyarrow.int64(), "text": pyarrow.string(),
    }  # fmt: skip
    pairs = zip(columns.items(), kinds, strict=True)
    return pyarrow.table({name: pyarrow.array(values, types.get(kind)) for (name, values), kind in pairs})


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise ConfigError(f"{name} is not installed: pip install {name}; columns() needs nothing") from None
