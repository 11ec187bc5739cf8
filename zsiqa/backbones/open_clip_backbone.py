"""The image encoder of any model of open_clip as a frozen backbone: outputs of its blocks, image embedding.

Facts behind the settings of the paper's models: docs/protocol.md section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch
from open_clip.model import convert_weights_to_lp
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn
from torch.func import functional_call

from zsiqa.backbones.frozen import (
    FrozenBackbone,
    Layers,
    at_least_float32,
    has_channels_last,
    layers_listed_by_timm,
    matching_layers,
)
from zsiqa.backbones.state_dicts import load_strictly, read_state_dict, visual_tower
from zsiqa.backbones.whole_images import allow_any_size
from zsiqa.types import ZsiqaError, check_choice

# open_clip builds both towers. The text tower is dropped, so it is built as small as possible.
_NO_TEXT = {"width": 64, "heads": 1, "layers": 1, "vocab_size": 1, "context_length": 1}


class OpenClipBackbone(FrozenBackbone):
    """The image encoder of a model of open_clip; see `FrozenBackbone` for the output.

    Features of a ViT are before its final norm. The embedding is the projected image embedding (B, 1, 1, D).

    Args:
        model_name: open_clip's name of the architecture. It also sets the activation: OpenAI's ViTs were
            trained with QuickGELU, which only names ending in `-quickgelu` have. The weights do not contain
            this information.
        weights: a state dict of the whole model or of the image encoder, or OpenAI's TorchScript archive;
            None for random weights (seed the generator before). Half precision is converted to float32.
        layers: the modules whose outputs are the features: a pattern over module names of the image encoder,
            in which `*` stands for one part of a name. None: for open_clip's ViT its blocks; for its ResNet
            the stem's pooling and the four stages; for a model of timm the modules that timm lists.
        normalize: `none` (the official code): the model sees [0, 1]. `native`: the mean and standard
            deviation that the weights were trained with.
        vision_cfg: entries that replace those of the architecture's `vision_cfg`.
        half: compute as OpenAI's package does on a GPU: weights and activations in float16, except the norms;
            the embedding is normalised in float16, too.
        train_mode: see `FrozenBackbone`.

    Raises:
        ValueError: if the model or an option is unknown, or no module is found for `layers`.
        WeightsError: if the weights do not fit.
    """

    def __init__(self, *, model_name: str, weights: Path | None, layers: str | None = None,
                 normalize: Literal["none", "native"] = "none", vision_cfg: dict[str, Any] | None = None,
                 half: bool = False, train_mode: bool = False) -> None:
        check_choice("normalize", normalize, ("none", "native"))
        visual = _build(model_name, vision_cfg or {}, torch.float16 if half else None)
        if weights is not None:
            load_strictly(visual, visual_tower(read_state_dict(weights)), source=str(weights))
        if half:
            convert_weights_to_lp(visual)
        super().__init__(visual,
                         layers=matching_layers(visual, layers) if layers else _default_layers(visual),
                         channels_last=has_channels_last(getattr(visual, "trunk", visual)),
                         mean_and_std=_native_mean_and_std(model_name) if normalize == "native" else None,
                         train_mode=train_mode)
        self._half = half

    def allow_any_size(self) -> None:
        """Take images of any size, if the encoder is a ViT; its position embedding is resampled as timm does.

        A ResNet of open_clip takes one size only.
        """
        if isinstance(self.model, VisionTransformer):
            self.patch = self.model.patch_size
        elif isinstance(self.model, TimmModel):
            self.patch = allow_any_size(self.model.trunk)

    def _run(self, pixels: Tensor) -> Any:
        size = (pixels.shape[2], pixels.shape[3])
        pixels = pixels.half() if self._half else pixels
        if isinstance(self.model, VisionTransformer) and self.patch != (1, 1):  # any size
            grid = [side // step for side, step in zip(size, self.patch, strict=True)]
            positions = resample_abs_pos_embed(self.model.positional_embedding[None], grid,
                                               list(self.model.grid_size))[0]
            with _plain_attention():
                return functional_call(self.model, {"positional_embedding": positions}, pixels)
        # If a tile is a little too large, open_clip's own encoders would silently ignore the rest of it.
        if (isinstance(self.model, VisionTransformer | ModifiedResNet)
                and size != _pair(self.model.image_size)):
            raise ZsiqaError(f"the backbone cannot take tiles of {size[0]} x {size[1]} pixels, only of "
                             f"{' x '.join(map(str, _pair(self.model.image_size)))}; set window")
        with _plain_attention():
            return self.model(pixels)

    def _vectors(self, result: Any) -> Tensor:
        embedding: Tensor = result[0] if isinstance(result, tuple) else result  # CoCa also returns its tokens
        return embedding.unsqueeze(1)

    def _unit_vectors(self, vectors: Tensor) -> Tensor:
        if not self._half:
            return super()._unit_vectors(vectors)
        # The authors normalised in float16: a norm summed in float32 and then rounded, a quotient in float16.
        return at_least_float32(vectors / vectors.float().norm(dim=-1, keepdim=True).half())


def _build(model_name: str, vision_cfg: dict[str, Any], cast_dtype: torch.dtype | None) -> nn.Module:
    """Build the image encoder with random weights.

    Raises:
        ValueError: if open_clip has no model of that name.
    """
    if model_name not in (names := open_clip.list_models()):
        close = get_close_matches(model_name, names, cutoff=0.4)
        raise ValueError(f"open_clip has no model {model_name!r}"
                         f"{'; near: ' if close else ''}{', '.join(close)}")
    config = open_clip.get_model_config(model_name)
    visual: nn.Module = open_clip.CLIP(
        embed_dim=config["embed_dim"], quick_gelu=config.get("quick_gelu", False), text_cfg=_NO_TEXT,
        cast_dtype=cast_dtype,
        vision_cfg={**config["vision_cfg"], "timm_model_pretrained": False, **vision_cfg}).visual
    return visual


def _default_layers(visual: nn.Module) -> Layers:
    if isinstance(visual, VisionTransformer):
        return matching_layers(visual, "transformer.resblocks.*")
    if isinstance(visual, ModifiedResNet):
        return matching_layers(visual, "avgpool") | matching_layers(visual, "layer*")
    if isinstance(visual, TimmModel):
        return {f"trunk.{name}": channels for name, channels in layers_listed_by_timm(visual.trunk).items()}
    raise ValueError(f"give backbone.model.layers=PATTERN for {type(visual).__name__}")


def _native_mean_and_std(model_name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation that an architecture's published weights were trained with.

    Without published weights, they are OpenAI's.

    Raises:
        ValueError: if the published weights differ in them.
    """
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    published = {(tuple(cfg["mean"]), tuple(cfg["std"]))
                 for cfg in (open_clip.get_pretrained_cfg(model_name, tag) for tag in tags)}
    if len(published) > 1:
        raise ValueError(f"normalize=native: the published weights of {model_name} were trained with "
                         f"different means and standard deviations; use normalize=none")
    return published.pop() if published else (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Prevent PyTorch from fusing attention blocks, which it does in float32 only.

    Without fusing, the features of a single tile equal OpenAI's exactly (fused: they differ by 6e-7), every
    precision uses the same kernels, and it is not slower.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
