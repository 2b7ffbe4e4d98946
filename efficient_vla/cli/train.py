# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``efficient-vla train``."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from efficient_vla.claims import claimed, writable_folder
from efficient_vla.cli.run_options import (
    MOST_THREADS,
    add_policy,
    policy_folder,
    refuse_above,
    refuse_below,
)
from efficient_vla.devices import torch_device
from efficient_vla.errors import UsageError
from efficient_vla.prompts import BARE
from efficient_vla.settings import InvalidSettingError
from efficient_vla.training.recipes import MEASURED, RECIPES
from efficient_vla.training.trunks import TRUNKS

DESCRIPTION = (
    'Train trunk and heads of a policy on demonstrations, on CPU or CUDA by the same command. '
    'Resumes from the latest checkpoint and writes curves. With --method it trains a method that '
    'spends fewer visual tokens for a finished policy, which stays as it is.'
)
EXAMPLE = """\
  efficient-vla train --data data/metaworld --out runs/train --joint-steps 1000
  efficient-vla train --data data/ur5e --out runs/ur5e-nano --width 96 --layers 4 --image-size 96
  efficient-vla train --trunk mamba --data data/metaworld --out runs/mamba-nano
  efficient-vla train --method otter --data data/metaworld --out runs/methods
  efficient-vla train --vlm models/SmolVLM-256M --data data/metaworld --out runs/smolvlm"""

STEPS = {'eye': 1000, 'joint': 4000, 'actor': 3000}
"""Batches of 64 samples in each stage, by default."""

