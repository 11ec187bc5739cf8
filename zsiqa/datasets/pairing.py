"""Which distorted image belongs to which reference, by the names of their files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from zsiqa.types import ImagePair, ZsiqaError


def pair_up(ref: Path, dis: Path) -> tuple[list[str], list[ImagePair]]:
    """The pair of two files, or those of two folders by name.

    Returns:
        Which files have no counterpart, in words; the pairs, in the order of the distorted images' names.

    Raises:
        ZsiqaError: if a path is not there, or they are a file and a folder, or no pair is left.
    """
    for path in (ref, dis):
        if not path.exists():
            raise ZsiqaError(f"no file or folder {path}")
    if ref.is_dir() != dis.is_dir():
        raise ZsiqaError(f"{ref if ref.is_dir() else dis} is a folder, the other is a file; give two files "
                         f"or two folders")
    if not ref.is_dir():
        return [], [ImagePair(dis.name, ref.name, dis.name, 0.0, ref, dis)]
    names = {folder: images_below(folder) for folder in (ref, dis)}
    found = {name: name for name in names[dis] if name in names[ref]}  # distorted: reference
    rest = {folder: by_stem(name for name in names[folder] if name not in found) for folder in (ref, dis)}
    for stem, mine in rest[dis].items():
        others = rest[ref].get(stem, [])
        if len(mine) == len(others) == 1:
            found[mine[0]] = others[0]
    taken = {ref: set(found.values()), dis: set(found)}
    problems = [f"{folder / name} has no counterpart in {other}" for folder, other in ((ref, dis), (dis, ref))
                for name in names[folder] if name not in taken[folder]]
    if not found:
        raise ZsiqaError(f"no file name of {dis} ({len(names[dis])} images) is in {ref} ({len(names[ref])} "
                         f"images); pairs are found by name")
    return problems, [ImagePair(name, found[name], name, 0.0, ref / found[name], dis / name)
                      for name in sorted(found)]


def images_below(folder: Path) -> list[str]:
    """Names of the files in and below a folder that have a suffix of Pillow's."""
    known = Image.registered_extensions()
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*")
                  if file.suffix.lower() in known and file.is_file())


def by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Names by what they are without their suffix."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(str(Path(name).with_suffix("")), []).append(name)
    return found
