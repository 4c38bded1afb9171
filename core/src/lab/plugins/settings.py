"""Settings of components from four layers: command line, environment, file, defaults. The first that sets one wins.

A component's settings are the init fields of its attrs class. Values are converted to the field's type by msgspec (text
from the command line and the environment included) and checked by the class's validators.
"""

import contextlib
import os
import re
import tomllib
import types
import typing
from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

from lab.compiled import SWITCHES
from lab.errors import ConfigError, PluginError, describe_error, did_you_mean, message_of, text_of
from lab.secret import HIDDEN, Secret

ENV_PREFIX: Final = "LAB_"
NO_SETTINGS: Final = SWITCHES | {"LAB_CACHE_DIR"}
"""Variables of lab that are no component's: how its modules run, and where kept columns of files lie."""
_FILE_MOST: Final = 1_000_000
_NAME_MOST: Final = 100  # characters
_EXPONENT_MOST: Final = 40  # as in the records of a journal, which could not be written otherwise
_WRITTEN_MOST: Final = 100  # characters


@attrs.frozen
class Value:
    """A raw value and where it came from: ``lab.toml``, ``LAB_SMA_FAST``, ``--set``.

    ``of_command`` marks what the command line or the command itself gives: it counts over the environment. ``as_it_is``
    marks a setting of a component that a program made: it needs no conversion, whatever its class.
    """

    raw: Any
    origin: str
    of_command: bool = False
    as_it_is: bool = False


@attrs.frozen
class Effective:
    """A setting in force, for ``lab config``."""

    key: str
    value: Any
    origin: str
    help: str