NUMBERS = {
    **{
        f'{stage}-steps': (steps, f'batches of 64 in stage {stage}')
        for stage, steps in STEPS.items()
    },
    'seed': (0, 'of weights and batches'),
    'image-size': (
        0,
        'side of the images [pixels], 0 for 144, a multiple of 12, or with --vlm that of the model',
    ),
    'threads': (0, 'CPU threads, 0 for all'),
    'batch': (0, 'samples, 0 for 64 in a stage and 32 of a method'),
}
NETWORK = {
    'width': (192, 'of trunk and plan, a multiple of 32'),
    'layers': (8, 'of the decoder; one of Mamba counts twice'),
    'whole': (
        12,
        'percent of the batches that show the decoder all visual tokens; the others show a part, '
        'so that pruning finds a policy that knows gaps',
    ),
}
"""What decides on a policy that is trained from nothing."""
METHOD_NUMBERS = {
    'steps': (600, 'batches'),
    'rank': (
        8,
        "rank of the updates of the decoder's layers, 0 for none; lightvla and fastdrivevla leave "
        'the decoder as it is',
    ),
    'frames': (12_000, 'frames whose tokens and dense plans are kept in memory'),
    'validation-frames': (1000, 'frames of those that are measured'),
}
"""Option -> its default and what it is."""
OF_METHODS = ('steps', 'rank', 'frames', 'validation-frames', 'validation')
USED = {
    'the stages': (
        *(f'{stage}-steps' for stage in STEPS),
        *NETWORK,
        'trunk',
        'image-size',
        'robot',
        'camera',
    ),
    '--method': (*OF_METHODS, 'policy', 'install'),
    '--vlm': (*OF_METHODS, 'image-size', 'images', 'prompt'),
}
"""What is trained -> its own options; the others belong to all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--data',
        type=Path,
        default=Path('data/metaworld'),
        help='demonstrations of Meta-World, or a LeRobotDataset (default: %(default)s)',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('runs/train'),
        help='folder of the policy (default: %(default)s)',
    )
    _add_numbers(parser, NUMBERS | NETWORK)
    parser.add_argument(
        '--trunk',
        choices=TRUNKS,
        default='llama',
        help='decoder of a policy that is trained from nothing: '
        + '; '.join(f'{name}, {kind.about}' for name, kind in TRUNKS.items())
        + ' (default: %(default)s)',
    )
    parser.add_argument(
        '--robot',
        metavar='NAME|FILE',
        default='',
        help='profile of the robot of a LeRobotDataset (default: that of its robot_type)',
    )
    parser.add_argument(
        '--camera',
        default='',
        help='camera of a LeRobotDataset that has several (default: its only one)',
    )
    parser.add_argument(
        '--device',
        default='auto',
        help='cpu, cuda, or auto for what there is (default: %(default)s)',
    )
    parser.add_argument(
        '--precision',
        choices=('bf16', 'fp32'),
        default='bf16',
        help='of the computation (default: %(default)s)',
    )
    parser.add_argument('--restart', action='store_true', help='forget an earlier run in --out')
    method = parser.add_argument_group('a method for a finished policy, or a policy for a model')
    method.add_argument(
        '--method', choices=(*RECIPES, *MEASURED), help='what to train instead of the stages'
    )
    add_policy(method)
    method.add_argument(
        '--vlm',
        metavar='DIR',
        type=Path,
        help='train queries and heads for the vision-language model in this folder instead, and '
        'write them beside it',
    )
    method.add_argument(
        '--prompt',
        choices=(BARE, 'own'),
        default=BARE,
        help='with --vlm, words around the sentence: none, or those that the model was tuned with '
        '(default: %(default)s)',
    )
    method.add_argument(
        '--images',
        choices=('square', 'own'),
        default='square',
        help="with --vlm, how the vision tower is given images: as squares, or as the model's own "
        'processor prepares them, in tiles (SmolVLM, Idefics3) or in their own shape (Qwen-VL) '
        '(default: %(default)s)',
    )
    _add_numbers(method, METHOD_NUMBERS)
    method.add_argument(
        '--validation', metavar='DIR', type=Path, help='demonstrations that are not trained on'
    )
    method.add_argument(
        '--install', action='store_true', help="write the add-on into the policy's folder too"
    )


def _add_numbers(
    parser: argparse._ActionsContainer, numbers: Mapping[str, tuple[int, str]]
) -> None:
    for name, (default, text) in numbers.items():
        parser.add_argument(
            f'--{name}', type=int, default=default, help=f'{text} (default: %(default)s)'
        )


def refuse_unused(arguments: argparse.Namespace) -> None:
    """Raise ``UsageError`` for an option that was given and is none of what is trained."""
    given = [mode for mode in ('--method', '--vlm') if getattr(arguments, mode[2:]) is not None]
    if len(given) > 1:
        raise UsageError('--method and --vlm were given; expected one. Train the policy first.')
    mode = given[0] if given else 'the stages'
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for option in dict.fromkeys(name for names in USED.values() for name in names):
        value = getattr(arguments, option.replace('-', '_'))
        default = parser.get_default(option.replace('-', '_'))
        if option not in USED[mode] and value != default:
            users = ' or '.join(user for user, names in USED.items() if option in names)
            raise UsageError(
                f'--{option} {value} was given for the training of {mode}, which does not use it; '
                f'expected it with {users} only. Leave it out.'
            )


def main(arguments: argparse.Namespace) -> int:
    """Train a policy, or a method for one."""
    refuse_below(
        arguments,
        0,
        'seed',
        'threads',
        'rank',
        'image_size',
        *(f'{stage}_steps' for stage in STEPS),
    )
    refuse_below(arguments, 0, 'batch', 'whole')
    refuse_above(arguments, 100, 'whole')
    refuse_above(arguments, MOST_THREADS, 'threads')
    refuse_below(arguments, 1, 'layers', 'steps', 'frames', 'validation_frames')
    if arguments.width < 32 or arguments.width % 32:
        raise UsageError(f'--width is {arguments.width}; expected a multiple of 32.')
    refuse_unused(arguments)
    try:
        torch_device(arguments.device)
    except InvalidSettingError as error:
        raise UsageError(f'--{error}') from error
    with claimed(arguments.out):
        return _train(arguments)


def _train(arguments: argparse.Namespace) -> int:
    if arguments.vlm is not None:
        from efficient_vla.training import vlm

        if not (arguments.vlm / 'config.json').is_file():
            raise UsageError(
                f'{arguments.vlm} holds no vision-language model: it has no config.json. Give '
                '--vlm a folder that save_pretrained of transformers wrote.'
            )
        writable_folder(arguments.vlm, '--vlm')
        return vlm.main(arguments, arguments.vlm)
    if arguments.method in MEASURED:
        from efficient_vla.training import measuring

        return measuring.main(arguments, policy_folder(arguments.policy))
    if arguments.method is not None:
        from efficient_vla.training import methods

        return methods.main(arguments, policy_folder(arguments.policy))
    if arguments.image_size % 12:
        raise UsageError(f'--image-size is {arguments.image_size}; expected a multiple of 12.')
    from efficient_vla.training import train

    return train.main(arguments)
