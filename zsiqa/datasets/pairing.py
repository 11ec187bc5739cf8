"""Pair distorted images with references by file name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from zsiqa.types import ImagePair, ZsiqaError


def pair_up(ref: Path, dis: Path) -> tuple[list[str], list[ImagePair]]:
    """Pair two files, one reference with all files of a folder, or the files of two folders by name.

    Returns:
        Messages on files without a counterpart; the pairs, in the order of the distorted images' names.

    Raises:
        ZsiqaError: if a path does not exist, only the reference is a folder, or no pair is found.
    """
    for path in (ref, dis):
        if not path.exists():
            raise ZsiqaError(f"no file or folder {path}")
    if ref.is_dir() and not dis.is_dir():
        raise ZsiqaError(f"{ref} is a folder, {dis} is a file; give two files, two folders, or one reference "
                         f"and a folder of distorted images")
    if not ref.is_dir():
        paths = {dis.name: dis} if not dis.is_dir() else {
            name: dis / name for name in images_below(dis) if not (dis / name).samefile(ref)}
        if not paths:
            raise ZsiqaError(f"no images in {dis} or below, by the extensions of their names{_others(dis)}")
        return [], [ImagePair(name, ref.name, name, 0.0, ref, path) for name, path in paths.items()]
    names = {folder: images_below(folder) for folder in (ref, dis)}
    found = {name: name for name in names[dis] if name in names[ref]}  # distorted: reference
    rest = {folder: by_stem(name for name in names[folder] if name not in found) for folder in (ref, dis)}
    for stem, distorted in rest[dis].items():
        references = rest[ref].get(stem, [])
        if len(distorted) == len(references) == 1:
            found[distorted[0]] = references[0]
    paired = {ref: set(found.values()), dis: set(found)}
    problems = [f"{folder / name} has no counterpart in {other}" for folder, other in ((ref, dis), (dis, ref))
                for name in names[folder] if name not in paired[folder]]
    if not found:
        raise ZsiqaError(f"no file name of {dis} ({len(names[dis])} images) is in {ref} ({len(names[ref])} "
                         f"images); pairs are found by name{_others(ref, dis)}")
    return problems, [ImagePair(name, found[name], name, 0.0, ref / found[name], dis / name)
                      for name in sorted(found)]


def images_below(folder: Path) -> list[str]:
    """List the files in and below a folder whose suffix Pillow knows, as sorted paths relative to it."""
    return [file.relative_to(folder).as_posix() for file in _files(folder) if _is_image(file)]


def ignored_files(*paths: Path) -> list[str]:
    """List the other files in and below folders, as sorted paths; a path of a file has none."""
    return [str(file) for path in paths for file in _files(path) if not _is_image(file)]


def _others(*folders: Path) -> str:
    ignored = ignored_files(*folders)
    return f"; no images by their extensions: {', '.join(ignored)}" if ignored else ""


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in Image.registered_extensions()


def by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Group names by the name without its suffix."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(str(Path(name).with_suffix("")), []).append(name)
    return groups
