"""Imports every module of lab's distributions, and the libraries they import late, so that their bytecode is kept."""

from contextlib import suppress
from importlib import import_module
from importlib.metadata import packages_distributions
from pkgutil import walk_packages

LATE = (
    "distributed",
    "optuna",
    "pandas",
    "plotly.graph_objects",
    "polars",
    "pyarrow",
    "quantstats",
    "sqlalchemy.dialects.sqlite",
)


def main() -> None:
    for name in packages_distributions():
        if name == "lab" or name.startswith("lab_"):
            for module in walk_packages(import_module(name).__path__, f"{name}."):
                if not module.name.endswith("__main__"):
                    _take(module.name)
    for name in LATE:
        _take(name)


def _take(name: str) -> None:
    with suppress(ImportError):  # an extra that is not installed
        import_module(name)


if __name__ == "__main__":
    main()
