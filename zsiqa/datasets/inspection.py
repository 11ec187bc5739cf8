"""Checks of a data set's images: names, headers and, on request, pixels."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.ExifTags import Base

from zsiqa.datasets.images import EIGHT_BIT_MODES, open_image, open_rgb
from zsiqa.datasets.release import names_of
from zsiqa.releases import ref_id
from zsiqa.terminal import listed, plural
from zsiqa.types import ImageError, ImagePair, Manifest

LEAST = 224  # the default window; see docs/protocol.md section 3
THREADS = 8  # for files on a network: the threads wait, they hardly compute


@dataclass(frozen=True)
class Header:
    """Header of an image file, read without decoding.

    Attributes:
        error: why it cannot be read ("" if it can).
    """

    width: int = 0
    height: int = 0
    mode: str = ""
    error: str = ""

    @property
    def size(self) -> str:
        """W x H."""
        return f"{self.width}x{self.height}"


def image_files(pairs: Iterable[ImagePair]) -> list[Path]:
    """All image files of the pairs, each once."""
    return list(dict.fromkeys(path for pair in pairs for path in (pair.ref_path, pair.dis_path)))


def read_headers(paths: Sequence[Path]) -> dict[Path, Header]:
    """Read the headers of image files."""
    with ThreadPoolExecutor(THREADS) as pool:
        return dict(zip(paths, pool.map(_header, paths, chunksize=64), strict=True))


def decode(paths: Sequence[Path]) -> tuple[list[str], dict[str, list[Path]]]:
    """Decode images in full, as scoring does.

    Returns:
        Problems (images that cannot be decoded); the other images by the SHA-256 of their pixels and size.
    """
    errors: list[str] = []
    same: dict[str, list[Path]] = defaultdict(list)
    with ThreadPoolExecutor(THREADS) as pool:
        for path, (error, digest) in zip(paths, pool.map(_decode, paths), strict=True):
            if error:
                errors.append(f"{_short(path)} ({error})")
            else:
                same[digest].append(path)
    return _problems({"not to be decoded": errors} if errors else {}), same


def skipped(paths: Iterable[Path]) -> list[str]:
    """List notes on files of which decoding ignores a part: frames after the first, the EXIF orientation."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        # `decode` reports images that cannot be read. Pillow itself rotates TIFF images, and gives no "exif"
        # for them.
        with suppress(ImageError), open_image(path) as image:
            if getattr(image, "is_animated", False):
                found["scored by the first frame alone"].append(str(path))
            if "exif" in image.info and image.getexif().get(Base.Orientation, 1) != 1:
                found["scored as stored, not as turned by EXIF"].append(str(path))
    return [f"{what}: {', '.join(files)}" for what, files in found.items()]


def missing(manifest: Manifest, facts: Mapping[str, Any]) -> list[str]:
    """List problems: images that the labels name but that are missing."""
    lacking = [pair for pair in manifest.pairs if not pair.dis_path.is_file()]
    problems = []
    for part, (first, last) in facts.get("parts", {}).items():
        members = [pair for pair in manifest.pairs if first <= ref_id(pair.ref, facts) <= last]
        gone = [pair for pair in lacking if first <= ref_id(pair.ref, facts) <= last]
        if gone and len(gone) == len(members):
            problems.append(f"{part} ({first}-{last}) is missing: {plural(len(gone))}. "
                            f"Fix: unpack it here, too")
            lacking = [pair for pair in lacking if pair not in set(gone)]
    references = [path for path in dict.fromkeys(pair.ref_path for pair in manifest.pairs)
                  if not path.is_file()]
    for kind, paths in (("distorted", [pair.dis_path for pair in lacking]), ("reference", references)):
        if paths:
            problems.append(f"{plural(len(paths), f'{kind} image')} named in "
                            f"{names_of(manifest.label_files)} missing, "
                            f"e.g. {listed([_short(path) for path in paths], 3)}. "
                            f"Fix: unpack the archive again; names are matched ignoring case")
    return problems


def check_headers(manifest: Manifest, headers: Mapping[Path, Header], facts: Mapping[str, Any]) -> list[str]:
    """List images that cannot be read, or whose size is not that of the reference or of the release.

    Args:
        headers: of the images that exist.
    """
    released = {ref: size for size, refs in facts["sizes"].items() for ref in refs or [None]}
    found: dict[str, list[str]] = defaultdict(list)
    for path, header in headers.items():
        if header.error:
            found["not readable"].append(f"{_short(path)} ({header.error})")
        elif header.mode not in EIGHT_BIT_MODES:
            found["with more than 8 bits a channel, expected 8-bit RGB"].append(
                f"{_short(path)} (mode {header.mode})")
        elif min(header.width, header.height) < LEAST:
            found[f"smaller than the window of {LEAST} pixels"].append(f"{_short(path)} ({header.size})")
    seen: set[Path] = set()
    for pair in manifest.pairs:
        ref = headers.get(pair.ref_path, Header(error="not there"))
        dis = headers.get(pair.dis_path, Header(error="not there"))
        expected = released.get(ref_id(pair.ref, facts), released.get(None))
        if not ref.error and pair.ref_path not in seen and expected and ref.size != expected:
            example = f"{_short(pair.ref_path)} ({ref.size}, expected {expected})"
            found["of another size than in the release"].append(example)
        seen.add(pair.ref_path)
        if not (ref.error or dis.error) and dis.size != ref.size:
            example = f"{_short(pair.dis_path)} ({dis.size}, the reference {ref.size})"
            found["of another size than the reference"].append(example)
    return _problems(found)


def describe_headers(headers: Mapping[Path, Header]) -> str:
    """Count images by size."""
    sizes = Counter(header.size for header in headers.values() if not header.error)
    return ", ".join(f"{size} ({count:,})" for size, count in sizes.most_common())


def _problems(found: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{plural(len(images))} {problem}, e.g. {listed(images, 3)}. Fix: unpack the archive again"
            for problem, images in found.items()]


def _header(path: Path) -> Header:
    try:
        with open_image(path) as image:
            return Header(image.width, image.height, image.mode)
    except ImageError as error:
        return Header(error=error.reason)


def _decode(path: Path) -> tuple[str, str]:
    try:
        image = open_rgb(path)
    except ImageError as error:
        return error.reason, ""
    return "", hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
