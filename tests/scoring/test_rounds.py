"""Levels share their work: each image is decoded once, each distinct one encoded once, in rounds."""

import gc
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import write_pairs
from PIL import Image

from zsiqa import distances
from zsiqa.backbones.timm_backbone import TimmBackbone
from zsiqa.datasets import pairs as pairs_dataset
from zsiqa.datasets.references import pair_references
from zsiqa.perturbations import Dilate, Original, Rotate, Translate
from zsiqa.scoring import loading
from zsiqa.scoring.engine import Scorer
from zsiqa.scoring.image_cache import BYTES_PER_PIXEL, ImageCache
from zsiqa.scoring.rounds import TOGETHER, plan_rounds

pytestmark = pytest.mark.numeric

# 150 and 100 pixels wide: 2 % are 3 and 2 pixels. More translations than one round has.
LEVELS = {"original": Original(), "dilate_5pct": Dilate(5), "rotate_2deg": Rotate(2),
          **{f"translate_x_{pixels}px": Translate(pixels=pixels) for pixels in range(1, 8)},
          "translate_x_2pct": Translate(percent=2), "translate_y_3px": Translate(pixels=3, axis="y"),
          "translate_y_4px": Translate(pixels=4, axis="y"), "rotate_3deg": Rotate(3)}
METRICS = {("features", "l2"): distances.L2(), ("features", "wsd"): distances.WSD()}


class Counting:
    """A backbone that counts the tiles that it encodes."""

    def __init__(self, backbone):
        self.backbone, self.tiles = backbone, 0

    def __call__(self, tiles):
        self.tiles += len(tiles)
        return self.backbone(tiles)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return TimmBackbone(model_name="test_resnet.r160_in1k", weights=None)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    return pairs_dataset.read(write_pairs(folder, [(150, 90), (100, 110)], levels=2)).pairs


def score(backbone, pairs, todo=lambda *_: True, perturbations=LEVELS, **changes):
    scorer = Scorer(backbone, perturbations=perturbations, **{
        "distances": METRICS, "window": 64, "stride": 50, "batch_tiles": 7, **changes})
    return {(one.index, one.condition): one.scores for one in scorer.score(pairs, todo)}


@pytest.fixture
def decoded(monkeypatch):
    """Count of decodings by path."""
    found, lock, decode = Counter(), threading.Lock(), loading.decode_rgb

    def count(image, path, **limit):
        with lock:
            found[path] += 1
        return decode(image, path, **limit)

    monkeypatch.setattr(loading, "decode_rgb", count)
    return found


