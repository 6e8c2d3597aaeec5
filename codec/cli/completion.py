"""``nncodec completion``: what a shell needs to complete commands, options and model ids."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish", "powershell"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    Example:
      nncodec completion bash > ~/.local/share/bash-completion/completions/nncodec
      nncodec completion zsh > ~/.zfunc/_nncodec
      nncodec completion fish > ~/.config/fish/completions/nncodec.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click can't complete for {shell}; upgrade click")
    root = ctx.find_root()
    click.echo(kind(root.command, {}, "nncodec", "_NNCODEC_COMPLETE").source())
