# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Where a stage computes and in which numbers; importing this does not import torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from efficient_vla.quantization_settings import QuantizationSettings
from efficient_vla.settings import InvalidSettingError, group, setting

if TYPE_CHECKING:
    import torch


ENGINES = ('torch', 'compile', 'openvino', 'onnxruntime', 'tensorrt')
"""What can execute a stage."""


@dataclass(frozen=True, slots=True)
class ComputeSettings:
    """Where a stage computes, by what, and in which numbers."""

    device: str = setting(
        'auto',
        'Where the stage computes: auto is cuda where torch has it, else cpu. Tensors stay there '
        'until the record that leaves the stage.',
        choices=('auto', 'cpu', 'cuda', 'cuda:N'),
        read_only=True,
    )
    engine: str = setting(
        'torch',
        'What executes the layers: torch as it is; compile by kernels that its compiler writes for '
        'this machine, when the stage is loaded; openvino on the CPU; onnxruntime or tensorrt '
        'where they are installed. Exports are kept beside the policy, or in the cache folder of '
        'the user.',
        choices=ENGINES,
        read_only=True,
    )
    engine_max_error: float = setting(
        0.0,
        'Largest error of what an engine makes, relative to torch that rounds linear layers alike, '
        'measured on seeded noise when it is loaded; above it the stage is not started. 0: 0.01 in '
        'float32, 0.05 in bfloat16; with weights in integers 0.0001, with inputs too 0.01 to 0.25.',
        low=0.0,
        high=10.0,
        read_only=True,
    )
    quantization: QuantizationSettings = group(QuantizationSettings)


def torch_device(name: str) -> 'torch.device':
    """Return the device of this name, 'auto' being cuda where torch has it.

    Raises ``InvalidSettingError`` where torch cannot compute on it.
    """
    import torch

    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        raise InvalidSettingError(
            f'device is {name!r}, on which torch cannot compute here '
            f'({" ".join(str(error).split(chr(10))[0].split()).rstrip(".")}); expected cpu, or '
            'cuda where there is a GPU and a torch built for it. Set device to auto or cpu.'
        ) from error
    return torch.device(name)
