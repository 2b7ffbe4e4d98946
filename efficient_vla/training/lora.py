# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Low-rank updates of a frozen module's linear layers (LoRA, arXiv 2106.09685), by peft."""

from collections.abc import Iterator
from typing import Any

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

ADAPTER = 'default'


def attach(model: nn.Module, rank: int) -> list[nn.Parameter]:
    """Add an update of this rank to every linear layer in place, and return the new parameters.

    It is the product of two thin matrices, without a scale, and starts at zero; the model's own
    parameters learn no more.
    """
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=linears)
    inject_adapter_in_model(config, model, ADAPTER)
    return [tensor for _, tensor in updates(model)]


def updates(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield ``<layer>.down`` [R, in] and ``<layer>.up`` [out, R], by the layers' own names."""
    modules: Any = model.named_modules()
    for name, module in modules:
        if isinstance(module, LoraLayer):
            yield f'{name}.down', module.lora_A[ADAPTER].weight
            yield f'{name}.up', module.lora_B[ADAPTER].weight
