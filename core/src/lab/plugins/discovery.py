"""Discovers plugins: every distribution with an entry point in the group ``lab``, and the components it offers.

A plugin that fails is kept by name with its reason, and fails only those runs that ask for it. No attrs here:
``lab --help`` looks at the plugins' commands, and should cost next to nothing.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, NamedTuple

import pluggy

from lab.errors import PluginError, UnknownPlugin, describe_error, did_you_mean
from lab.plugins import hookspecs
from lab.plugins.hookspecs import GROUP, PROJECT, PluginCommand

KINDS: Final[Mapping[str, str]] = {
    "provider": "lab_providers",
    "strategy": "lab_strategies",
    "risk gate": "lab_risk_gates",
    "broker": "lab_brokers",
    "reporter": "lab_reporters",
}
"""Kinds of component, as users call them, and the hook that offers each."""


class Plugin:
    """A plugin: its entry point, its distribution, and its failure, if it failed."""

    def __init__(self, name: str, distribution: str, version: str) -> None:
        self.name = name
        self.distribution = distribution
        self.version = version
        self.hooks: list[str] = []
        self.problems: list[str] = []

    def fail(self, problem: str) -> None:
        """Note what went wrong, on one line of bounded length."""
        text = " ".join(problem.split())
        self.problems.append(text if len(text) <= 300 else text[:297] + "...")


class Offer(NamedTuple):
    """A class offered under a name, by a plugin."""

    kind: str
    name: str
    cls: type
    plugin: Plugin


class Registry:
    """All plugins of this environment, loaded once. Loading imports each plugin's module and nothing it offers."""

    def __init__(self, found: list[EntryPoint] | None = None) -> None:
        """Load the entry points of the group ``lab``, or the given ones. Never raises for what a plugin does."""
        self.plugins: list[Plugin] = []
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._offers: dict[str, list[Offer]] = {}
        points = list(entry_points(group=GROUP)) if found is None else found
        for point in sorted(points, key=lambda p: (p.name, p.dist.name if p.dist else "")):
            self._load(point)

    def _load(self, point: EntryPoint) -> None:
        plugin = Plugin(point.name, point.dist.name if point.dist else "?", point.dist.version if point.dist else "?")
        self.plugins.append(plugin)
        try:
            module = point.load()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            plugin.fail(f"cannot be imported ({point.value}): {describe_error(error)}")
            return
        problem = self._check_hooks(module, plugin)
        if problem is not None:
            plugin.fail(problem)
            return
        try:
            self._manager.register(module, name=f"{plugin.distribution}:{plugin.name}")
        except (pluggy.PluginValidationError, ValueError) as error:
            plugin.fail(f"cannot be registered: {error}")

    @staticmethod
    def _check_hooks(module: object, plugin: Plugin) -> str | None:
        """Note the hooks a module implements; return what is wrong with them."""
        known = [name for name in dir(hookspecs) if name.startswith("lab_")]
        for name, value in inspect.getmembers(module):
            marked = getattr(value, f"{PROJECT}_impl", None) is not None
            if not marked:
                if name.startswith("lab_") and inspect.isfunction(value):
                    return f"{name} is not marked with @hookimpl; add `from lab import hookimpl` and the decorator"
                continue
            if name not in known:
                return f"offers the unknown hook {name!r}{did_you_mean(name, known)}"
            plugin.hooks.append(name)
        if not plugin.hooks:
            return f"offers no hook; implement one of {', '.join(known)}"
        return None

    def _call(self, hook: str) -> list[tuple[Plugin, Mapping[str, Any]]]:
        """Call one hook of every plugin, each on its own, and return what is sound."""
        results = []
        for plugin in self.plugins:
            module = self._manager.get_plugin(f"{plugin.distribution}:{plugin.name}")
            if module is None or hook not in plugin.hooks:
                continue
            implementation: Callable[[], object] = getattr(module, hook)
            try:
                offered = implementation()
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                plugin.fail(f"{hook} failed: {describe_error(error)}")
                continue
            if not isinstance(offered, Mapping):
                plugin.fail(f"{hook} returned {type(offered).__name__}, expected a mapping of name to class")
                continue
            results.append((plugin, offered))
        return results

    def offers(self, kind: str) -> list[Offer]:
        """Return every sound offer of one kind, by name; two plugins may offer the same name (see `get`)."""
        if kind in self._offers:
            return self._offers[kind]
        from lab import ports
        from lab.plugins.settings import settings_of

        base = {
            "provider": ports.Provider,
            "strategy": ports.Strategy,
            "risk gate": ports.RiskGate,
            "broker": ports.Broker,
            "reporter": ports.Reporter,
        }[kind]
        hook = KINDS[kind]
        found = []
        for plugin, offered in self._call(hook):
            for name, cls in offered.items():
                if not isinstance(name, str) or not name.replace("_", "").isalnum() or not name.islower():
                    plugin.fail(f"{hook} offers the name {name!r}; expected lower-case letters, digits, _")
                elif not (isinstance(cls, type) and issubclass(cls, base)):
                    plugin.fail(f"{hook} offers {name!r} as {cls!r}, expected a subclass of {base.__name__}")
                elif inspect.isabstract(cls):
                    missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
                    plugin.fail(f"{hook} offers {name!r}, whose class lacks {missing}")
                elif not hasattr(cls, "__attrs_attrs__"):
                    plugin.fail(f"{hook} offers {name!r}, whose class is no attrs class; add @attrs.define")
                else:
                    try:
                        settings_of(cls)
                    except PluginError as problem:
                        plugin.fail(f"{hook} offers {name!r}: {problem}")
                    else:
                        found.append(Offer(kind, name, cls, plugin))
        self._offers[kind] = sorted(found, key=lambda offer: (offer.name, offer.plugin.distribution))
        return self._offers[kind]

    def get(self, kind: str, name: str) -> Offer:
        """Return the offer of that kind and name.

        Raises `UnknownPlugin` with the nearest name, or `PluginError` when two plugins offer it or the one that should
        is broken.
        """
        offers = self.offers(kind)
        named = [offer for offer in offers if offer.name == name]
        if len(named) == 1:
            return named[0]
        if named:
            owners = " and ".join(f"{o.plugin.distribution} {o.plugin.version}" for o in named)
            raise PluginError(f"{kind} {name!r} is offered by {owners}; uninstall one of them")
        text = f"no {kind} named {name!r}{did_you_mean(name, sorted({offer.name for offer in offers}))}"
        broken = [plugin for plugin in self.plugins if plugin.problems]
        hit = [p for p in broken if name == p.name or any(repr(name) in problem for problem in p.problems)]
        for plugin in hit:
            text = f"{kind} {name!r}: {plugin.distribution} {plugin.version}: {plugin.problems[0]}"
            raise PluginError(f"{text}; repair or uninstall it (see `lab plugins`)")
        if broken:
            names = ", ".join(p.distribution for p in broken)
            text += f" ({names} failed to load: see `lab plugins`)"
        raise UnknownPlugin(text)

    def commands(self) -> dict[str, PluginCommand]:
        """Return the further command lines that plugins offer; the first of two with one name wins."""
        found: dict[str, PluginCommand] = {}
        for plugin, offered in self._call("lab_commands"):
            for name, command in offered.items():
                if not isinstance(command, PluginCommand):
                    plugin.fail(f"lab_commands offers {name!r} as {command!r}, expected a PluginCommand")
                elif name in found:
                    plugin.fail(f"lab_commands offers {name!r}, which another plugin offers too")
                else:
                    found[name] = command
        return found
