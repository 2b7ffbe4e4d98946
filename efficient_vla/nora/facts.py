# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the folder of a NORA says, for people; nothing here loads torch."""

from pathlib import Path

from efficient_vla.end_effector import COLUMNS
from efficient_vla.nora.folder import FAST, FAST_FILES, read_folder
from efficient_vla.policy_folders import FolderFacts, weights_of

TECHNIQUES = (
    'perception.cache.method',
    'perception.quantization.mode',
    'reasoner.depth.method',
    'reasoner.pruning.method',
    'reasoner.reuse.method',
    'reasoner.schedule.method',
    'reasoner.quantization.mode',
    'actor.decoding.method',
)
REFUSED = {
    'reasoner.resampling.method': 'a resampler is trained together with its decoder',
    'reasoner.width.method': 'what stays is trained with the queries of a policy of this package',
    'reasoner.ecot.method': 'plans of a NORA were not trained to be put into words',
    'actor.head': 'it has a head of its own, the tokens of its language model',
    'controller.blending.method': 'no head of it draws a chunk to the one before, as rtc asks for',
}


def facts(folder: Path) -> FolderFacts:
    """Return what a folder says of itself.

    Raises ``CheckpointError`` where it cannot be read.
    """
    found = read_folder(folder)
    columns = {len(scale) for g in found.groups.values() for scale in g.action.values()}
    parameters, memory = weights_of(folder)
    told = []
    if not (folder / FAST / FAST_FILES[0]).is_file():
        told.append(
            f'{" and ".join(FAST_FILES)} of physical-intelligence/fast are not in {FAST} inside '
            'the folder: copy them there, or set nora.fast.'
        )
    told.append('nora.chunk has to be the rows of a chunk: 1, or 5 for NORA-Long.')
    return FolderFacts(
        family='nora',
        kind='nora',
        cameras={'image': None},
        action_names=COLUMNS if columns == {len(COLUMNS)} else (),
        action_width=max(columns, default=0),
        units='a row moves and turns the end effector, in what the dataset counts; nora.gripper '
        'says what 0 and 1 of the gripper mean',
        normalisation={'action': 'BOUNDS_Q99', 'images': 'MEAN_STD'},
        prompt='of Qwen2.5-VL',
        tokenizer=str(folder),
        parameters=parameters,
        memory_mb=memory,
        techniques=TECHNIQUES,
        refused=REFUSED,
        missing=tuple(told),
        groups=tuple(sorted(found.groups)) if len(found.groups) > 1 else (),
        one_process=True,
    )
