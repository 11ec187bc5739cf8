"""Shared fixtures: small photograph-like images, made from seeds."""

from __future__ import annotations

import csv
import os
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from zsiqa import releases
from zsiqa.results import pair_list
from zsiqa.results.score_file import ScoreFile
from zsiqa.results.scores import ScoreKey
from zsiqa.types import ImagePair

# Before torch is loaded, here and in processes that tests start: its threads sleep while they wait for each
# other. They would spin, and with other work on the cores most of the time of the tests went there.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))
os.environ.pop("COLUMNS", None)  # of the terminal that the tests run in: texts for people fold at 100


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what takes `device`, itself or through a fixture, on the CPU, and on a GPU where there is one."""
    if "device" in metafunc.fixturenames:
        import torch  # not at the top: most tests need no torch

        metafunc.parametrize("device", ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"],
                             scope="session")


@pytest.fixture(scope="session")
def cuda() -> str:
    """For tests that exist on a GPU only."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return "cuda"


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases beyond a test's `sample` as slow, and the tests that take a device."""
    for item in items:
        sample = item.get_closest_marker("sample")
        if sample and "-".join(part for part in item.callspec.id.split("-")
                               if part not in ("cpu", "cuda")) not in sample.args:
            item.add_marker(pytest.mark.slow)
        if not {"device", "cuda"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.device)


def make_image(width: int, height: int, seed: int) -> Image.Image:
    """Smooth colour blobs with some grain, 8-bit RGB."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize(
        (width, height), Image.BICUBIC)
    grain = random.normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))


def add_noise(image: Image.Image, sigma: float, seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).normal(0, sigma, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def write_pairs(folder: Path, sizes: list[tuple[int, int]], levels: int) -> Path:
    """References of the given sizes (W, H) with `levels` distorted images each; returns the CSV, level =
    mos."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (width, height) in enumerate(sizes):
        reference = make_image(width, height, number)
        reference.save(folder / f"ref{number}.png")
        for level in range(1, levels + 1):
            # The mildest level is close to the reference: where rounding shows first.
            add_noise(reference, 0.8 * level**2, seed=level).save(folder / f"dis{number}_{level}.png")
            rows.append([f"ref{number}.png", f"dis{number}_{level}.png", level])
    # Interleaved, so that groups are not runs of neighbouring rows.
    rows.sort(key=lambda row: (row[2], row[0]))
    with (folder / "pairs.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["ref", "dis", "mos"], *rows])
    return folder / "pairs.csv"


def write_images(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 8)).save(folder / name)


def image_pair(ref: Path, dis: Path) -> ImagePair:
    return ImagePair(dis.name, ref.name, dis.name, 0.0, ref, dis)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material that is not part of the repository: ZSIQA_TEST_SHARED names its folder."""
    folder = os.environ.get("ZSIQA_TEST_SHARED")
    if not folder:
        pytest.skip("set ZSIQA_TEST_SHARED to the folder with tid2013/ and official/results.tar.xz")
    return Path(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each reason why tests were skipped."""
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report
                      in terminalreporter.getreports("skipped"))
    for reason, number in sorted(reasons.items()):
        terminalreporter.write_line(f"{number} skipped: {reason}")


def official_rows(dataset: str) -> list[tuple[str, str, float]]:
    """(dis, ref, mos) as the authors' files have them, with random labels: LIVE, TID2013 or PIPAL in full."""
    random = np.random.default_rng(len(dataset))
    if dataset == "live":  # names repeat between the folders, numbers rise within each
        names = [(f"img{number}.bmp", f"ref{number % 29}.bmp") for count in (169, 175, 145, 145, 145)
                 for number in range(1, count + 1)]
    elif dataset == "tid2013":  # mixed case, as in the release
        names = [(f"{'I' if level == 1 else 'i'}{ref:02}_{kind:02}_{level}.{'BMP' if kind == 11 else 'bmp'}",
                  f"I{ref:02}.BMP") for ref in range(1, 26) for kind in range(1, 25) for level in range(1, 6)]
    else:
        classes = [(kind, count) for kind,
                   total in enumerate((12, 16, 10, 24, 13, 14, 27)) for count in range(total)]
        names = [(f"A{ref:04}_{kind:02}_{count:02}.bmp", f"A{ref:04}.bmp") for ref in range(200)
                 for kind, count in classes]
    return [(dis, ref, float(mos)) for (dis, ref),
            mos in zip(names, random.uniform(10, 90, len(names)), strict=True)]


