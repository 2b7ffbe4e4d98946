# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How each add-on is trained: one class a recipe, listed here without loading torch."""

from importlib import import_module
from typing import Any

from efficient_vla.action.catalogue import RECIPES as OF_HEADS

RECIPES = {
    'lightvla': 'lightvla:LightRecipe',
    'fastdrivevla': 'fastdrivevla:FastDriveRecipe',
    'otter': 'resampler:OtterRecipe',
    'perceiver': 'resampler:PerceiverRecipe',
    'univla': 'unified:UnifiedRecipe',
    'ecot': 'ecot:EcotRecipe',
    **OF_HEADS,
}
"""Add-on -> ``module:Class``; those of heads come from their own catalogue."""


def recipe_class(name: str) -> Any:
    """Return the recipe of an add-on, made of (frozen policy, training features, rank)."""
    module, _, kind = RECIPES[name].partition(':')
    return getattr(import_module(f'{__name__}.{module}'), kind)
