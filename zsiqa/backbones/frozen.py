"""Base class of backbones: normalise tiles, run a frozen model, collect outputs of its blocks by hooks."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from zsiqa.types import Features, ZsiqaError

Layers = dict[str, int | None]  # names of modules, each with the number of channels of its maps if known


class FrozenBackbone(nn.Module, ABC):
    """A frozen model that returns features and embedding of a batch of tiles.

    Call it with tiles (B, 3, H, W), RGB in [0, 1]. It returns a mapping of representation to `Features`:

    - `features`: outputs of the layers in the order in which they run; consecutive outputs of one shape are
      stacked: (B, L, N, D) for tokens (prefix tokens included), (B, L, C, H, W) for maps.
    - `embedding`: one stack (B, 1, N, D) of l2-normalised vectors.

    All are contiguous, and float32 for every precision of the model, except float64 for a float64 model.

    Args:
        model: the model with its weights.
        layers: the modules whose outputs are the features.
        channels_last: True if maps have their channels last; for layers with an unknown number of channels.
        mean_and_std: per colour, for the normalisation of the model's input; None for no normalisation.
        train_mode: keep the model in training mode, in which some models drop paths at random (the authors
            ran three of theirs so). Otherwise it is in evaluation mode.

    Attributes:
        patch: (height, width) of a patch. Rows below and columns on the right that do not fill a patch are
            cut. (1, 1) until `allow_any_size` is called.
    """

    mean: Tensor
    std: Tensor
    patch: tuple[int, int] = (1, 1)

    def __init__(self, model: nn.Module, *, layers: Layers, channels_last: bool = False,
                 mean_and_std: tuple[Sequence[float], Sequence[float]] | None = None,
                 train_mode: bool = False) -> None:
        super().__init__()
        self.model: Any = model
        mean, std = mean_and_std or ((0, 0, 0), (1, 1, 1))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1))
        self._layers, self._channels_last = layers, channels_last
        self._outputs: list[Tensor] = []
        self._compiled: Callable[[Tensor], dict[str, Features]] | None = None
        for name in self._layers:
            # The hook is a bound method: a copy of self collects its own outputs.
            self.model.get_submodule(name).register_forward_hook(self._keep)
        # The engine's tiles are channels last in memory; a model in the same layout need not convert them.
        self.to(memory_format=torch.channels_last).train(train_mode).requires_grad_(False)
        self._train_mode = train_mode

    def _keep(self, _module: nn.Module, _inputs: Any, out: Tensor) -> None:
        self._outputs.append(out)

    @abstractmethod
    def _run(self, pixels: Tensor) -> Any:
        """Run all layers of the model on normalised tiles (B, 3, H, W); return the input of `_vectors`."""

    @abstractmethod
    def _vectors(self, result: Any) -> Tensor:
        """Return the embedding (B, N, D) before its normalisation, from the result of `_run`."""

    def _unit_vectors(self, vectors: Tensor) -> Tensor:
        """Scale the vectors of the embedding to length 1, in float32 or float64."""
        return nn.functional.normalize(at_least_float32(vectors), dim=-1)

    def allow_any_size(self) -> None:
        """Take images of any size. CNNs do so anyway; a subclass prepares its ViTs and sets `patch`."""

    def forward(self, tiles: Tensor) -> dict[str, Features]:
        """Return `features` and `embedding` of tiles (B, 3, H, W), RGB in [0, 1]; see the class.

        Raises:
            ZsiqaError: if the model cannot take tiles of this size, or the output of a layer is neither
                tokens nor maps.
            RuntimeError: if the mode was changed after construction: in training mode, dropped paths would
                make scores random.
        """
        if any(module.training for module in self.modules()) != self._train_mode:
            raise RuntimeError(f"someone changed the backbone's mode; call .train({self._train_mode})")
        height, width = (side - side % step for side, step in zip(tiles.shape[2:], self.patch, strict=True))
        if not (height and width):
            raise ZsiqaError(f"the images have {tiles.shape[3]} x {tiles.shape[2]} pixels, less than a patch")
        tiles = tiles[..., :height, :width]
        try:
            return (self._compiled or self._encode)(tiles)
        except AssertionError as error:  # timm's error for a wrong size
            raise ZsiqaError(
                f"the backbone cannot take tiles of {tiles.shape[2]} x {tiles.shape[3]} pixels ({error}); "
                f"set window, or the size of a model of timm, +backbone.model.model_kwargs.img_size=..."
                ) from error
        finally:
            self._outputs.clear()  # after an error too: it may be out of memory

    def _encode(self, tiles: Tensor) -> dict[str, Features]:
        result = self._run((tiles - self.mean) / self.std)
        features = tuple(at_least_float32(torch.stack(list(same), dim=1)).contiguous()
                         for _, same in groupby(self._checked_outputs(), key=lambda out: out.shape))
        embedding = self._unit_vectors(self._vectors(result)).unsqueeze(1)
        return {"features": features, "embedding": (embedding,)}

    def compile(self) -> None:
        """Compile the arithmetic of `forward`. On a CPU, the weights must not change after this."""
        # Weights as constants of the compiled code take longer to compile, and make a CNN faster on a CPU:
        # batch norms are folded into convolutions. As an option of torch.compile, this would do nothing.
        freeze = torch._inductor.config.patch(freezing=self.mean.device.type == "cpu")
        self._compiled = freeze(torch.compile(self._encode))

    def _checked_outputs(self) -> list[Tensor]:
        """Return one output per layer: tokens (B, N, D), or maps, converted to (B, C, H, W).

        Raises:
            ZsiqaError: if the numbers of outputs and layers differ, or an output is neither tokens nor maps.
        """
        if len(self._outputs) != len(self._layers) or not all(
                isinstance(out, Tensor) and out.ndim in (3, 4) for out in self._outputs):
            shapes = ", ".join(str(tuple(out.shape)) if isinstance(out, Tensor) else type(out).__name__
                               for out in self._outputs)
            raise ZsiqaError(
                f"the layers {', '.join(self._layers)} should give one tensor (B, N, D) or (B, C, H, W) "
                f"each, but gave: {shapes or 'nothing'}; name others with backbone.model.layers=PATTERN")
        return [self._channels_first(out, channels)
                for out, channels in zip(self._outputs, self._layers.values(), strict=True)]

    def _channels_first(self, out: Tensor, channels: int | None) -> Tensor:
        last = (self._channels_last if channels is None
                else out.shape[1] != channels and out.shape[-1] == channels)
        return out.permute(0, 3, 1, 2) if out.ndim == 4 and last else out


def at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision to float32; return other tensors unchanged."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def matching_layers(model: nn.Module, pattern: str) -> Layers:
    """Find the modules whose names match `pattern`; `*` stands for one part of a name, as in `blocks.*`.

    Raises:
        ValueError: if no module matches.
    """
    names = [name for name, _ in model.named_modules()
             if name and re.fullmatch(re.escape(pattern).replace(r"\*", "[^.]+"), name)]
    if not names:
        raise ValueError(f"no module of {type(model).__name__} matches layers={pattern!r}; its modules begin "
                         f"with {', '.join(name for name, _ in model.named_children())}")
    return dict.fromkeys(names)


def layers_listed_by_timm(model: Any) -> Layers:
    """Return the modules whose outputs timm lists as the features of a model (`feature_info`).

    Raises:
        ValueError: if timm lists none, or lists modules that the model does not have.
    """
    listed = {info["module"]: info["num_chs"] for info in getattr(model, "feature_info", [])}
    if not listed or not listed.keys() <= {name for name, _ in model.named_modules()}:
        raise ValueError(f"timm does not say which modules of {type(model).__name__} hold its features; "
                         f"give backbone.model.layers=PATTERN, as in blocks.*; its modules begin with "
                         f"{', '.join(name for name, _ in model.named_children())}")
    return listed


def has_channels_last(model: nn.Module) -> bool:
    """Return whether the maps of a model of timm are (B, H, W, C), by its own `output_fmt`."""
    return bool(getattr(model, "output_fmt", "NCHW") == "NHWC")
