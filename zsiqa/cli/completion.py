"""`zsiqa completion`: completes commands, options, files and the names of configurations in a shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from zsiqa import CONFIGS

# What the names of arguments stand for: folders of configurations.
NAMES = {"backbone": ("backbone",), "distance": ("distance",), "representation": ("representation",),
         "baseline": ("baseline",), "protocol": ("protocol",), "perturbation": ("perturbation",),
         "dataset": ("dataset",), "table": ("table",), "names": ("backbone", "baseline")}
SHELLS = ("bash", "zsh", "tcsh")


def add_parser(commands: Any, root: argparse.ArgumentParser) -> None:
    """Add the command to argparse's `commands`; what it completes is all that `root` knows."""
    parser = commands.add_parser(
        "completion", help="completion for a shell: eval \"$(zsiqa completion bash)\"",
        description="Print a script that completes commands, options, files and names in a shell. In ~/.bashrc: "
                    "eval \"$(zsiqa completion bash)\"; in ~/.zshrc, after compinit, with zsh. Names of configurations "
                    "are those of now.")
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(command=lambda options: _print(root, options.shell))


def _print(root: argparse.ArgumentParser, shell: str) -> int:
    import shtab

    for action in _actions(root):
        if action.dest in NAMES and action.nargs != 0:
            action.complete = _complete_names(action.dest)  # type: ignore[attr-defined]
        elif "DIR" in str(action.metavar):
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif getattr(action.type, "__name__", "") == "Path":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(root, shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


def _complete_names(argument: str) -> dict[str, Any]:
    """One name, or the last of several with commas between them, in the words of each shell."""
    names = " ".join(sorted({file.stem for group in NAMES[argument] for file in (CONFIGS / group).glob("*.yaml")}))
    function = f"_zsiqa_{argument}"
    return {"bash": function, "zsh": function, "tcsh": f"({names})", "preamble": {
        # What stands before the last comma goes in front of each name, and is not offered again; zsh does so itself.
        "bash": f'{function}() {{ local have="${{1%"${{1##*,}}"}}" left="" name\n'
                f'  for name in {names}; do [[ ,$have == *,$name,* ]] || left+=" $name"; done\n'
                f'  compgen -P "$have" -W "$left" -- "${{1##*,}}"; }}',
        "zsh": f"{function}() {{ _sequence compadd - {names} }}"}}
