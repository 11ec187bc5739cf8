"""The authors' half precision against NumPy's float16, step by step, against the official operations in
float16, and against the grid on which the published scores lie: docs/protocol.md section 8."""

import math

import numpy as np
import pytest
import torch
from test_distances import _reference_columns, make_features, numpy_layers
from torch import nn
from torch.nn import functional as F

from zsiqa import distances
from zsiqa.distances import half_precision

pytestmark = pytest.mark.numeric

HALF = np.float16
OURS = {"l2": distances.L2, "cosine": distances.Cosine, "skld": distances.SKLD, "jsd": distances.JSD}


def halved(features):
    """What a model in half precision gives: float32 that float16 holds."""
    return tuple(stack.half().float() for stack in features)


def rounded_sum(values, axis):
    """Exact, rounded once. (In float32, the sum may come out beside it where it lies next to the middle.)"""
    with np.errstate(over="ignore"):
        return values.astype(np.float64).sum(axis).astype(HALF)


def rounded_mean(values):
    return HALF(values.astype(np.float64).mean())


def softmax_by_hand(x):
    exponentials = np.exp(x.astype(np.float64) - x.max(0))
    return (exponentials / exponentials.sum(0)).astype(HALF)


def kl_by_hand(p, log_q):
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - log_q), HALF(0))
    sums = rounded_sum(terms, 0)
    return np.where(np.isposinf(sums), HALF(0), sums)


def divergence_by_hand(name, p, q):
    with np.errstate(divide="ignore"):
        logs = (np.log(q), np.log(p)) if name == "skld" else [np.log((p + q) / HALF(2))] * 2
    return (kl_by_hand(p, logs[0]) + kl_by_hand(q, logs[1])) / HALF(2)


def column_distance_by_hand(name, dis, ref):
    """The tile score of features (L, N, D); 1e-10 and 1e-17 are left out, since float16 has nothing so
    small."""
    x, y = (_reference_columns(features).astype(HALF) for features in (dis, ref))
    value = k = divergence_by_hand(name, softmax_by_hand(x), softmax_by_hand(y))
    if name == "skld":
        difference = x - y
        euclid = rounded_sum(difference * difference, 0)
        shifted = k + HALF(10)
        weight = HALF(1) / (np.sqrt(np.exp(-(HALF(1) / shifted))) * (shifted * shifted))
        value = k + euclid * weight
    log = np.log(rounded_mean(value) + HALF(1))
    return float(HALF(float(log) ** 0.25))


def cosine_by_hand(r, d):
    """One layer (..., D)."""
    r, d = r.reshape(-1, r.shape[-1]).astype(HALF), d.reshape(-1, d.shape[-1]).astype(HALF)
    with np.errstate(all="ignore"):
        dot, rr, dd = (rounded_sum(x * y, -1) for x, y in ((r, d), (r, r), (d, d)))
        return HALF(1) - dot / np.sqrt(rr * dd)


def l2_by_hand(r, d):
    difference = d.astype(HALF) - r.astype(HALF)
    return rounded_mean(difference * difference)


def tokens(noise, scale=0.4, seed=0):
    """Features of the size of CLIP's, whose tokens have a norm of about 10: ref, dis (2 tiles of 12 x 50 x
    768)."""
    return tuple(map(halved, make_features([(12, 50, 768)], seed=seed, noise=noise / scale, scale=scale)))


def step(value):
    """The distance of float16 numbers at a value."""
    return float(np.spacing(HALF(value)))


