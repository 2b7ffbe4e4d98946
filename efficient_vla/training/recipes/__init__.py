# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How each add-on is trained: one class a recipe, listed here without loading torch."""

from pkgutil import resolve_name
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
    return resolve_name(f'{__name__}.{RECIPES[name]}')
