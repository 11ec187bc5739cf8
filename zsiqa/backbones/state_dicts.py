"""Read a state dict from a file, convert it to a model's key names and shapes, load it strictly."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from zsiqa.backbones.torchscript import is_torchscript, read_torchscript
from zsiqa.types import WeightsError

StateDict = Mapping[str, Tensor]
# Permitted growth of an archive as it is unpacked, in bytes. PyTorch stores tensors uncompressed; what it
# compresses, the code and debugging text of TorchScript, is some megabytes.
MOST_GROWTH = 2**28


def read_state_dict(file: Path) -> StateDict:
    """Read `.safetensors`, a PyTorch file of plain tensors, or a TorchScript archive (whose code is not run).

    Arbitrary objects are never unpickled.

    Raises:
        WeightsError: if the file is damaged, is not a mapping of names to real, dense tensors, or would grow
            as it is unpacked.
    """
    try:
        _check_growth(file)
        state = (safetensors.torch.load_file(file) if file.suffix == ".safetensors" else
                 read_torchscript(file) if is_torchscript(file) else
                 torch.load(file, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{file}: expected a state dict, but the file is damaged or holds more than plain "
                           f"tensors, which is never loaded; save `model.state_dict()` alone") from error
    # Errors that torch and safetensors raise for files that hold no weights.
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError,
            AttributeError, AssertionError, ArithmeticError, MemoryError, StopIteration, struct.error,
            zipfile.BadZipFile, zlib.error) as error:
        raise WeightsError(f"{file}: expected a state dict (.safetensors, or a .pth of plain tensors), but "
                           f"reading it failed ({type(error).__name__})") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{file}: expected a mapping of parameter names to tensors, found a "
                           f"{type(state).__name__}; save `model.state_dict()` alone")
    for name, value in state.items():
        if not (isinstance(name, str) and _is_plain(value)):
            found = (f"{value.dtype}, {value.layout}, {value.device}" if isinstance(value, Tensor)
                     else type(value).__name__)
            raise WeightsError(f"{file}: expected parameter names with real, dense tensors, found {name!r} "
                               f"({found}); save `model.state_dict()` alone, of a model with such weights")
    return state


def _check_growth(file: Path) -> None:
    """Refuse an archive that would need far more memory than disk, from the sizes in its directory."""
    if not zipfile.is_zipfile(file):
        return
    size = file.stat().st_size
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked - size > MOST_GROWTH:
        raise WeightsError(f"{file}: expected uncompressed tensors, but {size / 1e6:,.1f} MB would unpack to "
                           f"{unpacked / 1e6:,.1f} MB; save `model.state_dict()` again with torch.save")


def _is_plain(value: object) -> bool:
    """Return whether a value is a real, dense tensor in memory that does not repeat its bytes many times."""
    return (isinstance(value, Tensor) and value.layout is torch.strided and not value.is_nested
            and value.device.type == "cpu" and not (value.is_complex() or value.is_quantized)
            and value.nbytes - value.untyped_storage().nbytes() <= MOST_GROWTH)


def load_strictly(model: nn.Module, state: StateDict, *, source: str) -> None:
    """Load `state` into `model`; every name and shape must match.

    Raises:
        WeightsError: if an entry is missing, unexpected or of another shape; the message names the first of
            each.
    """
    own = model.state_dict()
    wrong_shape = [f"{name} is {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
                   for name in own if name in state and own[name].shape != state[name].shape]
    problems = [f"{len(names)} {kind}, e.g. {names[0]}"
                for kind, names in (("missing", [name for name in own if name not in state]),
                                    ("unexpected", [name for name in state if name not in own]),
                                    ("of another shape", wrong_shape)) if names]
    if problems:
        raise WeightsError(f"{source} does not fit {type(model).__name__} ({len(own)} entries): "
                           f"{'; '.join(problems)}. Expected the key names of the library or of the original")
    try:
        model.load_state_dict(state)
    except (RuntimeError, AttributeError) as error:  # numbers or versions that PyTorch cannot copy
        raise WeightsError(f"{source} does not fit {type(model).__name__}: {error}; save "
                           f"`model.state_dict()` again") from error


def efficientnet_lite0_to_timm(state: StateDict) -> StateDict:
    """Rename the keys of `efficientnet-lite-pytorch`'s Lite0 to those of timm's `tf_efficientnet_lite0`.

    Both have the same 16 blocks; the former numbers them from 0 to 15, timm numbers them within each stage.
    The first block has no expansion layer, which shifts timm's names of its later layers by one: its `_bn1`
    is `bn1`, in other blocks it is `bn2`. A state dict with timm's names is returned unchanged.

    Raises:
        WeightsError: if a name belongs to no layer of Lite0.
    """
    if "_conv_stem.weight" not in state:
        return state
    blocks_per_stage = (1, 2, 2, 3, 3, 4, 1)
    blocks = [f"blocks.{stage}.{block}"
              for stage, count in enumerate(blocks_per_stage) for block in range(count)]
    outside_blocks = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2",
                      "_fc": "classifier"}
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    other = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
             "_project_conv": "conv_pwl", "_bn2": "bn3"}

    def rename(name: str) -> str:
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            index = int(match[1])
            return f"{blocks[index]}.{(other if index else first)[match[2]]}.{match[3]}"
        layer, _, tensor = name.partition(".")
        return f"{outside_blocks[layer]}.{tensor}"

    try:
        return {rename(name): tensor for name, tensor in state.items()}
    except (KeyError, IndexError) as error:
        raise WeightsError(f"not the weights of EfficientNet-Lite0: no place for {error}") from error


# Entries of open_clip's and OpenAI's files beside the visual tower: the text tower, CoCa's decoder, the scale
# of the logits, and three numbers in OpenAI's archives.
_TEXT = re.compile(r"(transformer|token_embedding|ln_final|text|text_decoder|text_projection)\..+|"
                   r"text_projection|positional_embedding|logit_scale|logit_bias|"
                   r"input_resolution|context_length|vocab_size")


def visual_tower(state: StateDict) -> StateDict:
    """Extract the image encoder from the state dict of a CLIP model, under the encoder's own names.

    OpenAI and open_clip use the same names: `visual.` and the encoder's name. A state dict without any such
    name is taken as one of the encoder alone and returned unchanged. (Its names are not checked here: both
    towers have a `transformer`.)

    Raises:
        WeightsError: if there are entries that belong to neither tower.
    """
    if not any(name.startswith("visual.") for name in state):
        return state
    rest = [name for name in state if not name.startswith("visual.") and not _TEXT.fullmatch(name)]
    if rest:
        raise WeightsError(f"not the weights of a CLIP model: {len(rest)} entries belong neither to its "
                           f"visual nor to its text tower, e.g. {rest[0]}")
    return {name.removeprefix("visual."): tensor for name, tensor in state.items()
            if name.startswith("visual.")}


def resample_position_like_hf_4_44(state: StateDict, *, grid: int = 16) -> StateDict:
    """Resample DINOv2's position embedding to `grid` x `grid` patches like HF transformers up to 4.44.

    Bicubic, no antialiasing, by a *scale factor* of (grid + 0.1) / (old grid): the rule at the time of the
    paper's scores (August 2024). transformers 4.45 and timm each resample differently, which changes the
    features by 1 % to 2 %. A position embedding of the right size is returned unchanged.
    """
    if "pos_embed" not in state:  # load_strictly will report it
        return state
    position = state["pos_embed"]  # 1, 1 + old^2, D
    old = round((position.shape[1] - 1) ** 0.5) if position.ndim == 3 else grid
    if old == grid or position.shape[:2] != (1, 1 + old * old):  # another form: load_strictly will report it
        return state
    patches = position[:, 1:].float().reshape(1, old, old, -1).permute(0, 3, 1, 2)  # 1, D, old, old
    scale = (grid + 0.1) / old
    patches = F.interpolate(patches, scale_factor=(scale, scale), mode="bicubic", align_corners=False)
    resampled = torch.cat([position[:, :1], patches.flatten(2).mT], dim=1)  # 1, 1 + grid^2, D
    return {**state, "pos_embed": resampled}