@pytest.mark.parametrize("noise", [0.02, 0.06, 0.12, 0.2])
def test_scores_step_by_step(noise):
    """Published medians are reached with noise of 0.14. Of 12 layers, each sum may round another way: half a
    step."""
    ref, dis = tokens(noise)
    for tile in range(2):
        r, d = (numpy_layers(features, tile) for features in (ref, dis))
        found = {name: make(half=True)(ref, dis)[tile].item() for name, make in OURS.items()}
        for name in ("skld", "jsd"):
            assert found[name] == column_distance_by_hand(name, np.stack(d), np.stack(r))
        expected = [float(l2_by_hand(*layer)) for layer in zip(r, d, strict=True)]
        assert found["l2"] == pytest.approx(sum(expected), abs=sum(map(step, expected)) / 2)
        expected = [float(rounded_mean(cosine_by_hand(*layer))) for layer in zip(r, d, strict=True)]
        # Of 50 tokens, a few sums round another way, by 2^-11 of a similarity: less than a step of the mean.
        assert found["cosine"] == pytest.approx(sum(expected), abs=sum(map(step, expected)))


@pytest.mark.parametrize("name", ["skld", "jsd"])
@pytest.mark.parametrize("scale", [0.4, 6.0])
def test_divergences_column_by_column(name, scale):
    """The tile's score is too coarse to show a single step; columns are not. With a scale of 6, softmax gives
    zeros."""
    ref, dis = make_features([(12, 48, 64)], noise=0.3, scale=scale)
    p, q = (softmax_by_hand(_reference_columns(f[0][0].numpy()).astype(HALF)) for f in (dis, ref))
    assert (p == 0).any() == (scale == 6)
    ours = half_precision.symmetric_kl if name == "skld" else half_precision.jensen_shannon
    found = ours(torch.from_numpy(p), torch.from_numpy(q)).numpy()
    expected = divergence_by_hand(name, p, q)
    # Sums of 64 in float32, next to the middle of two float16 numbers, may round the other way: 1 in 2^12.
    assert (found == expected).mean() > 0.99
    if name == "skld" and scale < 1:
        p, q = p.astype(np.float64), q.astype(np.float64)
        assert (found == ((p - q) * np.log(p / q)).sum(0).astype(HALF)
                / 2).mean() < 0.5, "that the steps are rounded"


def test_what_becomes_of_log_0():
    """p = 0 adds nothing; where q = 0 but p is not, the column's sum is infinite, and counts as 0."""
    p = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 1.0]]).half()
    q = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]).half()
    # Column 0: KL(p||q) is infinite, KL(q||p) = log 2, which float16 has as 0.69287 (half of it: 0.34644).
    expected = torch.tensor([HALF(HALF(math.log(2)) / 2), 0, 0], dtype=torch.float16)
    assert torch.equal(half_precision.symmetric_kl(p, q), expected)
    smallest = torch.tensor([[2.0**-24], [1.0]]).half()
    nothing = torch.tensor([[0.0], [1.0]]).half()
    # Half of the smallest number is 0, and so is m: p (log p - log 0) is infinite.
    assert half_precision.jensen_shannon(smallest, nothing).item() == 0


def test_epsilon_of_the_official_code_is_nothing_in_half_precision():
    ref, dis = tokens(0.1)
    for name in ("skld", "jsd"):
        with_it, without = (OURS[name](half=True, epsilon=epsilon)(ref, dis) for epsilon in (1e-10, 0.0))
        assert torch.equal(with_it, without)
        assert not torch.equal(with_it, OURS[name](half=True, epsilon=0.1)(ref, dis))


def test_long_tokens_overflow_and_count_as_1():
    """Norms from 5 to 40: beyond 16, the product of squared norms passes 65504."""
    ref, dis = make_features([(3, 50, 768)], noise=0.1)
    lengths = torch.linspace(5, 40, 50)
    ref, dis = (halved(stack * lengths[:, None] / 768**0.5 for stack in features) for features in (ref, dis))
    found = distances.Cosine(half=True)(ref, dis)[0].item()
    values = [cosine_by_hand(r, d) for r, d in zip(numpy_layers(ref, 0), numpy_layers(dis, 0), strict=True)]
    dead = sum((layer == 1).sum() for layer in values)
    # Norms of 768 random numbers scatter by 2.5 %; 40 / 5 in 50 steps of 0.7 around 16.
    assert dead == pytest.approx(3 * (lengths > 16).sum().item(), abs=3)
    expected = [float(rounded_mean(layer)) for layer in values]
    assert found == pytest.approx(sum(expected), abs=sum(map(step, expected)))


