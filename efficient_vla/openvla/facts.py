# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the folder of an OpenVLA says, for people; nothing here loads torch."""

from pathlib import Path

from efficient_vla.end_effector import COLUMNS
from efficient_vla.openvla.folder import read_folder
from efficient_vla.policy_folders import FolderFacts

PROMPT = 'In: What action should the robot take to {sentence in lower case}?\\nOut:'
TOKENIZER = 'tokenizer.json'
TECHNIQUES = (
    'perception.cache.method',
    'perception.signals',
    'perception.quantization.mode',
    'reasoner.depth.method',
    'reasoner.pruning.method',
    'reasoner.reuse.method',
    'reasoner.schedule.method',
    'reasoner.quantization.mode',
)
REFUSED = {
    'reasoner.resampling.method': 'a resampler is trained together with its decoder',
    'reasoner.width.method': 'what stays is trained with the queries of a policy of this package',
    'reasoner.ecot.method': 'plans of an OpenVLA were not trained to be put into words',
    'actor.head': 'it has a head of its own: tokens, or regression where OFT saved one',
    'controller.blending.method': 'no head of it draws a chunk to the one before, as rtc asks for',
}


def facts(folder: Path) -> FolderFacts:
    """Return what a folder says of itself.

    Raises ``CheckpointError`` where it cannot be read.
    """
    found = read_folder(folder)
    absent = [path for path in found.shards() if not path.is_file()]
    entries = [] if absent else [entry for _, entry in found.entries().values()]
    group = next(iter(found.groups.values()))
    columns = {len(scale) for g in found.groups.values() for scale in g.action.values()}
    width = max(columns, default=0)
    states = next(iter(group.proprio.values()), None) if found.proprio_projector else None
    decoding = () if found.oft else ('actor.decoding.method',)
    return FolderFacts(
        family='openvla',
        kind='openvla-oft' if found.oft else 'openvla',
        cameras={'image': None},
        state_width=0 if states is None else len(states),
        action_names=COLUMNS if columns == {len(COLUMNS)} else (),
        action_width=width,
        units='a row moves and turns the end effector, in what the dataset counts; openvla.gripper '
        'says what 0 and 1 of the gripper mean',
        normalisation={'action': 'BOUNDS_Q99 or BOUNDS', 'images': found.images.strategy},
        horizon=0 if found.oft else 1,
        prompt=PROMPT,
        tokenizer=str(folder) if (folder / TOKENIZER).is_file() else '',
        parameters=sum(entry.values for entry in entries),
        memory_mb=sum(entry.size for entry in entries) / 1e6,
        techniques=(*TECHNIQUES, *decoding),
        refused=REFUSED,
        missing=(*(f'{path} is missing. Copy the whole checkpoint folder.' for path in absent),),
        groups=tuple(sorted(found.groups)) if len(found.groups) > 1 else (),
        one_process=not found.oft,
    )
