"""``lab completion``."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the completion script for your shell.

    \b
    Examples:
      lab completion bash >> ~/.bashrc
      lab completion zsh  >> ~/.zshrc
      lab completion fish > ~/.config/fish/completions/lab.fish
    """
    from lab.cli.main import cli

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(found(cli, {}, "lab", "_LAB_COMPLETE").source())
    return 0
