"""Shared parts of the readers of published data sets: finding files by name, and building and checking pairs.

A reader states where its release keeps labels and how to parse an image's name. The rest is done here: images
are found anywhere below the root, ignoring case; no path in a label file can lead out of the root; every row
of a label file becomes a pair or an error; and the digest of all labels is compared with the release's.
"""

from __future__ import annotations

import filecmp
import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsiqa.datasets.labels import Label, Labels, parse_table
from zsiqa.releases import labels_sha256, published
from zsiqa.types import DatasetError, ImagePair, Manifest

IMAGES = (".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
DEEPEST = 6  # levels below the root; stops at links that lead back up


@dataclass(frozen=True)
class Name:
    """Facts in the name of a distorted image.

    Attributes:
        stem: second part of the pair_id, after the data set's name.
        dis, ref: the release's own paths of the two images. Their last parts are the names in our results;
            they are spelled as in the paper authors' files, even if the label file spells them differently.
        order: sorts pairs into the canonical order.
        folders: possible names of the distorted image's folder, where its file name alone is ambiguous.
    """

    stem: str
    dis: str
    ref: str
    type: str
    level: str
    order: tuple[Any, ...]
    folders: tuple[str, ...] = ()


class Tree:
    """Files in and below a folder, by name, ignoring case. Hidden files are ignored.

    Args:
        dataset: name of the data set, for messages.
        root: the folder.

    Raises:
        DatasetError: if the folder does not exist or cannot be listed.
    """

    def __init__(self, dataset: str, root: str | Path) -> None:
        self.dataset, self.root = dataset, Path(root).expanduser()
        if not self.root.is_dir():
            raise self.error(f"folder not found: {self.root.absolute()}", self.how)
        self._files: dict[str, list[str]] = defaultdict(list)
        try:
            for name, path in _walk(str(self.root), "", DEEPEST):
                self._files[name.casefold()].append(path)
        except OSError as error:
            raise self.error(f"cannot list the files ({error})", "make the folder readable") from error

    @property
    def how(self) -> str:
        """Advice on getting the set and naming its folder, for messages."""
        return (f"get {published()[self.dataset]['get']}, unpack it, and "
                f"give dataset.root=DIR (zsiqa data: --root DIR) or set ZSIQA_{self.dataset.upper()}=DIR; "
                f"datasets/README.md of the source says more")

    def error(self, problem: str, fix: str) -> DatasetError:
        """Build an error in the common form of this data set's messages."""
        return DatasetError(f"[{self.dataset}] {problem}. Fix: {fix}")

    def find(self, name: str, folders: Collection[str] = ()) -> Path | None:
        """Find the file of this name; None if there is none.

        Args:
            folders: permitted names, in lower case, of the file's folder; any folder by default.

        Raises:
            DatasetError: if there are several files with different content, or two in one
                folder that differ only by case.
        """
        found = self._files.get(name.casefold(), [])
        if folders:
            found = [path for path in found
                     if path.rpartition("/")[0].rpartition("/")[2].casefold() in folders]
        if not found:
            return None
        first, *others = sorted(found, key=lambda path: (path.count("/"), path)) if len(found) > 1 else found
        for other in others:
            if first.rpartition("/")[0] == other.rpartition("/")[0]:
                raise self.error(f"{self.root} holds two files that differ only by case: {first}, {other}",
                                 "delete one of them")
            if not filecmp.cmp(self.root / first, self.root / other, shallow=False):
                raise self.error(
                    f"{name} found twice in {self.root}, with different content: {first}, {other}",
                    "keep only the files of this data set below the folder")
        return self.root / first

    def matching(self, pattern: str) -> list[str]:
        """List the names of files that match a pattern, in lower case and sorted."""
        return sorted(name for name in self._files if re.fullmatch(pattern, name, re.ASCII))

    def beside(self, name: str) -> Path | None:
        """Find a file or folder of this name beside the root, where unpacking often leaves it; or None."""
        try:
            return next((path for path in sorted(self.root.absolute().parent.iterdir())
                         if path.name.casefold() == name.casefold()), None)
        except OSError:
            return None

    def lacks(self, wanted: str, *others: str) -> DatasetError:
        """Build the error for missing label files: neither the wanted one nor one of the others is here."""
        above = next((path.parent for name in (wanted, *others)
                      if (path := self.beside(name.partition("/")[0]))), None)
        fix = f"give the folder above, {above}" if above else self.how
        return self.error(f"no {wanted} in {self.root.absolute()} or below", fix)

    def images(self) -> Iterator[str]:
        """Iterate over the paths of all files with an image suffix, relative to the root."""
        return (path for name, paths in self._files.items() if name.endswith(IMAGES) for path in paths)


def _walk(folder: str, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    """Iterate over all files: (name, path from the root)."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_dir():
                if depth:
                    yield from _walk(entry.path, f"{prefix}{entry.name}/", depth - 1)
            elif entry.is_file():
                yield entry.name, prefix + entry.name


def read_labels(facts: Mapping[str, Any], tree: Tree, wanted: str,
                own: Mapping[str, Callable[[bytes], list[Label]]]) -> Labels:
    """Read the first label file that exists: the data set's own, then tables of other toolboxes.

    Args:
        wanted: the label file that the error message names if there is none.
        own: parsers by file name; the first file is the release's.

    Raises:
        DatasetError: if there is none, or it is wrong.
    """
    for place, (name, parse) in enumerate(own.items()):
        if path := tree.find(name):
            return Labels(parse(path.read_bytes()), [path], *(["a list of another toolbox"] if place else []))
    for name in facts["tables"]:
        if path := tree.find(name):
            rows = parse_table(path.read_bytes(), path.name, facts["name"])
            return Labels(rows, [path], "a table of another toolbox")
    raise tree.lacks(wanted, *facts["tables"])


def by_name(pattern: re.Pattern[str],
            name_of: Callable[[re.Match[str]], Name]) -> Callable[[Label], Name | None]:
    """Make the argument `name_of` of `build_manifest` for file names that match a pattern."""
    def parse(label: Label) -> Name | None:
        match = pattern.fullmatch(_base(label.dis))
        return name_of(match) if match else None
    return parse


def build_manifest(facts: Mapping[str, Any], tree: Tree, labels: Labels,
                   name_of: Callable[[Label], Name | None],
                   to_mos: Callable[[float], float] = float) -> Manifest:
    """Turn labels into pairs, and check them.

    Args:
        facts: about the data set (`zsiqa.releases`).
        name_of: parses the name of a row's image; returns None if it is no image of the data set.
        to_mos: converts the release's label to the label that the official code uses.

    Raises:
        DatasetError: if a row names no image of the data set or has no usable score, if a pair is listed
            twice, or if the number of pairs or references differs from the release.
    """
    subsets = {kind: tuple(name for name, kinds in facts["subsets"].items() if kind in kinds)
               for kind in facts["types"]}
    low, high = facts["scores"]
    found: list[tuple[tuple[Any, ...], ImagePair]] = []
    used: set[Path] = set()
    source = names_of(labels.files)
    for label in labels.rows:
        name = name_of(label) if not _leads_out(label.dis) and not _leads_out(label.ref) else None
        if name is None:
            raise tree.error(f"{label.where}: {label.dis!r} is no image of {facts['label']}",
                             "restore the label file")
        if not low <= label.score <= high:  # NaN, too
            raise tree.error(f"{label.where}: score {label.score}, expected {low}..{high} as in the release",
                             "use the release's own label file, not a normalised copy")
        dis, ref = name.dis.rpartition("/")[2], name.ref.rpartition("/")[2]
        if label.ref and _base(label.ref).casefold() != ref.casefold():
            raise tree.error(f"{label.where}: the reference of {dis} is {ref}, not {label.ref}",
                             "restore the label file")
        dis_path, ref_path = tree.find(dis, name.folders), tree.find(ref)
        used.update(path for path in (dis_path, ref_path) if path)
        found.append((name.order, ImagePair(
            pair_id=f"{facts['name']}/{name.stem}", ref=ref, dis=dis, mos=to_mos(label.score),
            ref_file=ref_path or tree.root / name.ref, dis_file=dis_path or tree.root / name.dis,
            type=name.type, level=name.level or label.level, subsets=subsets.get(name.type, ()),
            native_mos=label.score, mos_std=label.std)))
    found.sort(key=lambda item: item[0])
    pairs = tuple(pair for _, pair in found)
    for pair, following in zip(pairs, pairs[1:], strict=False):
        if pair.pair_id == following.pair_id:
            raise tree.error(f"the pair {pair.pair_id} is listed twice in {source}", "restore the label file")
    if len(pairs) != facts["pairs"]:
        raise tree.error(f"{len(pairs)} label rows in {source}, expected {facts['pairs']}",
                         "unpack the archive again, all of it")
    if (count := len({pair.ref for pair in pairs})) != facts["references"]:
        raise tree.error(f"{count} references in {source}, expected {facts['references']}",
                         "restore the label file")
    warnings = []
    digest, expected = digest_of(pairs, facts)
    if digest != expected:
        warnings.append(f"[{facts['name']}] the labels in {source} are not those of the release: "
                        f"SHA-256 {digest[:12]}..., expected {expected[:12]}... Fix: use the release's own "
                        f"label file, see datasets/README.md")
    unnamed = tuple(path for path in map(tree.root.joinpath, tree.images()) if path not in used)
    return Manifest(pairs, labels.layout, tuple(labels.files), tuple(warnings), unnamed)


def digest_of(pairs: Sequence[ImagePair], facts: Mapping[str, Any]) -> tuple[str, str]:
    """Compute the SHA-256 of the labels of pairs; return it and the release's."""
    return labels_sha256([pair.pair_id for pair in pairs], [pair.ref for pair in pairs],
                         [pair.mos for pair in pairs], facts)


def names_of(files: Sequence[Path]) -> str:
    """Name the label files, for messages."""
    return files[0].name if len(files) == 1 else f"{files[0].name} ... {files[-1].name}"


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _leads_out(path: str) -> bool:
    """Return whether a name from a label file is not a plain relative path."""
    return path.startswith("/") or "\\" in path or ":" in path or ".." in path.split("/")