def test_the_official_rule_for_maps():
    """Along rows: NaN (a row of zeros) is left out, an infinity counts as 0; sum and count are float16."""
    ref, dis = make_features([(2, 40, 80, 6)], noise=0.5)  # 3,200 rows: their sum has steps of 1 or 2
    ref[0][:, :, 3] = 0
    # |r|^2 |d|^2 is 0, <r, d> is not: an infinite similarity.
    ref[0][:, :, 5, 7] = dis[0][:, :, 5, 7] = torch.tensor([2.0**-8, 0, 0, 0, 0, 0])
    found = distances.Cosine(half=True)(ref, dis)
    expected = 0.0
    for r, d in zip(numpy_layers(ref, 0), numpy_layers(dis, 0), strict=True):
        layer = cosine_by_hand(r, d)
        assert np.isnan(layer).sum() == 80
        assert np.isinf(layer).sum() == 1
        layer = layer[~np.isnan(layer)]
        total = rounded_sum(np.where(np.isinf(layer), HALF(0), layer), 0)
        expected += float(total / HALF(len(layer)))
    # a sum that rounds another way: 1 of 3,120, twice
    assert found[0].item() == pytest.approx(expected, abs=2**-9)
    token = ref[0].movedim(2, 3).flatten(2, 3)
    assert distances.Cosine(half=True)((token,), (token + 1,)).isnan().all(), "of tokens, NaN is passed on"


@pytest.mark.parametrize("shapes", [[(2, 50, 64)], [(1, 1, 512)], [(1, 8, 14, 14), (2, 16, 7, 7)]])
def test_tiles_and_company_do_not_matter(shapes):
    ref, dis = map(halved, make_features(shapes))
    every = [*(make(half=True) for make in OURS.values()), distances.WSD(), distances.L2(), distances.SKLD()]
    together = distances.compare(every, ref, dis)
    assert together.dtype == torch.float64
    for column, distance in enumerate(every):
        assert torch.equal(together[:, column],
                           distance(ref, dis).double()), "float32 scores keep every digit"
        for tile in range(2):
            alone = distance(*(tuple(stack[tile:tile + 1] for stack in features) for features in (ref, dis)))
            torch.testing.assert_close(alone.double(), together[tile:tile + 1, column], rtol=1e-6, atol=0)


# The official operations on float16 tensors, as today's PyTorch runs them on a CPU, against ours. -- Where
# they agree:
def _official_kl(log_q, p):
    """KLDivLoss of PyTorch up to 1.12, which had no formula of its own."""
    return torch.where(p > 0, p * (torch.log(p) - log_q), torch.zeros_like(p))


def _official_column_distance(name, x, y):
    p, q = (F.softmax(values, dim=0) + 1e-10 for values in (x, y))
    p, q = p.clamp(min=1e-10), q.clamp(min=1e-10)
    logs = (q.log(), p.log()) if name == "skld" else [((p + q) / 2 + 1e-17).log()] * 2
    parts = []
    for log_q, target in ((logs[0], p), (logs[1], q)):
        parts.append(_official_kl(log_q, target).sum(dim=0))
        parts[-1][parts[-1] == torch.inf] = 0
    value = k = (parts[0] + parts[1]) / 2
    if name == "skld":
        euclid = ((x - y) ** 2).sum(dim=0)
        value = k + euclid * (1 / (torch.sqrt(torch.exp(-1 / (k + 10))) * (k + 10) ** 2))
    return (torch.log(value.mean() + 1) ** 0.25).item()


