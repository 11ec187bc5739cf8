"""Arithmetic in a chosen precision, whatever the calling program has set."""

import pytest
import torch

from zsiqa.scoring.precision import arithmetic

BACKENDS = torch.backends
NEW = hasattr(BACKENDS, "fp32_precision")  # from PyTorch 2.9 on


def set_all(precision):
    BACKENDS.fp32_precision = precision


CALLERS = {
    "nothing": lambda: None,
    "old: high": lambda: torch.set_float32_matmul_precision("high"),
    "old: medium": lambda: torch.set_float32_matmul_precision("medium"),
    "old: cudnn": lambda: setattr(BACKENDS.cudnn, "allow_tf32", False),
    "new: all": lambda: set_all("tf32"),
    "new: matmul": lambda: setattr(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "new: conv": lambda: setattr(BACKENDS.cudnn.conv, "fp32_precision", "ieee"),
    "new: CPU": lambda: setattr(BACKENDS.mkldnn.matmul, "fp32_precision", "bf16"),
}


def switches():
    """The new switches (the older ones without them), as they take effect."""
    if not NEW:
        return {"matmul": BACKENDS.cuda.matmul.allow_tf32, "cudnn": BACKENDS.cudnn.allow_tf32}
    return {(str(library), name): getattr(library, name).fp32_precision
            for library, names in ((BACKENDS.cuda, ["matmul"]), (BACKENDS.cudnn, ["conv", "rnn"]),
                                   (BACKENDS.mkldnn, ["matmul", "conv", "rnn"])) for name in names}


@pytest.fixture(params=CALLERS)
def caller(request):
    """A program that has set PyTorch's switches its own way."""
    if request.param.startswith("new") and not NEW:
        pytest.skip("this PyTorch has no fp32_precision")
    libraries = [BACKENDS.cudnn, BACKENDS.mkldnn] if NEW else []
    kept = [(one, one.fp32_precision) for one in (
        *([BACKENDS, BACKENDS.cuda.matmul] if NEW else []), *libraries,
        *(getattr(library, name) for library in libraries for name in ("matmul", "conv", "rnn")
          if hasattr(library, name)))]
    old = torch.get_float32_matmul_precision(), BACKENDS.cudnn.allow_tf32
    CALLERS[request.param]()
    yield
    torch.set_float32_matmul_precision(old[0])
    BACKENDS.cudnn.allow_tf32 = old[1]
    for one, precision in kept:
        one.fp32_precision = precision


@pytest.mark.usefixtures("caller")
def test_switches_are_set_inside_and_as_before_outside():
    before = switches()
    with arithmetic("fp32", "cpu"):
        assert set(switches().values()) <= {"ieee", False}
        assert torch.get_float32_matmul_precision() == "highest"  # old and new agree, or this would raise
    with arithmetic("tf32", "cpu"):
        assert BACKENDS.cuda.matmul.allow_tf32
        assert BACKENDS.cudnn.allow_tf32
    assert switches() == before


@pytest.mark.usefixtures("caller")
def test_products_and_convolutions_are_those_of_float32(device):
    random = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=random, dtype=torch.float64).to(device) for _ in range(2))
    image = torch.randn(4, 32, 40, 40, generator=random, dtype=torch.float64).to(device)
    kernel = torch.randn(32, 32, 3, 3, generator=random, dtype=torch.float64).to(device)

    def error(precision):
        with arithmetic(precision, device):
            pairs = ((a.float() @ b.float(), a @ b),
                     (torch.conv2d(image.float(), kernel.float()), torch.conv2d(image, kernel)))
        return max(((found - exact).abs().max() / exact.abs().max()).item() for found, exact in pairs)

    # Sums of some 300 products, each rounded to 6e-8, and at most 2^5 times the largest; TF32 has 11 bits of
    # mantissa, bf16 has 8: 5e-4 and 4e-3 for each factor.
    assert error("fp32") < 2e-6
    if device == "cuda" and torch.cuda.get_device_capability() >= (8, 0):
        assert error("tf32") > 2e-5, "TF32 is in use where it was asked for"