def write_official(path: Path, rows: list[tuple[str, str, float]], scores) -> np.ndarray:
    """A file as the authors write them; returns the scores as an array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["dis", "ref", "mos", "pred"])
        writer.writerows([*row, repr(float(score))] for row, score in zip(rows, scores, strict=True))
    return np.asarray(scores)


def noisy(rows: list[tuple[str, str, float]], seed: int, sigma: float = 20.0) -> np.ndarray:
    """Scores that go with the labels of `rows`, more or less."""
    labels = np.array([mos for _, _, mos in rows])
    return labels + np.random.default_rng(seed).normal(0, sigma, len(labels))


@pytest.fixture(scope="session")
def authors(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authors' score files, as far as they are there: all of LIVE and TID2013, some of PIPAL."""
    folder = tmp_path_factory.mktemp("authors")
    with tarfile.open(shared / "official/results.tar.xz") as archive:
        for member in archive:
            if member.isfile():
                (folder / Path(member.name).name).write_bytes(archive.extractfile(member).read())
    return folder


def fill(file: ScoreFile, pairs, scores, info=None, session=None) -> bool:
    """Write scores as a run does, in one part; NaN is a score that is not defined. True if they are all."""
    info = {"dataset": {"pairs": len(pairs), "higher_is_better": True}, "notes": [], **(info or {})}
    file.path.parent.mkdir(parents=True, exist_ok=True)
    info["pairs_file"] = pair_list.write_pairs(file.path.parent.parent, pairs)
    file.begin(info, session or {})
    for pair, score in zip(pairs, scores, strict=False):
        file.append(pair.pair_id, score)
    return file.finish(pairs, info)


def write_stored(root: Path, key: ScoreKey, scores, labels=None, *, ids=None, refs=None, types=None,
                 higher_is_better: bool = True, notes=(), identity=None, about=None) -> Path:
    """A finished file of our own store, by default with labels 0, 10, 20, ... and two pairs a reference.

    Labels that are all NaN are none. `higher_is_better` is the direction of the labels.
    """
    labels = [10.0 * index for index in range(len(scores))] if labels is None else list(map(float, labels))
    places = range(len(labels))
    pairs = [ImagePair(pair_id, ref, f"dis{place}", label, root / "ref" / ref, root / f"dis{place}", kind)
             for place, pair_id, ref, label, kind in zip(
                 places, ids or [f"dis{place}" for place in places],
                 [f"ref{place // 2}" for place in places] if refs is None else refs, labels,
                 ["blur" if place else "" for place in places] if types is None else types, strict=False)]
    file = ScoreFile(root.joinpath(*key).with_suffix(".csv"),
                     identity or {"window": 224, "perturbation": {"amount": 1}})
    info = {"dataset": {"name": key.dataset, "pairs": len(pairs), "higher_is_better": higher_is_better,
                        **({"labelled": False} if np.isnan(labels).all() else {})},
            "notes": list(notes), **(about or {})}
    for old in file.path.parent.glob(f"{key.perturbation}.*"):
        old.unlink()
    fill(file, pairs, scores, info, *info.pop("sessions", []))
    return file.path


@pytest.fixture
def replace_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that puts facts in the place of those of the published data sets, until the test ends."""
    def replace(facts) -> None:
        (tmp_path / "published.yaml").write_text(yaml.safe_dump(facts, sort_keys=False))
        monkeypatch.setattr(releases, "FILE", tmp_path / "published.yaml")
        monkeypatch.chdir(tmp_path)
        for name in facts:
            monkeypatch.delenv(f"ZSIQA_{name.upper()}", raising=False)
        releases.published.cache_clear()
    yield replace
    releases.published.cache_clear()


def dists_package(vgg16_file: Path, monkeypatch: pytest.MonkeyPatch):
    """The metric of the package DISTS_pytorch, with VGG16's weights from a file and its own of channels."""
    import torch
    from DISTS_pytorch import DISTS_pt

    from zsiqa.backbones.weights import package_file

    build = DISTS_pt.models.vgg16

    def stored_vgg16(*, pretrained):  # the package's way to ask for ImageNet weights, which it would download
        assert pretrained
        network = build()
        network.load_state_dict(torch.load(vgg16_file, weights_only=True))
        return network

    monkeypatch.setattr(DISTS_pt.models, "vgg16", stored_vgg16)
    package = DISTS_pt.DISTS(load_weights=False)
    state = torch.load(package_file("DISTS_pytorch", "weights.pt"), weights_only=True)
    package.alpha.data, package.beta.data = state["alpha"], state["beta"]
    return package


def tensor(image: Image.Image | Path):
    """An image, or the file of one, as (1, 3, H, W), RGB in [0, 1]."""
    import torch

    image = image if isinstance(image, Image.Image) else Image.open(image)
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float() / 255
