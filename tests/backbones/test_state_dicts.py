import os
import pickle
import subprocess
import sys
import warnings
import zipfile

import pytest
import safetensors.torch
import torch
from fuzz import damaged, fuzz
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from zsiqa.backbones.state_dicts import MOST_GROWTH, load_strictly, read_state_dict
from zsiqa.types import WeightsError


@pytest.mark.filterwarnings("ignore")  # sparse tensors and quantization are about to change
@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("change", [
    lambda weight: weight.to(torch.complex64), lambda weight: weight.to_sparse(),
    lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), lambda weight: weight.to("meta"),
    # a petabyte of one number
    lambda weight: weight[0, 0].expand(10**6, 10**9)],
    ids=["complex", "sparse", "quantized", "without numbers", "repeated"])
def test_tensors_that_are_not_plain_are_refused(change, legacy, tmp_path):
    """PyTorch would drop the imaginary part, and fail in its own words for the others."""
    file = tmp_path / "weights.pth"
    torch.save({"bias": torch.ones(3), "weight": change(torch.ones(3, 2))}, file,
               _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=rf"^{file}: expected parameter names with real, dense tensors, "
                                           r"found 'weight' \(torch.*\); save `model.state_dict\(\)` alone"):
        read_state_dict(file)


def test_complex_safetensors_are_refused(tmp_path):
    safetensors.torch.save_file({"weight": torch.ones(2, dtype=torch.complex64)}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="complex64"):
        read_state_dict(tmp_path / "a.safetensors")


def test_names_must_be_text(tmp_path):
    torch.save({1: torch.ones(2)}, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match="expected parameter names with real, dense tensors, found 1 "):
        read_state_dict(tmp_path / "weights.pth")


@pytest.mark.parametrize("kind", ["weights.pth", "script.pt"])
def test_archives_that_grow_are_refused_before_they_are_unpacked(kind, tmp_path, monkeypatch):
    file = tmp_path / kind
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}))
        if kind == "script.pt":
            archive.writestr("a/constants.pkl", pickle.dumps(()))
        archive.writestr("a/data/0", bytes(MOST_GROWTH // 2))
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    monkeypatch.setattr(torch, "load", lambda *_, **__: {})
    if kind == "weights.pth":
        assert read_state_dict(file) == {}, "half of the permitted growth"
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data/1", bytes(MOST_GROWTH // 2 + 2**20))
    with pytest.raises(WeightsError, match=rf"^{file}: expected uncompressed tensors, but 0.3 MB would "
                                           r"unpack to 269.5 MB; save `model.state_dict\(\)` again"):
        read_state_dict(file)


@pytest.mark.slow
@pytest.mark.parametrize("pickled", [b"\x80\2}r\xff\xff\xff\x7f.", b"\x80\5\x96\0\0\0\0\x10\0\0\0."],
                         ids=["memo", "bytearray"])
def test_a_number_in_a_pickle_takes_no_memory(pickled, tmp_path):
    """In a process with 8 GB of addresses: one number asks for 16 GB and more."""
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("a/constants.pkl", b"")
        archive.writestr("a/data.pkl", pickled)
    code = ("import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33)); "
            "from pathlib import Path; from zsiqa.backbones.state_dicts import read_state_dict; "
            "read_state_dict(Path(sys.argv[1]))")
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "script.pt"], stderr=subprocess.PIPE,
                          text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert "WeightsError" in done.stderr.splitlines()[-1]
    assert "MemoryError" not in done.stderr


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["a.safetensors", "zip.pth", "legacy.pth", "script.pt"])
def test_damaged_files_are_weights_or_one_error(kind, tmp_path):
    """An error that names the file, or tensors that PyTorch can load or refuse by name and shape."""
    model, file = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), tmp_path / kind
    if kind == "script.pt":
        with warnings.catch_warnings(action="ignore"):  # TorchScript is on its way out
            torch.jit.script(model).save(file)
    elif kind == "a.safetensors":
        safetensors.torch.save_file(model.state_dict(), file)
    else:
        torch.save(model.state_dict(), file, _use_new_zipfile_serialization=kind == "zip.pth")
    whole = file.read_bytes()
    load_strictly(model, {name: value for name, value in read_state_dict(file).items() if name != "training"},
                  source=str(file))

    @fuzz(100)
    @given(st.data())
    def read(data):
        file.write_bytes(data.draw(damaged(whole)))
        error = str(file)
        try:
            load_strictly(model, read_state_dict(file), source=str(file))
        except WeightsError as caught:
            error = str(caught)
        assert error.startswith(str(file))

    read()