class Layers:
    """Raw values by table and key; the later a layer is added, the more it counts."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Value]] = {}

    def put(self, table: str, key: str, raw: Any, origin: str, *, of_command: bool = False) -> None:
        """Set one value over earlier layers."""
        self.tables.setdefault(table, {})[key] = Value(raw, origin, of_command)

    def put_made(self, table: str, component: object) -> None:
        """Set all settings of a component that a program made, as they are."""
        for key, one in settings_of(type(component)).items():
            origin = type(component).__name__
            self.tables.setdefault(table, {})[key] = Value(getattr(component, one.name), origin, as_it_is=True)

    def add_command(self, values: Mapping[str, tuple[Any, str]]) -> None:
        """Take what a command gives: raw value and origin, by ``table.key``."""
        for dotted, (raw, origin) in values.items():
            table, _, key = dotted.partition(".")
            self.put(table, key, raw, origin, of_command=True)

    def add_file(self, path: Path, of_run: Collection[str] = ()) -> None:
        """Read a TOML file of tables. Raises `ConfigError` naming the file, and the line where the parser gives one.

        ``of_run`` are the settings of ``[run]``: a setting outside a table that is none of these names a component.
        """
        try:
            with path.open("rb") as file:  # a device may have no end
                content = file.read(_FILE_MOST + 1)
            if len(content) > _FILE_MOST:
                raise ConfigError(f"{path}: longer than {_FILE_MOST:,} bytes; expected a file of settings")
            data = tomllib.loads(content.decode("utf-8").replace("\r\n", "\n"), parse_float=Decimal)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: not TOML: {str(error)[:300]}") from None
        except RecursionError:
            raise ConfigError(f"{path}: not TOML: nested too deep") from None
        except (ValueError, ArithmeticError) as error:  # a number of thousands of digits, a name that is none
            raise ConfigError(f"{path}: cannot be read: {message_of(error)[:300]}") from None
        for table, values in data.items():
            _check_name(path, table)
            if not isinstance(values, dict):
                cure = "put it under [run]"
                if table not in of_run:
                    cure = f"settings of a component {table} stand under [{table}], those of the run under [run]"
                raise ConfigError(f"{path}: {table} = {values!r:.200} stands outside a table; {cure}")
            for key, raw in values.items():
                _check_name(path, key)
                self.put(table, key, raw, str(path))

    def add_set(self, text: str) -> None:
        """Take one ``--set name.key=value``. Raises `ConfigError`."""
        name, equals, raw = text.partition("=")
        table, dot, key = name.strip().partition(".")
        if not (equals and dot and table and key):
            raise ConfigError(f"--set {text}: expected name.key=value, for example sma.fast=5")
        self.put(table, key.replace("-", "_"), raw.strip(), "--set", of_command=True)

    def add_environment(self, environment: Mapping[str, str], tables: Mapping[str, type]) -> list[str]:
        """Take ``LAB_<TABLE>_<KEY>`` variables of known tables; return the names of those that fit no table.

        Raises `ConfigError` where the table is known and the key is not.
        """
        unknown_variables = []
        for variable in sorted(environment):
            if not variable.startswith(ENV_PREFIX) or variable in NO_SETTINGS:
                continue
            rest = variable[len(ENV_PREFIX) :].lower()
            fitting = [name for name in tables if rest.startswith(name + "_")]
            if not fitting:
                unknown_variables.append(variable)
                continue
            table = max(fitting, key=len)
            key = rest[len(table) + 1 :]
            known = settings_of(tables[table])
            if key not in known:
                raise ConfigError(f"{variable}: {table} has no setting {key!r}{did_you_mean(key, list(known))}")
            if key not in self.tables.get(table, {}) or not self.tables[table][key].of_command:
                self.put(table, key, environment[variable], variable)
        return unknown_variables

    def unused(self, known: Collection[str]) -> list[str]:
        """Return what the command line sets of tables that are not known, as ``name.key``."""
        return [
            f"{table}.{key}"
            for table, values in self.tables.items()
            for key, given in values.items()
            if given.of_command and table not in known
        ]

    def check_tables(self, known: list[str]) -> None:
        """Raise `ConfigError` for a table no component of this run has."""
        for table, values in self.tables.items():
            if table not in known:
                origin = next(iter(values.values())).origin if values else "the file"
                raise ConfigError(f"{origin}: no component {table!r} in this run{did_you_mean(table, known)}")


def _check_name(path: Path, name: str) -> None:
    if len(name) > _NAME_MOST:
        raise ConfigError(f"{path}: {name[:40]!r}... is no name of a table or of a setting")


def settings_of(cls: type) -> dict[str, "attrs.Attribute[Any]"]:
    """Return the settings of a component class by key. Raises `PluginError` where a setting's type is unknown."""
    with contextlib.suppress(NameError):  # a state field's type may be known to type checkers only
        attrs.resolve_types(cls)
    settings = {f.alias or f.name: f for f in attrs.fields(cls) if f.init}
    for key, f in settings.items():
        if isinstance(f.type, str):
            raise PluginError(f"{cls.__module__}.{cls.__qualname__}: the type of {key}, {f.type!r}, is not importable")
    return settings


def is_secret(kind: Any) -> bool:
    """Return whether a setting of this type is a secret, or none."""
    return kind is Secret or Secret in typing.get_args(kind)


def type_name(kind: Any) -> str:
    """Return a setting's type as a user would say it."""
    if kind is None or kind is type(None):
        return "none"
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return " | ".join(str(value) for value in typing.get_args(kind))
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(type_name(part) for part in typing.get_args(kind))
    if origin is not None:
        return f"list of {type_name(typing.get_args(kind)[0])}"
    names = {
        "str": "text",
        "int": "whole number",
        "float": "number",
        "Decimal": "decimal",
        "bool": "true or false",
        "Secret": "secret",
    }
    return names.get(getattr(kind, "__name__", ""), getattr(kind, "__name__", str(kind)))


