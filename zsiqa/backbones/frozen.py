"""What every backbone does: normalise, run a frozen model, collect the outputs of its blocks through hooks."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from zsiqa.types import ZsiqaError

Features = tuple[Tensor, ...]  # as in zsiqa.distances, which backbones do not import
Layers = dict[str, int | None]  # names of modules, with the number of channels of their maps where it is known


class FrozenBackbone(nn.Module, ABC):
    """A frozen model that gives features and embedding of a batch of tiles.

    Calling it with tiles (B, 3, H, W), RGB in [0, 1], returns a mapping of representation to `Features`:

    - `features`: outputs of the layers in firing order, stacked where consecutive shapes agree: (B, L, N, D)
      for tokens (prefix tokens included), (B, L, C, H, W) for maps.
    - `embedding`: one stack (B, 1, N, D) of l2-normalised vectors.

    All are contiguous, and float32 whatever precision the model ran in, or float64 from a float64 model.

    Args:
        model: with its weights.
        layers: which of its modules' outputs are the features.
        channels_last: whether maps have their channels last, for layers that do not say their number of channels.
        mean_and_std: of the three colours, what the model's input is normalised with; None for none.
        train_mode: leave the model in training mode, in which some drop paths at random: as the authors ran three of
            theirs. Otherwise, it is in evaluation mode.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, *, layers: Layers, channels_last: bool = False,
                 mean_and_std: tuple[Sequence[float], Sequence[float]] | None = None, train_mode: bool = False,
                 ) -> None:
        super().__init__()
        self.model: Any = model
        mean, std = mean_and_std or ((0, 0, 0), (1, 1, 1))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1))
        self._layers, self._channels_last = layers, channels_last
        self._outputs: list[Tensor] = []
        for name in self._layers:
            self.model.get_submodule(name).register_forward_hook(self._keep)  # a method: copies of self keep their own
        # The engine's tiles are channels last in memory; a model in the same layout need not convert them.
        self.to(memory_format=torch.channels_last).train(train_mode).requires_grad_(False)
        self._train_mode = train_mode

    def _keep(self, _module: nn.Module, _inputs: Any, out: Tensor) -> None:
        self._outputs.append(out)

    @abstractmethod
    def _run(self, pixels: Tensor) -> Any:
        """Run the model on normalised tiles (B, 3, H, W), through every layer; its result goes to `_vectors`."""

    @abstractmethod
    def _vectors(self, result: Any) -> Tensor:
        """The embedding (B, N, D) before its normalisation, from what `_run` returned."""

    def _unit_vectors(self, vectors: Tensor) -> Tensor:
        """The embedding scaled to length 1, at least float32."""
        return nn.functional.normalize(at_least_float32(vectors), dim=-1)

    def forward(self, tiles: Tensor) -> dict[str, Features]:
        """Tiles (B, 3, H, W), RGB in [0, 1], to `features` and `embedding`; see the class.

        Raises:
            ZsiqaError: if the model cannot take tiles of that size, or a layer gives no tokens and no maps.
            RuntimeError: if the model was put into training mode later: dropped paths would make scores random.
        """
        if any(module.training for module in self.modules()) != self._train_mode:
            raise RuntimeError(f"someone changed the backbone's mode; call .train({self._train_mode})")
        try:
            result = self._run((tiles - self.mean) / self.std)
            outputs = self._checked_outputs()
        except AssertionError as error:  # how timm refuses a size
            raise ZsiqaError(f"the backbone cannot take tiles of {tiles.shape[2]} x {tiles.shape[3]} pixels ({error}); "
                             f"set window, or the size of a model of timm, +backbone.model.model_kwargs.img_size=..."
                             ) from error
        finally:
            self._outputs.clear()  # after a failure too: out of memory, every tensor counts
        features = tuple(at_least_float32(torch.stack(list(same), dim=1)).contiguous()
                         for _, same in groupby(outputs, key=lambda out: out.shape))
        embedding = self._unit_vectors(self._vectors(result)).unsqueeze(1)
        return {"features": features, "embedding": (embedding,)}

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """`torch.compile` of the model, with these arguments; what is around it stays as it is."""
        self._run = torch.compile(self._run, *args, **kwargs)  # type: ignore[method-assign]

    def _checked_outputs(self) -> list[Tensor]:
        """One output for each layer: tokens (B, N, D), or maps brought to (B, C, H, W)."""
        if len(self._outputs) != len(self._layers) or not all(
                isinstance(out, Tensor) and out.ndim in (3, 4) for out in self._outputs):
            found = ", ".join(str(tuple(out.shape)) if isinstance(out, Tensor) else type(out).__name__
                              for out in self._outputs)
            raise ZsiqaError(f"the layers {', '.join(self._layers)} should give one tensor (B, N, D) or (B, C, H, W) "
                             f"each, but gave: {found or 'nothing'}; name others with backbone.model.layers=PATTERN")
        return [self._channels_first(out, channels)
                for out, channels in zip(self._outputs, self._layers.values(), strict=True)]

    def _channels_first(self, out: Tensor, channels: int | None) -> Tensor:
        last = self._channels_last if channels is None else out.shape[1] != channels and out.shape[-1] == channels
        return out.permute(0, 3, 1, 2) if out.ndim == 4 and last else out


def at_least_float32(x: Tensor) -> Tensor:
    """Tensors of half precision as float32, others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def matching_layers(model: nn.Module, pattern: str) -> Layers:
    """The modules whose names match `pattern`, in which `*` stands for one part of a name, as in `blocks.*`.

    Raises:
        ValueError: if there are none.
    """
    found = [name for name, _ in model.named_modules()
             if name and re.fullmatch(re.escape(pattern).replace(r"\*", "[^.]+"), name)]
    if not found:
        raise ValueError(f"no module of {type(model).__name__} matches layers={pattern!r}; its modules begin with "
                         f"{', '.join(name for name, _ in model.named_children())}")
    return dict.fromkeys(found)


def layers_listed_by_timm(model: Any) -> Layers:
    """The modules that hold the features of a model of timm, as timm itself lists them (`feature_info`).

    Raises:
        ValueError: if timm does not say.
    """
    listed = {info["module"]: info["num_chs"] for info in getattr(model, "feature_info", [])}
    if not listed or not listed.keys() <= {name for name, _ in model.named_modules()}:
        raise ValueError(f"timm does not say which modules of {type(model).__name__} hold its features; "
                         f"give backbone.model.layers=PATTERN, as in blocks.*; its modules begin with "
                         f"{', '.join(name for name, _ in model.named_children())}")
    return listed


def has_channels_last(model: nn.Module) -> bool:
    """Whether a model of timm says that its maps are (B, H, W, C)."""
    return bool(getattr(model, "output_fmt", "NCHW") == "NHWC")


def check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """Check an option that comes from a configuration. Raises ValueError, naming the choices."""
    if value not in choices:
        raise ValueError(f"{option} must be one of {', '.join(choices)}, found {value!r}")
