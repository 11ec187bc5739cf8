"""LIVE, Release 2 (Sheikh, Sabir and Bovik, 2006): 29 references, 982 images, of which 779 are distorted.

The release's readme: the entries of its .mat files are those of jp2k/img1.bmp, jp2k/img2.bmp, ..., then jpeg,
wn, gblur and fastfading; `orgs` marks undistorted copies of a reference. The paper uses the realigned labels,
`dmos_new`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from zsiqa.datasets.labels import Label, Labels
from zsiqa.datasets.matlab import read_variables
from zsiqa.datasets.release import Name, Tree, build_manifest, read_labels
from zsiqa.releases import published
from zsiqa.types import DatasetError, Manifest

LABELS, REFERENCES = "dmos_realigned.mat", "refnames_all.mat"
ALIASES = {"gblur": ("gblur", "blur")}  # as some toolboxes rename it
NAME = re.compile(r"(jp2k|jpeg|wn|gblur|blur|fastfading)/img([0-9]{1,3})\.bmp", re.IGNORECASE | re.ASCII)


def read(root: str | Path, facts: Mapping[str, Any] | None = None) -> Manifest:
    """Read the unpacked archive, in the order of the release: by folder, then by number.

    Args:
        root: folder with `refnames_all.mat`, `dmos_realigned.mat` (a separate download, which may also lie
            in the folder above) and the images, here or below. In place of the two files: `LIVE.txt` of
            Waterloo, `live.txt` of the official code, or `meta_info_LIVEIQADataset.csv` of pyiqa.
        facts: about the release; `published()["live"]` by default.

    Returns:
        Pairs with the realigned DMOS as the label (higher = worse).

    Raises:
        DatasetError: if labels are missing or wrong; `dmos.mat` does not replace `dmos_realigned.mat`.
    """
    facts = facts or published()["live"]
    tree = Tree("live", root)
    if path := tree.find(LABELS) or tree.beside(LABELS):
        labels = _read_release(facts, tree, path)
    elif any(map(tree.find, facts["tables"])) or not (tree.find("dmos.mat") or tree.find(REFERENCES)):
        labels = read_labels(facts, tree, LABELS, {})
    else:
        raise tree.error(f"{LABELS} not found in {tree.root} or its parent",
                         "download it separately from the LIVE page; dmos.mat is NOT a substitute (different "
                         "scores, SRCC 0.957 between them)")
    manifest = build_manifest(facts, tree, labels, lambda label: _name(label, facts))
    copies = {path for folder, count in facts["images"].items() for index in range(1, count + 1)
              if (path := tree.find(f"img{index}.bmp", ALIASES.get(folder, (folder,))))}
    return replace(manifest, unnamed=tuple(path for path in manifest.unnamed if path not in copies))


def _read_release(facts: Mapping[str, Any], tree: Tree, path: Path) -> Labels:
    # In the same archive as the images: if it lies beside the root, the root is one folder too deep.
    names = tree.find(REFERENCES)
    if names is None and tree.beside(REFERENCES):
        raise tree.lacks(REFERENCES)
    if names is None:
        raise tree.error(f"{REFERENCES} not found in {tree.root}", "use the file inside databaserelease2.zip")
    infos = {folder: info.read_bytes() for folder in facts["images"]
             if (info := tree.find("info.txt", ALIASES.get(folder, (folder,))))}
    rows = parse_labels(parse_mat(path.read_bytes(), LABELS), parse_mat(names.read_bytes(), REFERENCES),
                        infos, facts)
    return Labels(rows, [path, names])


def parse_mat(data: bytes, file: str) -> Mapping[str, Any]:
    """Read the variables of a .mat file, each in one dimension.

    Raises:
        DatasetError: if the file is not in the expected format.
    """
    try:
        return read_variables(data)
    except ValueError as error:
        raise DatasetError(f"[live] {file} is not a readable MATLAB file ({error}). Fix: download it "
                           f"again") from error


def parse_labels(realigned: Mapping[str, Any], names: Mapping[str, Any], infos: Mapping[str, bytes],
                 facts: Mapping[str, Any]) -> list[Label]:
    """Build the labels of the distorted images.

    Args:
        realigned: the variables of `dmos_realigned.mat`.
        names: the variables of `refnames_all.mat`.
        infos: `info.txt` of each folder that has one: lines "source destination parameter". They check the
            references and give the level; lines of another form are ignored.

    Raises:
        DatasetError: if an array has another size than the release's, or the files contradict each other.
    """
    total = sum(facts["images"].values())
    dmos, orgs = _vector(realigned, "dmos_new", LABELS, total), _vector(realigned, "orgs", LABELS, total)
    std = _vector(realigned, "dmos_std", LABELS, total)
    refs = [_text(cell) for cell in _entries(names, "refnames_all", REFERENCES, total)]
    places = [f"{folder}/img{index}.bmp" for folder, count in facts["images"].items()
              for index in range(1, count + 1)]
    if wrong := [place for place, ref in zip(places, refs, strict=True)
                 if not re.fullmatch(r"[\w-]+\.bmp", ref, re.A)]:
        raise DatasetError(f"[live] refnames_all has no file name for {wrong[0]}. Fix: use the file inside "
                           f"databaserelease2.zip")
    stops = list(accumulate(facts["images"].values()))
    found = [int((orgs[stop - count:stop] == 1).sum())
             for stop, count in zip(stops, facts["images"].values(), strict=True)]
    if found != (expected := list(facts["originals"].values())) or not np.isin(orgs, (0, 1)).all():
        raise DatasetError(f"[live] orgs marks {sum(found)} originals ({'/'.join(map(str, found))}), "
                           f"expected {sum(expected)} ({'/'.join(map(str, expected))}). Fix: download "
                           f"{LABELS} again from the LIVE page")
    if wrong := [place for place, org, score in zip(places, orgs, dmos, strict=True)
                 if (org == 1) != (score == 0)]:
        raise DatasetError(f"[live] orgs and dmos_new == 0 disagree at {', '.join(wrong[:5])} ({len(wrong)} "
                           f"images). Fix: download {LABELS} again from the LIVE page")
    sources = _sources(infos)
    for place, ref in zip(places, refs, strict=True):
        if (source := sources.get(place, (ref, ""))[0]).casefold() != ref.casefold():
            raise DatasetError(f"[live] {place.partition('/')[0]}/info.txt says that {place} comes from "
                               f"{source}, refnames_all says {ref}. Fix: use the files inside "
                               f"databaserelease2.zip")
    return [Label(f"{LABELS} entry {index}", place, float(score), ref, float(spread),
                  sources.get(place, ("", ""))[1])
            for index, (place, score, ref, spread, org) in enumerate(
                zip(places, dmos, refs, std, orgs, strict=True), 1)
            if org == 0]


def _entries(variables: Mapping[str, Any], name: str, file: str, size: int) -> Any:
    """Return a variable, after a check of its number of entries."""
    if name not in variables:
        raise DatasetError(f"[live] {file} has no {name}, only {', '.join(variables) or 'nothing'}. Fix: use "
                           f"the release's own file")
    values = variables[name]
    if not isinstance(values, list | np.ndarray) or len(values) != size:
        count = len(values) if isinstance(values, list | np.ndarray) else "no"
        fewer = isinstance(count, int) and count < size
        hint = "Filtered copies circulate, in another order. " if fewer else ""
        raise DatasetError(f"[live] {name} has {count} entries, expected {size}. {hint}Fix: use the "
                           f"release's own file ({REFERENCES} is inside databaserelease2.zip, {LABELS} is a "
                           f"separate download)")
    return values


def _vector(variables: Mapping[str, Any], name: str, file: str, size: int) -> np.ndarray:
    values = _entries(variables, name, file, size)
    if isinstance(values, list) or not np.isfinite(values).all():
        raise DatasetError(f"[live] {name} in {file} does not hold finite numbers. Fix: use the release's "
                           f"own file")
    return values.astype(np.float64)  # type: ignore[no-any-return]


def _text(cell: Any) -> str:
    """Return the text of a MATLAB cell, which may lie in further cells; "" if it holds no text."""
    while isinstance(cell, list) and len(cell) == 1:
        cell = cell[0]
    return cell if isinstance(cell, str) else ""


def _sources(infos: Mapping[str, bytes]) -> dict[str, tuple[str, str]]:
    """Parse the `info.txt` files: (reference, parameter) by image."""
    found = {}
    for folder, data in infos.items():
        for line in data.decode("utf-8", errors="replace").splitlines():
            match = re.fullmatch(r"\s*([\w-]+\.bmp)\s+(img[0-9]+\.bmp)\s+([!-~]+)\s*", line,
                                 re.ASCII | re.IGNORECASE)
            if match:
                found[f"{folder}/{match[2].lower()}"] = (match[1], match[3])
    return found


def _name(label: Label, facts: Mapping[str, Any]) -> Name | None:
    match = NAME.fullmatch("/".join(label.dis.split("/")[-2:]))
    ref = label.ref.rpartition("/")[2].lower()
    if not match or not re.fullmatch(r"[\w-]+\.bmp", ref, re.ASCII):
        return None
    index = int(match[2])
    folder = next(name for name in facts["images"] if match[1].lower() in ALIASES.get(name, (name,)))
    if not 1 <= index <= facts["images"][folder]:
        return None
    return Name(f"{folder}/img{index}", f"{folder}/img{index}.bmp", f"refimgs/{ref}", folder, "",
                (list(facts["images"]).index(folder), index), ALIASES.get(folder, (folder,)))
