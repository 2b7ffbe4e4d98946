# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What ``efficient-vla inspect`` tells: a policy, a robot, and what is missing between them.

Neither torch nor weights are needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from efficient_vla.action.catalogue import DECODINGS, HEADS, RECIPES, TOKENIZERS
from efficient_vla.bringup.fit import Robot, misfits
from efficient_vla.cards import read_json
from efficient_vla.dual_settings import CONDITIONINGS, OWN, addon_name
from efficient_vla.errors import CheckpointError
from efficient_vla.families import FAMILIES, train_command
from efficient_vla.joint_settings import JointSettings
from efficient_vla.joints import doubts
from efficient_vla.places import PolicyPlace
from efficient_vla.policy_folders import FolderFacts, folder_facts, weights_of, why_none
from efficient_vla.reasoning.depth import METHODS as DEPTH
from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.reasoning.resampling import RESAMPLERS
from efficient_vla.reasoning.width import METHOD as STRUCTURED

CARD_TECHNIQUES = {
    'evla': (
        'perception.engine',
        'perception.cache.method',
        'perception.quantization.mode',
        'reasoner.engine',
        'reasoner.depth.method',
        'reasoner.width.method',
        'reasoner.pruning.method',
        'reasoner.reuse.method',
        'reasoner.schedule.method',
        'reasoner.quantization.mode',
        'actor.engine',
        'actor.architecture',
    ),
    'passthrough': ('perception.cache.method', 'reasoner.pruning.method'),
}
"""Family of this package -> parameters that apply to all its policies."""
ADD_ONS = {
    **{name: f'reasoner.resampling.method={name}' for name in RESAMPLERS},
    **{
        name: f'reasoner.pruning.method={name}'
        for name, method in METHODS.items()
        if 'scorer' in method.needs
    },
    'ecot': 'reasoner.ecot.method',
    **{name: f'reasoner.depth.method={name}' for name, method in DEPTH.items() if method.addon},
    **{addon_name(name): f'dual.conditioning={name}' for name in CONDITIONINGS if name != OWN},
    STRUCTURED: f'reasoner.width.method={STRUCTURED}',
    **{name: f'actor.head={name}' for name in HEADS if name in RECIPES},
    **{name: f'actor.tokens.tokenizer={name}' for name in TOKENIZERS if name in RECIPES},
    **{name: f'actor.decoding.method={name}' for name in DECODINGS if name in RECIPES},
}
"""Add-on file -> what it is for."""
UNGATED = ('gpt_neox', 'mamba', 'bart')
"""Decoders whose layers are not as Llama's: neither gated in their feed-forward network nor parted
at their attention."""

WHOLE_TOWERS = ('qwen2_5_vl', 'qwen3_vl', 'florence2')
"""Models whose vision tower runs as its own module says."""


def facts_at(place: PolicyPlace, token_file: str = '') -> FolderFacts:
    """Return the facts of a policy, of a server, or of a model that is no policy yet.

    ``token_file`` has the word that the server demands. Raises ``CheckpointError`` or
    ``PolicyServerError`` where there is none of them.
    """
    if isinstance(place, Path) and why_none(place):
        bare = _bare_model(place)
        if bare is not None:
            return bare
    return folder_facts(place, token_file)


def inspection(place: PolicyPlace, facts: FolderFacts, robot: Robot | None) -> dict[str, Any]:
    """Return all that is told, as JSON has it."""
    # A folder that says how long a row is says the rest too.
    joints = robot.joints if robot is not None and facts.dt is None else JointSettings()
    rate = 1 / facts.dt if facts.dt else joints.rate
    applied, refused = _techniques(place, facts)
    missing = misfits(facts, robot) if robot is not None else list(facts.missing)
    return {
        'place': str(place),
        'family': facts.family,
        'kind': facts.kind,
        'cameras': {
            name: {'must_be': size, 'trained_on': facts.trained_sizes.get(name)}
            for name, size in facts.cameras.items()
        },
        'state': {
            'columns': facts.state_width,
            'names': facts.state_names or joints.state_names or joints.names,
        },
        'action': {
            'columns': facts.action_width,
            'names': facts.action_names or joints.names,
            'rows': facts.horizon,
        },
        'units': facts.units or _units(joints),
        'normalisation': dict(facts.normalisation),
        'rate_hz': rate or None,
        'prompt': facts.prompt,
        'tokenizer': facts.tokenizer,
        'parameters': facts.parameters,
        'memory_mb': {
            'stored': facts.memory_mb,
            'float32': facts.parameters * 4 / 1e6,
            'bf16': facts.parameters * 2 / 1e6,
        },
        'one_process': facts.one_process,
        'techniques': list(applied),
        'refused': dict(refused),
        'open': [] if robot is not None else _open(facts),
        'limits': list(robot.limits) if robot is not None else [],
        'robot': robot.name if robot is not None else None,
        'missing': missing,
        'doubts': doubts(joints, facts.learned),
    }


