"""Convert state dicts of ViTs from the key names of Hugging Face or Facebook to timm's.

Source of the names: transformers' ViT and DINOv2 as of 4.44, whose names the files on the hub keep (5.x
translates them when it loads and saves); facebookresearch/dino and /dinov2, whose names timm uses too.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from zsiqa.backbones.state_dicts import StateDict, resample_position_like_hf_4_44

_OUTSIDE_BLOCKS = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
    "classifier": "head",
}
_IN_BLOCKS = {
    "attention.output.dense": "attn.proj",
    "layernorm_before": "norm1",  # ViT
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "norm1": "norm1",  # DINOv2
    "norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}
_PROJECTIONS = ("query", "key", "value")  # in the order in which timm joins them


def vit_to_timm(state: StateDict) -> StateDict:
    """Convert the state dict of a ViT or DINOv2 to timm's names.

    - From Hugging Face's names, with or without the prefix `vit.` or `dinov2.`: entries are renamed, and each
      block's query, key and value, (D, D) and (D,), are joined into timm's `qkv`, (3 D, D) and (3 D,). The
      pooler is left out: no feature depends on it.
    - From Facebook's names, which are timm's except for `mask_token`. Only training needs this entry (Hugging
      Face's DINOv2 has it too); it is left out.
    - timm's names are unchanged.

    An entry without a counterpart keeps its name, e.g. the query and key of a block without `value`.
    `load_strictly` then reports it as unexpected, and timm's entry as missing.
    """
    if not any(name.endswith("embeddings.patch_embeddings.projection.weight") for name in state):
        return {name: tensor for name, tensor in state.items() if name != "mask_token"}
    converted: dict[str, Tensor] = {}
    for name, tensor in state.items():
        bare = re.sub(r"^(vit|dinov2)\.", "", name)
        if bare != "embeddings.mask_token" and not bare.startswith("pooler."):
            renamed = _renamed(bare)
            # Of two entries with one new name, the second keeps its old name: load_strictly will report it.
            converted[name if renamed in converted else renamed or name] = tensor
    for name in list(converted):
        if query := re.search(r"encoder\.layer\.(\d+)\.attention\.attention\.query\.(weight|bias)$", name):
            names = [name.replace(".query.", f".{part}.") for part in _PROJECTIONS]
            shapes = {converted[part].shape if part in converted else None for part in names}
            if len(shapes) == 1 and shapes != {torch.Size()}:
                joined = torch.cat([converted.pop(part) for part in names])
                converted[f"blocks.{query[1]}.attn.qkv.{query[2]}"] = joined
    return converted


def dinov2_to_timm(state: StateDict, *, grid: int = 16) -> StateDict:
    """Apply `vit_to_timm`, and resample the position embedding to `grid` x `grid` patches like HF 4.44.

    Hugging Face's classifier, whose input is the CLS token and the mean of the others, has no counterpart in
    timm and is left out.
    """
    state = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    return resample_position_like_hf_4_44(vit_to_timm(state), grid=grid)


def _renamed(name: str) -> str | None:
    """Return timm's name for a name of Hugging Face's (without the model's prefix); None if there is none."""
    block = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", name)
    prefix, layer, names = ((f"blocks.{block[1]}.", block[2], _IN_BLOCKS) if block
                            else ("", name, _OUTSIDE_BLOCKS))
    module, _, tensor = layer.rpartition(".")
    if tensor in ("weight", "bias") and module in names:
        return f"{prefix}{names[module]}.{tensor}"
    return prefix + names[layer] if layer in names else None