@pytest.mark.parametrize("noise", [0.02, 0.06, 0.1, 0.14, 0.3])
def test_official_operations_in_float16_give_the_same_bits(noise):
    ref, dis = tokens(noise, seed=3)
    for tile in range(2):
        r, d = (features[0][tile].half() for features in (ref, dis))
        l2 = sum(((d[layer] - r[layer]) ** 2).mean().item() for layer in range(12))
        assert distances.L2(half=True)(ref, dis)[tile].item() == l2
        x, y = (features[:, :48].reshape(64, -1) for features in (d, r))
        for name in ("skld", "jsd"):
            assert OURS[name](half=True)(ref, dis)[tile].item() == _official_column_distance(name, x, y)


@pytest.mark.parametrize("operation", ["exp", "log", "sqrt", "reciprocal", "square"])
def test_operations_on_elements_round_once(operation):
    """Of every positive float16 number, against float64. Where the result lies next to the middle of two
    numbers, the last bit of float32 decides: for log and exp, in which libraries differ, that is 1 and 2 of
    31,743."""
    x = np.arange(1, 31744, dtype=np.int16).view(HALF)
    with np.errstate(over="ignore", divide="ignore"):
        expected = getattr(np, operation)(x.astype(np.float64)).astype(HALF)
    found = getattr(torch, operation)(torch.from_numpy(x)).numpy()
    assert (found != expected).sum() <= (3 if operation in ("log", "exp") else 0)


def test_softmax_sums_and_means_round_once():
    x = tokens(0.1)[0][0][0, :, :48].reshape(64, -1).half()
    assert torch.equal(F.softmax(x, dim=0), x.float().softmax(0).half())
    assert torch.equal(x.sum(0), half_precision._sum(x, 0))
    assert torch.equal(x.mean(1), half_precision._mean(x))
    few = x[:, :500].abs()  # a sum of about 1e4: it has steps of 8
    assert torch.equal(few.nanmean(), half_precision._sum(few.flatten(), 0) / few.numel())


# And where they do not, so that today's PyTorch cannot be asked:
def test_cosine_similarity_no_longer_overflows():
    r = torch.full((1, 768), 0.75).half()  # a norm of 20.8
    assert F.cosine_similarity(r, r).item() == pytest.approx(1, abs=2**-9)  # two roundings of a unit vector
    assert distances.Cosine(half=True)((r[None, None].float(),), (r[None, None].float(),)).item() == 1


def test_kl_divergence_has_another_formula_now():
    """p log p - p log q, each rounded, loses what p (log p - log q) keeps."""
    p, q = (softmax_by_hand(_reference_columns(f[0][0].numpy()).astype(HALF)) for f in tokens(0.1))
    p, q = torch.from_numpy(p), torch.from_numpy(q)
    today = nn.KLDivLoss(reduction="none")(q.log(), p)
    assert (today != _official_kl(q.log(), p)).float().mean() > 0.1


def test_a_similarity_may_exceed_1():
    """Where norms and product round apart: some published scores of embeddings are below 0, multiples of
    -2^-10 / 6."""
    random = torch.Generator().manual_seed(0)
    ref = torch.randn(2000, 1, 1, 512, generator=random)
    units = [x.half() / x.half().float().norm(dim=-1, keepdim=True).half()
             for x in (ref, ref + 1e-3 * torch.randn(ref.shape, generator=random))]
    found = distances.Cosine(half=True)(*((x.float(),) for x in units))
    assert set(found[found < 0].tolist()) == {-(2**-10)}


# The published scores of ViT-B/32 on TID2013, all 3,000: how many distinct ones, zeros and ones below 0.
PUBLISHED = {"jsd": (312, 313, 0), "skld": (2253, 35, 0), "l2": (2999, 0, 0), "cosine": (1612, 6, 27)}
MEDIANS = {"jsd": 0.19348, "skld": 0.34436, "l2": 0.15516, "cosine": 0.051676}
# the finest of float16 in the file, per tile
STEPS = {"jsd": 2**-13, "skld": 2**-13, "l2": 2**-24, "cosine": 2**-11}
FILES = {"jsd": "clip_vitb32_jsd", "skld": "clip_vitb32_skld", "l2": "clip_vitb32_l2",
         "cosine": "embed_clip_vitb32_cos"}
