# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Between which numbers the inputs of linear layers lie, and products of integers that use it.

``efficient-vla train --method int8`` measures them on demonstrations, with all stages in float32,
and writes ``int8.safetensors``: a tensor [least, most] for each layer of each stage.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.ao.nn.quantized.modules.linear import LinearPackedParams

from efficient_vla import addons, checkpoint
from efficient_vla.errors import CheckpointError

METHOD = 'int8'
LEVELS = 127
"""Of inputs. On AVX2 pairs of products are summed in 16 bits, which 255 levels overflow."""
Ranges = Mapping[str, torch.Tensor]


class StaticLinear(nn.Module):
    """A linear layer of 8-bit weights, whose inputs are rounded between two known numbers."""

    def __init__(self, layer: nn.Linear, between: torch.Tensor) -> None:
        """Take the weights of a layer whose inputs lie in ``between`` [least, most]."""
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        least, most = min(0.0, float(between[0])), max(0.0, float(between[1]))
        self.scale = max(most - least, 1e-12) / LEVELS
        self.zero = round(-least / self.scale)
        weight = layer.weight.detach()
        scales = weight.abs().amax(1).clamp_min(1e-12) / 127
        nothing = torch.zeros(len(scales), dtype=torch.int64)
        codes = torch.quantize_per_channel(weight, scales, nothing, 0, torch.qint8)
        self._packed_params = LinearPackedParams(torch.qint8)
        self._packed_params.set_weight_bias(codes, layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [..., K] to [..., N]."""
        found: torch.Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x, self.scale, self.zero, self._packed_params._packed_params
        )
        return found


@contextmanager
def watched(layers: Mapping[str, nn.Linear]) -> Iterator[dict[str, torch.Tensor]]:
    """Take down between which numbers the inputs of layers lie meanwhile, name -> [2]."""
    found: dict[str, torch.Tensor] = {}

    def watch(name: str, layer: nn.Linear) -> torch.utils.hooks.RemovableHandle:
        def see(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            least, most = inputs[0].detach().float().aminmax()
            seen = torch.stack([-least, most]).cpu()
            found[name] = torch.maximum(found.get(name, seen), seen)

        return layer.register_forward_pre_hook(see)

    handles = [watch(name, layer) for name, layer in layers.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
        for name, seen in found.items():
            found[name] = seen * torch.tensor([-1.0, 1.0])


def ranges_of(folder: Path, stage: str, mode: str) -> Ranges:
    """Return what was measured for the layers of a stage, nothing where the mode needs it not.

    Raises ``CheckpointError`` where the file is missing, of other weights, or holds no ranges.
    """
    if mode != METHOD:
        return {}
    addon = addons.read(folder, METHOD, checkpoint.sha256(folder))
    start = f'{stage}.'
    found = {n.removeprefix(start): t for n, t in addon.tensors.items() if n.startswith(start)}
    for name, between in found.items():
        if between.shape != (2,) or between[0] > between[1]:
            raise CheckpointError(
                f'{addon.path} has {between.tolist()} as range of {start}{name}; expected its '
                f'least and its greatest number. {addon.again}'
            )
    return found