def tiles_of(image):
    height, width, _ = image.shape
    return (1 + -(-(height - 64) // 50)) * (1 + -(-(width - 64) // 50))


def distinct_tiles(pairs):
    """Tiles of all images that differ: of a reference under all levels, of a distorted image likewise."""
    different = {}
    for pair in pairs:
        for role, path in (("reference", pair.ref_path), ("distorted", pair.dis_path)):
            image = Image.open(path).convert("RGB")
            for level in LEVELS.values():
                found = np.asarray(getattr(level, role)(image))
                # The two crops of a translation can be alike by chance only; the unchanged image is known.
                role_of_it = "either" if pair.ref_path == pair.dis_path and found.shape == (
                    image.height, image.width, 3) and (found == np.asarray(image)).all() else role
                different[path, role_of_it, found.shape, found.tobytes()] = tiles_of(found)
    return sum(different.values())


def test_each_image_is_decoded_once_and_each_distinct_one_encoded_once(backbone, pairs, decoded):
    counting = Counting(backbone)
    found = score(counting, pairs)
    assert len(found) == len(pairs) * len(LEVELS)
    assert decoded == dict.fromkeys([path for pair in pairs for path in (pair.ref_path, pair.dis_path)], 1)
    # The last batch is encoded as two equal rows if it is a single tile.
    assert distinct_tiles(pairs) <= counting.tiles <= distinct_tiles(pairs) + 1
    for index, pair in enumerate(pairs):
        same = "translate_x_3px" if Image.open(pair.ref_path).width == 150 else "translate_x_2px"
        assert found[index, "translate_x_2pct"] == found[index, same], "of one encoding"
        assert found[index, "translate_x_1px"] != found[index, same]


def test_a_level_alone_has_the_score_that_it_has_among_many(backbone, pairs):
    many = score(backbone, pairs)
    for name in ("translate_y_4px", "rotate_3deg"):
        alone = score(backbone, pairs, perturbations={name: LEVELS[name]})
        for key, scores in alone.items():
            # Batches round differently: see tests/scoring/test_engine.py.
            assert scores == pytest.approx(many[key], rel=1e-4), key


def test_references_alone_are_encoded_once_and_equal_images_are_exactly_equal(backbone, pairs, decoded):
    alone, counting = pair_references(pairs), Counting(backbone)
    found = score(counting, alone)
    assert decoded == {pair.ref_path: 1 for pair in alone}
    assert distinct_tiles(alone) <= counting.tiles <= distinct_tiles(alone) + 1
    for index in range(len(alone)):
        assert set(found[index, "original"].values()) == {0.0}, "to the bit, whatever the batches"
        assert min(min(scores.values()) for (at, name), scores in found.items()
                   if at == index and name != "original") > 1e-4


@pytest.mark.parametrize("alone", [False, True])
def test_a_resumed_run_has_the_same_bits(backbone, pairs, alone):
    pairs = pair_references(pairs) if alone else pairs
    whole = score(backbone, pairs)
    random = np.random.default_rng(0)
    for share in (0.3, 0.8):
        there = {key for key in whole if random.random() < share}
        rest = score(backbone, pairs, lambda index, name, there=there: (index, name) not in there)
        assert rest == {key: scores for key, scores in whole.items() if key not in there}


@pytest.mark.slow
@pytest.mark.parametrize("alone", [False, True])
def test_features_of_few_references_are_held_whatever_the_number_of_levels(backbone, tmp_path, alone):
    pairs = pairs_dataset.read(write_pairs(tmp_path, [(90, 64)] * 2, levels=1)).pairs
    pairs = pair_references(pairs) if alone else pairs
    most = {}
    for count in (TOGETHER, 3 * TOGETHER):
        live = []

        def watch(tiles, live=live):
            live.append(sum(one.numel() for one in gc.get_objects()
                            if type(one) is torch.Tensor and one.ndim == 5))
            return backbone(tiles)

        gc.collect()
        gc.disable()  # a cycle of references would keep features until the collector runs
        try:
            score(watch, pairs, distances={("features", "l2"): distances.L2()}, perturbations={
                "original": Original(),
                **{f"{pixels}px": Translate(pixels=pixels) for pixels in range(1, count + 1)}})
        finally:
            gc.enable()
        most[count] = max(live)
    # The batch in progress holds more or less, by where rounds begin in it.
    assert most[3 * TOGETHER] < 1.3 * most[TOGETHER]


def test_training_mode_draws_for_each_level(backbone, pairs):
    """Two levels that are one image here have random numbers of their own."""
    found = score(Counting(backbone), pairs[:1], noise_seed=0, perturbations={
        name: LEVELS[name] for name in ("translate_x_3px", "translate_x_2pct")})
    assert found.keys() == {(0, "translate_x_3px"), (0, "translate_x_2pct")}


def test_errors_name_every_level(backbone, tmp_path):
    pair = pairs_dataset.read(write_pairs(tmp_path, [(70, 66)], levels=1)).pairs[0]
    scorer = Scorer(backbone, distances=METRICS, perturbations=LEVELS, window=64, stride=50)
    failed = {one.condition: str(one.error) for one in scorer.score([pair]) if hasattr(one, "error")}
    assert failed.keys() == {"translate_x_7px", "translate_y_3px", "translate_y_4px"}
    assert "63 x 66 as perturbed" in failed["translate_x_7px"]
    for one in (pair, *pair_references([pair])):
        Path(one.dis_path).write_text("no image")
        broken = {outcome.condition for outcome in scorer.score([one]) if hasattr(outcome, "error")}
        assert broken == set(LEVELS)


def test_rounds_hold_all_conditions_once_and_few_that_change_the_reference():
    rounds = plan_rounds(LEVELS)
    assert sorted(name for names in rounds for name in names) == sorted(LEVELS)
    changing = [[name for name in names if "translate" in name] for names in rounds]
    assert [len(names) for names in changing] == [TOGETHER, 10 - TOGETHER]
    assert "rotate_3deg" in rounds[0], "named last, but it takes the reference that is there"
    four = {"original": Original(), "translate": Translate(), "dilate": Dilate(), "rotate": Rotate()}
    assert plan_rounds(four) == [list(four)], "as it always was"


def test_decoded_images_are_kept_up_to_a_limit():
    decoded, decodings = ImageCache(limit=2 * 100 * BYTES_PER_PIXEL), []

    def decode(key):
        decodings.append(key)
        return SimpleNamespace(size=(10, 10), key=key)

    for key in "abab":
        assert decoded.get(key, lambda key=key: decode(key)).key == key
    assert decodings == ["a", "b"]
    decoded.get("c", lambda: decode("c"))  # drops the oldest, a
    for key in "bca":
        decoded.get(key, lambda key=key: decode(key))
    assert decodings == ["a", "b", "c", "a"]


def test_threads_that_need_one_image_decode_it_once():
    decoded, decodings, together = ImageCache(), [], threading.Barrier(4)

    def job(_):
        together.wait()
        return decoded.get("a", lambda: decodings.append(1) or SimpleNamespace(size=(9, 9)))

    with ThreadPoolExecutor(4) as pool:
        assert len({id(image) for image in pool.map(job, range(4))}) == 1
    assert len(decodings) == 1