def convert(raw: Any, kind: Any) -> Any:
    """Return a raw value as the type. Text is read as the command line means it. Raises ``ValueError``."""
    if isinstance(raw, str) and typing.get_origin(kind) in {list, tuple}:
        raw = [part.strip() for part in raw.split(",") if part.strip()]
        if "none" in raw:
            if set(raw) != {"none"}:
                raise ValueError("expected none alone, or names without it")
            raw = []
    if isinstance(raw, str) and type(None) in typing.get_args(kind) and raw.lower() in {"none", "null", ""}:
        return None
    if isinstance(raw, str) and (kind is Path or Path in typing.get_args(kind)):
        return Path(raw)
    if isinstance(raw, Decimal) and kind is float:
        return float(raw)
    if isinstance(raw, float) and (kind is Decimal or Decimal in typing.get_args(kind)):
        raw = repr(raw)
    if isinstance(raw, Path):
        return raw
    try:
        value = msgspec.convert(raw, kind, strict=False)
    except (msgspec.ValidationError, TypeError):
        raise ValueError(f"expected {type_name(kind)}") from None
    for part in (value,) if not isinstance(value, list | tuple) else value:
        _check_figure(part, kind)
    return value


def _check_figure(value: Any, kind: Any) -> None:
    """Refuse a figure that is none, and one that is too long to be written into a journal."""
    if not isinstance(value, Decimal | float):
        return
    if not Decimal(value).is_finite():
        raise ValueError(f"expected a finite {type_name(kind)}")
    if isinstance(value, Decimal) and (abs(value.adjusted()) > _EXPONENT_MOST or len(str(value)) > _WRITTEN_MOST):
        raise ValueError("expected 0 or a decimal from 1e-40 to 1e40, written in at most 100 characters")


def _as_written(raw: Any) -> str:
    """Return a raw value about as the user wrote it, not as Python shows it."""
    if isinstance(raw, bool):
        return str(raw).lower()
    return repr(raw) if isinstance(raw, str | list | tuple | dict) else str(raw)


def _check_origin(table: str, key: str, value: Value) -> None:
    """Refuse a secret where others can read it: on the command line, in a file that is not its owner's alone."""
    if value.raw == HIDDEN or not isinstance(value.raw, str):
        return
    variable = f"{ENV_PREFIX}{table}_{key}".upper()
    if value.of_command:
        text = f"{value.origin}: {table}.{key} is a secret, which every user can read on a command line"
        raise ConfigError(f"{text}; give it as {variable}, or in a file of mode 600")
    file = Path(value.origin)
    if os.name == "posix" and file.is_file() and file.stat().st_mode & 0o077:
        text = f"{file}: holds the secret {table}.{key}, and others can read it"
        raise ConfigError(f"{text}; run chmod 600 {file}, or give it as {variable}")


def build(table: str, cls: type, layers: Layers) -> tuple[Any, list[Effective]]:
    """Return a component with its settings in force, and what is in force. Raises `ConfigError`."""
    known = settings_of(cls)
    given = layers.tables.get(table, {})
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise ConfigError(f"{value.origin}: {table} has no setting {key!r}{did_you_mean(key, list(known))}")
        secret = is_secret(known[key].type)
        if secret:
            _check_origin(table, key, value)
        try:
            if value.as_it_is:
                values[key] = value.raw
            elif secret and value.raw is not None:  # a recorded run says that it was not given
                values[key] = Secret(str(value.raw))
            else:
                values[key] = convert(value.raw, known[key].type)
        except ValueError as error:
            shown = HIDDEN if secret else _as_written(value.raw)
            raise ConfigError(f"{value.origin}: {table}.{key} = {shown:.80}: {error}") from None
    try:
        component = cls(**values)
    except (TypeError, ValueError) as error:
        # attrs' own validators put more than the message into the exception.
        text = " ".join(text_of(str, error.args[0] if error.args else error).split())[:300]
        named = [key for key in values if re.search(rf"\b{key}\b", text)] or list(values)
        origins = ", ".join(sorted({given[key].origin for key in named})) or "defaults"
        raise ConfigError(f"{origins}: {table}: {text}") from None
    except KeyboardInterrupt:
        raise  # of a command that a signal just ends
    except BaseException as error:
        where = f"{cls.__module__}.{cls.__qualname__}"
        raise PluginError(f"{table}: {where} cannot be made: {describe_error(error)}") from None
    in_force = [
        Effective(
            f"{table}.{key}",
            getattr(component, f.name),
            given[key].origin if key in given else "default",
            str(f.metadata.get("help", "")),
        )
        for key, f in known.items()
    ]
    return component, in_force
