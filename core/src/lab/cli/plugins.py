"""``lab plugins``."""

from typing import Any

import attrs
import click

from lab.cli import options, output


@click.command("plugins")
@click.argument("name", required=False)
@options.as_json
def command(name: str | None, as_json: bool) -> int:
    """Show what is installed, from which distribution, its settings, and what failed to load.

    With NAME only the components of that name; exit code 69 where what should offer it failed to load.
    """
    from lab.errors import did_you_mean
    from lab.exit_codes import EndReason
    from lab.plugins.discovery import KINDS, Registry
    from lab.plugins.settings import settings_of, type_name

    registry = Registry()
    components: list[dict[str, Any]] = []
    for kind in KINDS:
        for offer in registry.offers(kind):
            settings = [
                {"key": key, "type": type_name(f.type), "default": _default(f), "help": str(f.metadata.get("help", ""))}
                for key, f in settings_of(offer.cls).items()
            ]
            doc = (offer.cls.__doc__ or "").strip().splitlines()
            components.append(
                {
                    "kind": kind,
                    "name": offer.name,
                    "distribution": offer.plugin.distribution,
                    "version": offer.plugin.version,
                    "about": doc[0].replace("``", "`") if doc else "",
                    "settings": settings,
                }
            )
    commands = {n: c.help for n, c in registry.commands().items()}
    failed = [plugin for plugin in registry.plugins if plugin.problems]
    if name is not None:
        failed = registry.broken(name)
        known = [component["name"] for component in components]
        components = [component for component in components if component["name"] == name]
        if not components and not failed:
            raise click.UsageError(f"nothing installed is named {name!r}{did_you_mean(name, known)}")
    code = EndReason.PLUGIN.exit_code if name is not None and failed else 0
    plugins = [dict(vars(plugin)) for plugin in registry.plugins]
    if as_json:
        output.print_json(
            {"schema_version": 1, "kind": "plugins", "plugins": plugins, "components": components, "commands": commands}
        )
        return code
    for component in components:
        head = f"{component['kind']} {component['name']}  ({component['distribution']} {component['version']})"
        click.echo(f"{head}\n  {component['about']}")
        rows = [
            [f"  {component['name']}.{s['key']}", s["default"], s["type"], s["help"]] for s in component["settings"]
        ]
        if rows:
            click.echo(output.table(rows))
        click.echo()
    if name is None:
        for command_name, text in commands.items():
            click.echo(f"command lab {command_name}\n  {text}\n")
        rows = [[p["name"], f"{p['distribution']} {p['version']}", ", ".join(p["hooks"]) or "-"] for p in plugins]
        click.echo(output.table(rows, ("entry point", "distribution", "hooks")))
    for plugin in failed:
        for problem in plugin.problems:
            click.echo(f"FAILED {plugin.distribution} {plugin.version}, entry point {plugin.name}: {problem}")
    return code


def _default(f: "attrs.Attribute[Any]") -> str:
    from lab.journal.report import setting_text

    if f.default is attrs.NOTHING:
        return "required"
    value = f.default.factory() if isinstance(f.default, attrs.Factory) and not f.default.takes_self else f.default  # type: ignore[arg-type,union-attr]
    return setting_text(value) or '""'
