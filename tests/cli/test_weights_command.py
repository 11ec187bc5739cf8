"""`zsiqa weights` on machines that have some weights, all of them, or damaged ones."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from zsiqa.cli.main import main

TINY = ["timm", "backbone.model_name=test_vit.r160_in1k"]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without weights and without internet; a function that puts weights into its hub cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def put(repository, content):
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        link = folder / "snapshots" / ("a" * 40) / "model.safetensors"
        for file in (blob, link, folder / "refs" / "main"):
            file.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.symlink_to(blob)
        (folder / "refs" / "main").write_text("a" * 40)
        return blob

    return put


def tiny_weights():
    torch.manual_seed(0)
    return safetensors.torch.save(timm.create_model("test_vit.r160_in1k").state_dict())


def test_list_says_what_is_here(machine, capsys):
    machine("timm/vit_base_patch16_224.dino", b"weights")
    assert main(["weights", "list"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert rows["dinov1"] == ["here", "6.68e-06", "MiB", "timm/vit_base_patch16_224.dino", "Apache-2.0"]
    assert rows["dinov2"][:4] == ["missing", "330", "MiB", "timm/vit_base_patch14_dinov2.lvd142m"]
    assert rows["efficientnet_lite0"][0] == "here", "it ships inside a package"
    squeezenet = "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"
    assert rows["deepwsd_squeezenet1_1"][:4] == ["missing", "4.7", "MiB", squeezenet]
    assert rows["deepwsd_squeezenet1_1"][4:] == ["BSD-3-Clause", "(torchvision)"]
    assert all("MiB" in row for name, row in rows.items() if name != "NAME"), "configs/weights.yaml has all"
    assert {"dists", "lpips_alex", "lpips_vgg", "stlpips_alex"} <= rows.keys()
    assert not {"timm", "open_clip", "none", "all", "psnr"} & rows.keys(), "any model, or without weights"


def test_fetch_goes_on_after_a_failure_and_says_what_to_do(machine, capsys):
    machine("timm/vit_base_patch16_224.dino", b"weights")
    assert main(["weights", "fetch", "dinov2", "dinov1", "vgg19"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("dinov1: ")
    assert ("error: dinov2: model.safetensors of timm/vit_base_patch14_dinov2.lvd142m is not in the Hugging "
            "Face" in err)
    assert err.count("HF_HUB_OFFLINE forbids downloads") == 2
    assert err.endswith("2 could not be fetched: dinov2 vgg19\n")
    assert main(["weights", "fetch", "dinov1"]) == 0


def test_path_for_scripts(machine, capsys):
    machine("timm/vit_base_patch16_224.dino", b"weights")
    assert main(["weights", "path", "dinov1"]) == 0
    assert Path(capsys.readouterr().out.strip()).read_bytes() == b"weights"
    assert main(["weights", "path", "dinov1", "imagenet_vit"]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert err == "error: imagenet_vit: not on this machine; zsiqa weights fetch imagenet_vit\n"


@pytest.mark.slow
def test_verify(machine, capsys):
    blob = machine("timm/test_vit.r160_in1k", tiny_weights())
    assert main(["weights", "verify", "--load", *TINY]) == 0
    assert f"test_vit.r160_in1k: ok, loads  {blob.name}" in capsys.readouterr().out
    blob.write_bytes(blob.read_bytes()[:-1])
    assert main(["weights", "verify", "--load", *TINY]) == 1
    assert f"DAMAGED, should begin with {blob.name}" in capsys.readouterr().out
    assert main(["weights", "verify"]) == 0, "what was not asked for may be missing"
    out = capsys.readouterr().out
    assert "efficientnet_lite0: ok (only 8 digits are published)  57934424" in out
    assert "dinov1: missing" in out
    assert main(["weights", "verify", "dinov1"]) == 1


def test_verify_load_refuses_weights_of_another_model(machine, capsys):
    machine("timm/test_vit.r160_in1k", safetensors.torch.save({"nothing": torch.zeros(1)}))
    assert main(["weights", "verify", "--load", *TINY]) == 1
    assert "DOES NOT LOAD" in capsys.readouterr().out


@pytest.mark.usefixtures("machine")
def test_baselines_have_weights_too(capsys, tmp_path):
    assert main(["weights", "verify", "--load", "stlpips_alex"]) == 0, "they ship inside a package"
    assert ", loads  " in capsys.readouterr().out
    assert main(["weights", "fetch", "lpips_alex"]) == 1
    assert "alexnet-owt-7be5be79.pth is not in" in capsys.readouterr().err
    damaged = tmp_path / "torch" / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"junk")
    assert main(["weights", "fetch", "lpips_alex"]) == 1
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("names", "message"), [
    (["nobody"], "no backbone or baseline nobody; there are all, clip_convnext"),
    (["lpips_vg"], "no backbone or baseline lpips_vg (did you mean lpips_vgg?); there are "),
    (["timm"], "timm is any model: say which, as in: timm backbone.model_name=NAME"),
    (["backbone.model_name=resnet18"], "of which backbone?"),
    (["psnr"], "psnr has no weights"),
    (["dinov1", "backbone.pretrained=false"], "dinov1 has no weights"),
])
def test_names_that_are_not_enough(names, message, capsys):
    assert main(["weights", "fetch", *names]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_nothing_but_loading_needs_torch(tmp_path):
    code = ("import sys; from zsiqa.cli.main import main; main(['weights', 'list']); sys.exit('torch' in "
            "sys.modules)")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True,
                   env={**os.environ, "HF_HUB_OFFLINE": "1"})
