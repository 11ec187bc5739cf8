"""Messages on unknown names of the configuration: which name may be meant, and which names exist."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zsiqa import CONFIGS
from zsiqa.types import did_you_mean

LIST_ALL = "`zsiqa run --help` lists all"


def groups() -> list[str]:
    """List the groups of the configuration: backbone, distance, baseline and so on."""
    return sorted(folder.name for folder in CONFIGS.iterdir() if folder.is_dir() and names_of(folder))


def names_of(group: str | Path) -> list[str]:
    """List the names of a group of the configuration."""
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


def unknown_name(file: str, options: Sequence[str] | None = None) -> str:
    """Say that a group has no file of this name, which one may be meant, and which there are.

    Args:
        file: group/name.
        options: names that Hydra found in the group, with those of a `hydra.searchpath`; else the shipped.
    """
    named = CONFIGS / file.partition("/..")[0]
    group = next(folder for folder in (named, *named.parents) if folder.is_dir())
    known = list(options or names_of(group))
    given = file.rpartition("/")[2]
    near = did_you_mean(given, known) or did_you_mean(given, [
        f"{other}={given}" for other in groups() if given in names_of(other)])  # of another group
    if given.isdecimal():  # options that ask for a number, such as scale=short scales.short.side=300
        asking = ((path.stem, re.match(r"# @package (\S+)\n(?:.*\n)*(\w+): \?\?\?", path.read_text("utf-8")))
                  for path in sorted(group.glob("*.yaml")))
        ways = [f"{group.name}={name} {match[1]}.{match[2]}={given}" for name, match in asking if match]
        near = f" (did you mean {' or '.join(ways)}?)" if ways else near
    return f"no {file} in the configuration{near}; {group.name} can be: {', '.join(known)}"


def unknown_setting(name: str, value: str, known: Mapping[str, Any]) -> str:
    """Say that a setting is unknown, and which one may be meant.

    Args:
        name: the setting, dotted.
        value: of the setting, as given.
        known: values of all settings, by dotted name.
    """
    if name.startswith("hydra."):
        return f"unknown setting {name}; `zsiqa run --cfg hydra` lists those of Hydra"
    shown = [one for one in known if not one.rpartition(".")[2].startswith("_")]  # not _target_
    parent, _, last = name.rpartition(".")
    there = {one.removeprefix(f"{parent}.").partition(".")[0] for one in shown
             if one.startswith(f"{parent}.")}
    if parent and there:  # its place is known
        near = (did_you_mean(last, there, f"{parent}.{{}}={_plain(value)}")
                or did_you_mean(last, [one for one in shown if one.rpartition(".")[2] == last],
                                f"{{}}={_plain(value)}")
                or f"; {parent} has {', '.join(sorted(there))}")
    else:
        near = did_you_mean(name, shown, f"{{}}={_plain(value)}")
    if known.get(name.rpartition(".")[0]) == {}:  # such as a backbone's model_kwargs
        near = f" (to add it: +{name}={value})"
    return f"unknown setting {name}{near}; {LIST_ALL}"


def not_an_override(text: str, known: Mapping[str, Any]) -> str:
    """Say that settings are given as name=value, and which one a plain word or an option may stand for.

    Args:
        text: the word, or the option with its value, separated by a space.
        known: values of all settings, by dotted name.
    """
    name, _, value = text.lstrip("-").partition(" ")
    near = " or ".join(f"{group}={name}" for group in groups() if name in names_of(group))
    near = (f" (did you mean {near}?)" if near
            else did_you_mean(name.replace("-", "_"), known, f"{{}}={_plain(value or 'VALUE')}"))
    return f"{text}: expected a setting as name=value{near}; {LIST_ALL}"


def _plain(value: str) -> str:
    """Escape the brackets of a value for `str.format`."""
    return value.replace("{", "{{").replace("}", "}}")
