"""Every distance against an independent implementation of docs/protocol.md section 5: plain loops, NumPy,
float64."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from zsiqa import distances
from zsiqa.distances import columns, comparison

pytestmark = pytest.mark.numeric

OURS = {"l2": distances.L2, "cosine": distances.Cosine, "skld": distances.SKLD, "jsd": distances.JSD,
        "wsd": distances.WSD}
VIT16, VIT32, VIT14 = (3, 197, 768), (3, 50, 768), (2, 257, 768)


def _reference_padded(layer_stack):
    """(C, H, W) to multiples of 8, at least 8: rows at the end, columns at the left; a negative padding
    crops."""
    _, height, width = layer_stack.shape
    rows, columns = (max(8, round(side / 8) * 8) for side in (height, width))
    out = np.zeros((layer_stack.shape[0], rows, columns))
    for row in range(min(height, rows)):
        kept = layer_stack[:, row, max(0, width - columns):]
        out[:, row, columns - kept.shape[-1]:] = kept
    return out


def _reference_columns(layer_stack):
    return _reference_padded(layer_stack).ravel().reshape(64, -1)


def _softmax(values, axis):
    exponentials = np.exp(values - values.max(axis, keepdims=True))
    return exponentials / exponentials.sum(axis, keepdims=True)


def _weight(k):
    return 1 / (np.sqrt(np.exp(-1 / (k + 10))) * (k + 10) ** 2)


def _reference_map_value(name, x, y):
    """x of the distorted, y of the reference, (64, M)."""
    if name == "wsd":
        support = np.repeat(np.arange(64.0)[:, None], x.shape[1], axis=1)
        ot = pytest.importorskip("ot", reason="POT is not installed")  # as on a machine that only has a GPU
        k = ot.wasserstein_1d(support, support, _softmax(x, 1), _softmax(y, 1), p=1)
    else:
        p, q = _softmax(x, 0) + 1e-10, _softmax(y, 0) + 1e-10
        if name == "skld":
            k = ((p * np.log(p / q)).sum(0) + (q * np.log(q / p)).sum(0)) / 2
        else:
            middle = np.log((p + q) / 2 + 1e-17)
            k = ((p * (np.log(p) - middle)).sum(0) + (q * (np.log(q) - middle)).sum(0)) / 2
    return (k if name == "jsd" else k + ((x - y) ** 2).sum(0) * _weight(k)).mean()


def _reference_distribution(name, dis_maps, ref_maps):
    values = [_reference_map_value(name, _reference_columns(d), _reference_columns(r))
              for d, r in zip(dis_maps, ref_maps, strict=True)]
    return math.log(1 + sum(values) / len(values)) ** 0.25


def _reference_l2(dis_layers, ref_layers):
    return sum(((d - r) ** 2).mean() for d, r in zip(dis_layers, ref_layers, strict=True))


def _reference_cosine(dis_layers, ref_layers):
    total = 0.0
    for d, r in zip(dis_layers, ref_layers, strict=True):
        norms = np.linalg.norm(d, axis=-1) * np.linalg.norm(r, axis=-1)
        counted = norms > 0  # of a ReLU network, many rows are all zero
        total += (1 - np.einsum("...i,...i", d, r)[counted] / norms[counted]).mean() if counted.any() else 0.0
    return total


# Features of one tile under one name a distance: (distorted, reference), each (L, N, D) in float64.
SCORES = {
    "l2": _reference_l2, "cosine": _reference_cosine,
    **{name: partial(lambda name, dis, ref: _reference_distribution(name, [dis], [ref]), name)
       for name in ("skld", "jsd", "wsd")},
}


def make_features(shapes, seed=0, noise=0.3, scale=1.0):
    """(ref, dis): float32 stacks of 2 tiles; tile 1 is a milder distortion of the same reference."""
    random = torch.Generator().manual_seed(seed)
    ref = tuple(scale * torch.randn((1, *shape), generator=random).repeat(2, *[1] * len(shape))
                for shape in shapes)
    dis = tuple(stack + scale * noise * torch.tensor([1.0, 0.1]).view(2, *[1] * (stack.ndim - 1))
                * torch.randn(stack.shape, generator=random) for stack in ref)
    return ref, dis


def on(device, *images):
    """The features of several images, on the device."""
    return [tuple(stack.to(device) for stack in features) for features in images]


def numpy_maps(features, tile):
    """The maps (C, H, W) of one tile: a token stack (L, N, D) is one, a CNN stack (L, C, H, W) holds L."""
    maps = []
    for stack in features:
        array = stack[tile].double().numpy()
        maps.extend([array] if array.ndim == 3 else list(array))
    return maps


def numpy_layers(features, tile):
    return [layer for stack in features for layer in stack[tile].double().numpy()]


def score(name, dis, ref, tile):
    """The score of one tile of `Features`."""
    if name in ("l2", "cosine"):
        return SCORES[name](numpy_layers(dis, tile), numpy_layers(ref, tile))
    return _reference_distribution(name, numpy_maps(dis, tile), numpy_maps(ref, tile))


@pytest.mark.parametrize("name", ["skld", "jsd", "wsd"])
@pytest.mark.parametrize("shapes",
                         [[VIT16], [VIT32], [VIT14], [(1, 16, 28, 28), (2, 24, 14, 14), (1, 40, 7, 7)]],
                         ids=["197 tokens", "50 tokens", "257 tokens", "CNN maps"])
def test_distribution_distances(name, shapes, device):
    ref, dis = make_features(shapes)
    values = OURS[name]()(*on(device, ref, dis)).cpu()
    for tile in range(2):
        expected = score(name, dis, ref, tile)
        # float32 against float64: sums of about 1e4 terms with rounding 6e-8 each, under a fourth root.
        assert values[tile].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["skld", "jsd", "wsd"])
@pytest.mark.parametrize("scale", [8.0, 60.0])
def test_distribution_distances_of_large_features(name, scale):
    """The softmax saturates (probabilities of 1 and 0): finite, and still the definition."""
    ref, dis = make_features([(1, 48, 64)], scale=scale, noise=1.0)
    values = OURS[name]()(ref, dis)
    expected = score(name, dis, ref, tile=0)
    assert values[0].item() == pytest.approx(expected, rel=2e-5)  # exp() of 100 loses two digits in float32


@pytest.mark.parametrize("name", ["skld", "jsd", "wsd"])
def test_distribution_distances_of_nearly_equal_features(name):
    """Noise 1e-4: the textbook form of JSD would be all rounding error here in float32."""
    ref, dis = make_features([(2, 48, 64)], noise=1e-4)
    values = OURS[name]()(ref, dis)
    expected = score(name, dis, ref, tile=0)
    assert values[0].item() == pytest.approx(expected, rel=ERROR)


EVERY_COLUMN_DISTANCE = [
    *(kind(softmax_over=over) for kind in (distances.SKLD, distances.JSD, distances.WSD)
      for over in ("samples", "columns")),
    distances.SKLD(epsilon=1e-17), distances.JSD(euclidean_term=True),
    distances.WSD(order=2, weights="energy"),
]
# Largest relative error of a score that is computed in float32, on any instruction set. Between features that
# differ by 1e-4, p - q is resolved to 6e-8 / 1e-4 = 6e-4 in each of 64 samples, at random; the sum over
# thousands of columns and the fourth root leave 1e-6. Measured: 2.3e-6 at most (JSD, noise 1e-4), on AVX2 and
# without vectors.
ERROR = 1e-5
# Of WSD, whose softmax is over all columns. One unit in the last place of the features below changes it by up
# to 2e-5. Measured: 2.1e-5 at most, with 12 seeds, on AVX-512, AVX2 and without vectors.
WSD_ERROR = 5e-5


@pytest.mark.parametrize("distance", EVERY_COLUMN_DISTANCE, ids=repr)
@pytest.mark.parametrize("noise", [1e-3, 1])  # of the first tile; the second has a tenth of it
@pytest.mark.parametrize("shape", [VIT32, (1, 64, 56, 56), (2, 512, 14, 14), (1, 1, 1024)], ids=str)
def test_error_of_float32(distance, noise, shape):
    """Against the same formula in float64. Few or many columns, nearly equal features or not."""
    ref, dis = make_features([shape], noise=noise)
    # energies are not negative
    ref, dis = (tuple(stack.abs() for stack in features) for features in (ref, dis))
    expected = distance(*(tuple(stack.double() for stack in features) for features in (ref, dis)))
    error = WSD_ERROR if distance == distances.WSD() else ERROR
    torch.testing.assert_close(distance(ref, dis).double(), expected, rtol=error, atol=0)


def test_wsd_of_nearly_equal_maps_is_not_the_rounding_of_its_normaliser():
    """Noise 1e-5 in the second tile. One unit in the last place of these features changes WSD by up to 1e-4,
    rounded normalisers by at least 4e-3; measured with four seeds, on AVX-512, AVX2 and without vectors."""
    ref, dis = (tuple(stack.relu() for stack in features)
                for features in make_features([(1, 64, 112, 112)], noise=1e-4))
    expected = distances.WSD()(*(tuple(stack.double() for stack in features) for features in (ref, dis)))
    torch.testing.assert_close(distances.WSD()(ref, dis).double(), expected, rtol=5e-4, atol=0)


@pytest.mark.parametrize("shapes", [[VIT16], [(1, 16, 28, 28), (2, 24, 14, 14)], [(1, 1, 512)]])
def test_l2_and_cosine(shapes, device):
    ref, dis = make_features(shapes)
    for tile in range(2):
        for name in ("l2", "cosine"):
            found = OURS[name]()(*on(device, ref, dis))[tile].item()
            assert found == pytest.approx(score(name, dis, ref, tile), rel=1e-5)


def test_cosine_over_channels():
    ref, dis = make_features([(2, 24, 14, 10)])
    expected = _reference_cosine(*(np.moveaxis(f[0][0].double().numpy(), 1, -1) for f in (dis, ref)))
    assert OURS["cosine"](axis="channel")(ref, dis)[0].item() == pytest.approx(expected, rel=1e-5)
    assert OURS["cosine"]()(ref, dis)[0].item() != pytest.approx(expected, rel=1e-3)


def test_cosine_agrees_with_torch_and_leaves_zero_vectors_out():
    ref, dis = make_features([(1, 6, 8)])
    ref[0][0, 0, 1] = dis[0][0, 0, 2] = ref[0][0, 0, 3] = dis[0][0, 0, 3] = 0
    expected = 1 - torch.nn.functional.cosine_similarity(ref[0], dis[0], dim=-1)[:, 0]  # tiles, tokens
    expected = torch.stack([expected[0, [0, 4, 5]].mean(), expected[1].mean()])
    # torch's own 1 - cos
    torch.testing.assert_close(OURS["cosine"]()(ref, dis), expected, rtol=1e-6, atol=1e-7)
    zero = torch.zeros(1, 1, 6, 8)
    assert OURS["cosine"]()((zero,), (zero,)).item() == 0
    assert OURS["cosine"]()((zero * math.nan,), (zero,)).isnan().all(), "what is not a number is not hidden"


@pytest.mark.parametrize(("name", "option"),
                         [("cosine", {"axis": "channels"}), ("wsd", {"softmax_over": "rows"}),
                                              ("jsd", {"padding": "down"}), ("skld", {"windows": "round"})])
def test_unknown_options_are_refused(name, option):
    ref, dis = make_features([(1, 8, 8)])
    with pytest.raises(ValueError, match="must be .* or .*, found"):
        OURS[name](**option)


def test_jsd_with_euclidean_term():
    ref, dis = make_features([(2, 16, 64)])
    x, y = (_reference_columns(f[0][0].double().numpy()) for f in (dis, ref))
    p, q = _softmax(x, 0) + 1e-10, _softmax(y, 0) + 1e-10
    k = ((p * np.log(2 * p / (p + q))).sum(0) + (q * np.log(2 * q / (p + q))).sum(0)) / 2
    value = (k + ((x - y) ** 2).sum(0) * _weight(k)).mean()
    found = OURS["jsd"](euclidean_term=True)(ref, dis)[0].item()
    assert found == pytest.approx(math.log(1 + value) ** 0.25, rel=1e-5)


def test_wsd_by_hand():
    """One column; softmax over samples makes the masses equal. All mass from sample 0 to sample 63: distance
    63."""
    ref, dis = torch.full((1, 1, 8, 8), -1e4), torch.full((1, 1, 8, 8), -1e4)
    ref[0, 0, 0, 0] = dis[0, 0, 7, 7] = 0.0
    k, euclid = 63.0, 2e8
    expected = math.log(1 + k + euclid * _weight(k)) ** 0.25
    assert OURS["wsd"](softmax_over="samples")((ref,), (dis,)).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["skld", "jsd", "wsd"])
@pytest.mark.parametrize("shape", [(2, 50, 64), (1, 4, 28, 20)])
def test_padding_up_is_padding_by_hand(name, shape):
    """Zeros below and on the left, put there before: then nothing is left to round."""
    ref, dis = make_features([shape])
    rows, columns = (-side % 8 for side in shape[-2:])
    padded = [(torch.nn.functional.pad(features[0], (columns, 0, 0, rows)),) for features in (ref, dis)]
    up, nearest = OURS[name](padding="up"), OURS[name]()
    torch.testing.assert_close(up(ref, dis), nearest(*padded), rtol=0, atol=0)
    assert not torch.allclose(up(ref, dis), nearest(ref, dis), rtol=1e-4)


def test_columns_are_chunks_of_memory():
    stack = torch.arange(2 * 8 * 16, dtype=torch.float32).reshape(1, 2, 8, 16)
    found = columns.columns_of_64(stack)
    assert found.shape == (1, 1, 64, 4)
    assert found[0, 0, :, 1].tolist() == [4.0 * sample + 1 for sample in range(64)]


def test_spatial_windows_are_8_by_8():
    """(channel, row, column) as one number: a column of samples holds one window, in its channel."""
    stack = torch.arange(2 * 16 * 24, dtype=torch.float64).reshape(1, 2, 16, 24)
    found = columns.columns_of_64(stack, windows="spatial")
    assert found.shape == (1, 1, 64, 2 * 2 * 3)
    pixels = stack[0].numpy()
    windows = [pixels[c, y:y + 8, x:x + 8].ravel().tolist() for c in range(2) for y in (0, 8) for x
               in (0, 8, 16)]
    assert found[0, 0].T.tolist() == windows


@pytest.mark.parametrize(("shape", "padded"), [
    ((197, 768), (200, 768)), ((50, 768), (48, 768)), ((257, 768), (256, 768)), ((12, 12), (16, 16)),
    ((20, 20), (16, 16)), ((7, 7), (8, 8)), ((1, 1280), (8, 1280)), ((3, 3), (8, 8)),
])
def test_padding_goes_to_the_nearest_multiple_and_never_to_nothing(shape, padded):
    found = columns.columns_of_64(torch.ones(1, 1, *shape))
    assert found.numel() == padded[0] * padded[1]
    assert found.sum() == min(shape[0], padded[0]) * min(shape[1], padded[1])


STACKS = {"tokens": [(2, 50, 64)], "maps": [(1, 8, 14, 14), (2, 16, 7, 7)], "embedding": [(1, 1, 512)],
          "all tokens": [(1, 197, 64)]}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("shapes", STACKS.values(), ids=STACKS.keys())
def test_properties(name, shapes):
    distance = OURS[name]()
    ref, dis = make_features(shapes)
    values = distance(ref, dis)
    assert values.shape == (2,)
    assert torch.isfinite(values).all()
    assert values[0] > values[1] > 0, "the milder distortion is nearer"
    assert (distance(ref, ref) == 0).all(), "equal features have distance 0, exactly"
    alone = distance(tuple(s[1:] for s in ref), tuple(s[1:] for s in dis))
    torch.testing.assert_close(alone, values[1:], rtol=1e-6, atol=0)  # float32 sums may be split differently


SEVERAL = [distances.SKLD(), distances.L2(), distances.JSD(), distances.WSD(padding="up"), distances.Cosine(),
           distances.WSD(), distances.JSD(euclidean_term=True), distances.SKLD(softmax_over="columns"),
           distances.WSD(softmax_over="samples"), distances.WSD(order=2, weights="energy")]


@pytest.mark.parametrize("shapes", [*STACKS.values(), [(2, 50, 64), (1, 8, 14, 14), (2, 16, 7, 7)]],
                         ids=[*STACKS, "mixed"])
@pytest.mark.parametrize("elements", [64, 64 * 7, 2**13, 2**25])
def test_parts_and_company_do_not_matter(shapes, elements, monkeypatch):
    """One column at a time, a few, a map, all tiles at once; and each distance with others, or alone."""
    ref, dis = make_features(shapes)
    dis = tuple(stack.abs() for stack in dis)  # energies are of features that are not negative
    ref = tuple(stack.abs() for stack in ref)
    expected = torch.stack([distance(ref, dis) for distance in SEVERAL], dim=1)
    monkeypatch.setitem(columns.ELEMENTS_AT_ONCE, "cpu", elements)
    monkeypatch.setitem(comparison.TILES_AT_ONCE, "cpu", 16 * elements)
    found = distances.compare(SEVERAL, ref, dis)
    # sums in another order, under a fourth root
    torch.testing.assert_close(found, expected, rtol=2e-6, atol=0)


def test_columns_are_not_changed_by_those_who_share_them():
    """Each distance in turn comes first, so none may leave something behind for the next."""
    ref, dis = make_features([(2, 50, 64)])
    expected = distances.compare(SEVERAL, ref, dis)
    for first in range(1, len(SEVERAL)):
        turned = distances.compare([*SEVERAL[first:], *SEVERAL[:first]], ref, dis)
        assert torch.equal(turned, expected.roll(-first, dims=1))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("noise", [1e-3, 1])
def test_compiled_it_is_one_graph_and_the_same(scale, noise):
    """With a scale of 30, softmax saturates: p or q is negligible beside the other."""
    every = [make() for make in OURS.values()]
    compiled = torch.compile(distances.compare, fullgraph=True)
    random = torch.Generator().manual_seed(0)
    ref = tuple(scale * torch.randn(2, *shape, generator=random) for shape in ((3, 13, 64), (2, 4, 24, 40)))
    dis = tuple(stack + noise * scale * torch.randn(stack.shape, generator=random) for stack in ref)
    expected = distances.compare(every, tuple(map(torch.Tensor.double, ref)),
                                 tuple(map(torch.Tensor.double, dis)))
    for compare in (distances.compare, compiled):
        # As in the other tests, 1e-5 for sums of thousands of float32 values, each rounded to 6e-8.
        torch.testing.assert_close(compare(every, ref, dis).double(), expected, rtol=1e-5, atol=0)


@pytest.mark.slow
def test_compiled_it_has_the_same_gradients():
    """Of maps that are enlarged, and of maps that are cropped."""
    every = [make() for make in OURS.values()]
    ref, dis = (tuple(stack.double() for stack in features)
                for features in make_features([(1, 13, 64), (1, 4, 25, 27)]))
    gradients = []
    for compare in (distances.compare, torch.compile(distances.compare, fullgraph=True)):
        inputs = [stack.clone().requires_grad_() for stack in dis]
        gradients.append(torch.autograd.grad(compare(every, ref, tuple(inputs)).sum(), inputs))
    # float64 rounds at 1e-16; sums of thousands of terms, in another order.
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-11, atol=1e-15)