def _open(facts: FolderFacts) -> list[str]:
    """Return what the profile of a robot has to say of a policy."""
    found = []
    if facts.dt is None and facts.action_width:
        found += ['which joint each column is, and its unit', 'what a row is', 'the rows a second']
    if facts.groups:
        found.append(f'which of the datasets {", ".join(facts.groups)} its robot is like')
    return found


def _units(joints: JointSettings) -> str:
    units = joints.unit if len(set(joints.unit)) > 1 else joints.unit[:1]
    return f'{joints.mode}: {", ".join(units)}' if units else ''


def _bare_model(folder: Path) -> FolderFacts | None:
    """Return the facts of a vision-language model without a policy, or ``None``."""
    if not (folder / 'config.json').is_file():
        return None
    kind = read_json(folder / 'config.json').get('model_type')
    if not isinstance(kind, str) or kind not in FAMILIES:
        return None
    parameters, memory = weights_of(folder)
    return FolderFacts(
        family='vlm',
        kind=str(kind),
        cameras={},
        parameters=parameters,
        memory_mb=memory,
        tokenizer=str(folder) if (folder / 'tokenizer.json').is_file() else '',
        missing=(
            'It is a vision-language model without queries and heads for actions. Train them: '
            f'{train_command(folder)}.',
        ),
    )


def _techniques(
    place: PolicyPlace, facts: FolderFacts
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return the parameters that apply, and those that do not -> why."""
    if facts.family not in CARD_TECHNIQUES or not isinstance(place, Path):
        return facts.techniques, facts.refused
    applied = CARD_TECHNIQUES[facts.family]
    if facts.family != 'evla':
        return applied, {}
    unable = _unable(place)
    applied = tuple(name for name in applied if name not in unable)
    there = {name for name in ADD_ONS if (place / f'{name}.safetensors').is_file()}
    refused = {
        what: f'its file {name}.safetensors is not in the folder: efficient-vla train --policy '
        f'{place} --method {name}'
        for name, what in ADD_ONS.items()
        if name not in there and what.partition('=')[0] not in unable
    }
    given = (what for name, what in ADD_ONS.items() if name in there)
    return (*applied, *given), refused | unable


def _unable(folder: Path) -> dict[str, str]:
    """Return the parameters that the model of a policy cannot do -> why."""
    config = read_json(folder / 'config.json')
    text, model = config.get('text_config'), config.get('model_type', '')
    kind = text.get('model_type', '') if isinstance(text, dict) else ''
    found = {}
    if model in WHOLE_TOWERS:
        found['perception.engine'] = f'the vision tower of {model} is not parted'
    if kind in UNGATED:
        found['reasoner.engine'] = f'a {kind} decoder has no layers parted at their attention'
        found['reasoner.width.method'] = (
            f'a {kind} decoder has no gated feed-forward network as in Llama'
        )
    if kind == 'mamba':
        found['reasoner.reuse.method'] = f'a {kind} decoder has no keys and values'
        found |= {
            f'reasoner.pruning.method={name}': f'a {kind} decoder has no attention to rank by'
            for name, method in METHODS.items()
            if method.needs_attention
        }
    return found


def checked_place(place: PolicyPlace) -> PolicyPlace:
    """Return the place where there is something to inspect.

    Raises ``CheckpointError``.
    """
    if isinstance(place, Path) and not place.is_dir():
        raise CheckpointError(
            f'{place} is no folder; expected the folder of a policy, the name of a shipped one, or '
            'ws://host:port. Check its path.'
        )
    return place
