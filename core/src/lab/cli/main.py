"""The command group. It lists the names and help lines of commands, so that ``lab --help`` imports no command."""

import importlib
import sys
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from lab.cli import output
from lab.cli.streams import with_streams
from lab.compiled import forms
from lab.errors import LabError, PluginError, did_you_mean
from lab.exit_codes import EndReason
from lab.live.signals import Interrupts

# name: (attribute of the module lab.cli.<name>, one line of help)
COMMANDS: Final[dict[str, str]] = {
    "run": "Trade on paper, live, until the time is up.",
    "backtest": "Run a strategy over recorded candles or ticks.",
    "download": "Fetch a provider's history to a file that a backtest reads.",
    "sweep": "Backtest a strategy with many settings, and judge the best of them.",
    "walkforward": "Choose settings in one stretch of the prices and trade them in the next.",
    "replay": "Feed a recorded run to its strategy again, or to another one.",
    "verify": "Prove that a run's inputs give the same bytes again.",
    "lookahead": "Prove that no decision of a run depends on what came after it.",
    "simulate": "Torture whole sessions in virtual time, with faults drawn from seeds.",
    "compare": "Name the first difference of two runs, and its cause.",
    "audit": "Check a run's journal against itself.",
    "stop": "End the running session, or kill it: close its positions at once.",
    "runs": "List the runs in the state directory.",
    "report": "Show a run's final report.",
    "export": "Write a run's trades, fills, orders, equity and candles as files.",
    "plugins": "Show what is installed, its settings, and what failed to load.",
    "doctor": "Check configuration, plugins, disk, clock and provider.",
    "probe": "Try a market-data provider from outside, without any key.",
    "config": "Show every setting in force and where it comes from.",
    "completion": "Print the completion script for your shell.",
}

ORDERLY: Final = frozenset({"run", "backtest", "sweep", "walkforward", "replay", "verify", "lookahead", "simulate"})
"""Commands that bring things to an end when they are interrupted; the others just end."""

EPILOG: Final = """
\b
Examples:
  lab run --provider bitunix --strategy sma --minutes 10
  lab run --provider bitunix --strategy sma --set bitunix.venue=local --speed 60
  lab backtest btcusd-1m --strategy sma --set sma.fast=5
  lab verify latest

Exit codes: 0 completed or asked to stop, 64 usage, 69 plugin, 70 internal, 74 storage, 78 configuration,
99 kill switch; all of them: docs/reference/exit-codes.md.
"""


class LazyGroup(click.Group):
    """Finds built-in commands by name and plugins' commands through their hooks, importing the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the built-in commands in their order, then the plugins'."""
        return [*COMMANDS, *sorted(_plugin_commands())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name in COMMANDS:
            command: click.Command = importlib.import_module(f"lab.cli.{cmd_name}").command
            return command
        offered = _plugin_commands().get(cmd_name)
        if offered is None:
            return None
        module, _, attribute = offered.target.partition(":")
        try:
            target: click.Command = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise PluginError(f"the command {cmd_name!r} of a plugin cannot be loaded: {error}") from None
        return target

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List names and one line of help, importing nothing."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_helps().items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names, importing nothing."""
        found = [CompletionItem(name, help=text) for name, text in _helps().items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command as click does; name the nearest where there is none, and refuse an option given twice."""
        try:
            name, command, rest = super().resolve_command(ctx, args)
        except click.UsageError:
            hint = did_you_mean(args[0], self.list_commands(ctx))
            raise click.UsageError(f"no command {args[0]!r}{hint}", ctx) from None
        if command is not None and not ctx.resilient_parsing:
            _refuse_repeated(command, click.Context(command, parent=ctx, info_name=name), list(rest))
            ctx.meta[output.ARGUMENTS] = [name, *rest]
            if name not in ORDERLY and isinstance(ctx.obj, Interrupts):
                ctx.obj.release()
        return name, command, rest


def _refuse_repeated(command: click.Command, context: click.Context, args: list[str]) -> None:
    """Raise for an option that takes one value and is given several: the last would win unseen."""
    try:
        _, _, order = command.make_parser(context).parse_args(args)
    except click.UsageError:
        return  # the command itself says it
    for option in order:
        if not isinstance(option, click.Option) or option.multiple or option.is_flag or option.count:
            continue
        if order.count(option) > 1:
            raise click.UsageError(f"{option.opts[0]} is given {order.count(option)} times; keep one", context)


def _helps() -> dict[str, str]:
    plugins = _plugin_commands()
    return {**COMMANDS, **{name: plugins[name].help for name in sorted(plugins)}}


def _plugin_commands() -> dict[str, Any]:
    from lab.plugins.discovery import Registry

    return Registry().commands()


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(
    package_name="lab-trading", prog_name="lab", message=f"%(prog)s, version %(version)s ({forms()['lab']})"
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Autonomous paper trading on real market data, with proof of what happened."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run_command_line(interrupts: Interrupts) -> int:
    """Run the command line of this process and return its exit code. One line for an error that a user can repair."""
    return with_streams(lambda: _run(interrupts))


def _run(interrupts: Interrupts) -> int:
    output.say_what_is_not_compiled()
    try:
        result = cli.main(prog_name="lab", standalone_mode=False, obj=interrupts)
    except click.exceptions.Abort:
        print("lab: interrupted", file=sys.stderr)
        return 130
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        where = f" (see `{context.command_path} --help`)" if context else ""
        output.say(" ".join(f"{error.format_message()}{where}".split()))
        return 64
    except LabError as error:
        output.say(str(error))
        return error.reason.exit_code
    except OSError as error:
        output.say(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return 74
    except Exception:
        import traceback

        traceback.print_exc()
        print("lab: this is a defect in lab; please report it with the lines above", file=sys.stderr)
        return EndReason.INTERNAL.exit_code
    return result if isinstance(result, int) else 0
