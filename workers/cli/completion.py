"""`muster completion`: what makes a shell complete the words of muster."""

from enum import StrEnum
from typing import Annotated

import typer

from workers.cli import output


class Shell(StrEnum):
    """Shells that can."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="Whose script.")],
) -> None:
    """Print the script that lets a shell complete commands, options, roles, topics and ids.

    bash: `eval "$(muster completion bash)"` in ~/.bashrc. zsh: the same in ~/.zshrc, after
    compinit. fish: `muster completion fish > ~/.config/fish/completions/muster.fish`.
    """
    from typer.completion import (  # type: ignore[attr-defined]  # typer names it in its docs
        get_completion_script,
    )

    script = get_completion_script(
        prog_name="muster", complete_var="_MUSTER_COMPLETE", shell=shell.value
    )
    output.say(script)