# Percentiles of the published l2, which is fine enough for it: how far apart TID2013's pairs are.
L2 = {0: 0.00017, 0.2: 0.00023, 0.5: 0.00058, 1: 0.00206, 2: 0.00481, 5: 0.01696, 10: 0.03186, 25: 0.0746,
      50: 0.15516, 75: 0.31303, 95: 0.65908, 99: 0.82464, 100: 0.94539}
IMAGES, TILES = 3000, 6
# A column of 64 samples is what matters; of columns, some will do.
SHAPES = {"jsd": (1, 48, 128), "skld": (1, 48, 128), "l2": (12, 48, 16), "cosine": (1, 1, 512)}
LEVELS = {float(HALF(float(HALF(math.log(1 + n / 1024))) ** 0.25)) for n in range(1024)}


def _features(name, scale, images):
    """Random features of the tiles of some images: the noise of an image follows the published l2, that of a
    tile is its image's give or take 10 % (an assumption)."""
    random = torch.Generator().manual_seed(1)
    ranks = np.linspace(0, 100, images + 2)[1:-1]
    # l2 is a sum of 12
    amounts = scale * np.interp(ranks, list(L2), np.sqrt(np.array(list(L2.values())) / 12))
    amounts = amounts[:, None] * np.exp(0.1 * torch.randn(images, TILES, generator=random).numpy())
    for amount in torch.from_numpy(amounts).float().flatten().split(600):
        ref = 0.4 * torch.randn(len(amount), *SHAPES[name], generator=random)
        dis = ref + amount.view(-1, 1, 1, 1) * torch.randn(ref.shape, generator=random)
        if name == "cosine":
            ref, dis = (x.half() / x.half().float().norm(dim=-1, keepdim=True).half() for x in (ref, dis))
        yield halved((ref,)), halved((dis,))


def _scores(name, scale, images, **options):
    """(images, tiles)."""
    distance = OURS[name](**options)
    return torch.cat(
        [distance(*features) for features in _features(name, scale, images)]).double().view(-1, TILES)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_random_features_give_the_published_grid(name):
    """The scale of the noise is fixed first: the median score *in float32* is the published one."""
    scale = 1.0
    for _ in range(3):  # SKLD and JSD go with its root, l2 and cosine with its square
        median = _scores(name, scale, 200).mean(1).median().item()
        scale *= (MEDIANS[name] / median) ** (2 if name in ("jsd", "skld") else 0.5)
    tiles = _scores(name, scale, IMAGES, half=True)
    if name in ("jsd", "skld"):
        assert set(tiles.flatten().tolist()) <= LEVELS
    assert (tiles / STEPS[name] == (tiles / STEPS[name]).round()).all()
    scores = tiles.mean(1)
    found = len(scores.unique()), (scores == 0).sum().item()
    for ours, theirs in zip(found, PUBLISHED[name], strict=False):
        if theirs > 10 or theirs == 0:  # few scatter by more than a factor of 2 by chance
            assert theirs / 2 <= ours <= 2 * theirs
    in_float32 = _scores(name, scale, IMAGES if name == "cosine" else 300).mean(1)
    assert len(in_float32.unique()) > 0.99 * len(in_float32), "the ties are half precision's"


def _read(authors, name):
    lines = (authors / f"tid2013_{FILES[name]}.csv").read_text().splitlines()[1:]
    return np.array([float(line.rpartition(",")[2]) for line in lines])


@pytest.mark.parametrize("name", FILES)
def test_the_published_scores_are_on_that_grid(name, authors):
    """The sum over tiles is a multiple of float16's step."""
    scores = _read(authors, name)
    assert (len(np.unique(scores)), (scores == 0).sum(), (scores < 0).sum()) == PUBLISHED[name]
    assert np.median(scores) == pytest.approx(MEDIANS[name], rel=1e-4)  # as written down here
    multiples = scores * TILES / STEPS[name]
    np.testing.assert_allclose(multiples, multiples.round(), rtol=1e-15, atol=0)  # float64's, of the mean
