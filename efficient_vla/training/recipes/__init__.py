# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How each add-on is trained: one class a recipe, listed here without loading torch."""

from pkgutil import resolve_name
from typing import Any

from efficient_vla.action.catalogue import RECIPES as OF_HEADS
from efficient_vla.dual_settings import addon_name

OF_DUAL = {
    addon_name('act_token'): 'dual:ActTokenRecipe',
    addon_name('map_pool'): 'dual:MapPoolRecipe',
    addon_name('perceiver'): 'dual:RoboDualRecipe',
    addon_name('prompt_tuning'): 'dual:PromptTuningRecipe',
}
RECIPES = {
    'lightvla': 'lightvla:LightRecipe',
    'fastdrivevla': 'fastdrivevla:FastDriveRecipe',
    'otter': 'resampler:OtterRecipe',
    'perceiver': 'resampler:PerceiverRecipe',
    'univla': 'unified:UnifiedRecipe',
    'ecot': 'ecot:EcotRecipe',
    'early_exit': 'early_exit:ExitRecipe',
    'mole': 'mole:MoleRecipe',
    'student': 'student:StudentRecipe',
    'structured': 'structured:StructuredRecipe',
    'ternary': 'ternary:TernaryRecipe',
    **OF_HEADS,
    **OF_DUAL,
}
"""Add-on -> ``module:Class``; those of heads come from their own catalogue."""


OF_PREFIXES = {
    'early_exit': 'prefix_exits:PrefixExitRecipe',
    'mole': 'prefix_mole:PrefixMoleRecipe',
}
"""The same of policies of LeRobot whose expert attends to a prefix."""
MEASURED = ('similarity_skip', 'int8')
"""Add-ons that are measured, not trained."""


def recipe_class(name: str) -> Any:
    """Return the recipe of an add-on, made of (frozen policy, training features, rank)."""
    return resolved(RECIPES[name])


def resolved(place: str) -> Any:
    """Return the recipe at ``module:Class``."""
    return resolve_name(f'{__name__}.{place}')
