# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure on demonstrations what a technique goes by; nothing learns.

That is the importance of layers for ``depth.method`` similarity_skip, and the ranges of the inputs
of linear layers for ``quantization.mode`` int8.

It runs the stages of any policy as they are, so that policies of LeRobot are measured too.
"""

import argparse
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from efficient_vla import addons, checkpoint
from efficient_vla.action.heads.expert import HIGH as HIGH_OF_EXPERTS
from efficient_vla.compression.quantization import HIGH_OF_TOWERS, quantizable
from efficient_vla.compression.ranges import watched
from efficient_vla.policy import Policy
from efficient_vla.reasoning.depth.similarity_skip import measured
from efficient_vla.training.dataset import Demonstrations
from efficient_vla.training.files import write_addon

CARD, DEMONSTRATED = 'policy.json', 'metaworld'
"""What a policy says of its robot in, and the robot of the demonstrations where it says nothing."""
FRAMES = 512
"""Frames that are looked at at most; the mean over their tokens does not change any more."""
Found = tuple[dict[str, Any], dict[str, torch.Tensor]]
"""Shape and tensors of an add-on."""


def act(stages: Policy, data: Demonstrations, frames: int, seed: int) -> None:
    """Let the stages decide on ``frames`` drawn frames."""
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(data))[:frames])
    sentences, _ = data.sentences(chosen, rng)
    for frame, sentence in track(list(zip(chosen, sentences, strict=True)), 'frames'):
        stages.reset()
        images = dict.fromkeys(stages.perception.cameras, data.image[frame].numpy())
        stages.act(images, sentence, data.state[frame].numpy(), 0.0)


def importance(stages: Policy, look: Callable[[], None]) -> Found:
    """Return the importance of each layer in what ``look`` lets the stages do."""
    reasoner: Any = stages.reasoner
    with measured(reasoner.trunk.parts.layers) as meter:
        look()
    scores = meter.importance()
    return {'layers': len(scores)}, {'module.scores': scores}


def ranges(stages: Policy, look: Callable[[], None]) -> Found:
    """Return between which numbers inputs of linear layers lie in what the stages do."""
    perception, reasoner, actor = (
        cast(Any, stage) for stage in (stages.perception, stages.reasoner, stages.actor)
    )
    networks: dict[str, tuple[Any, Collection[str]]] = {
        'perception': (perception.tower, HIGH_OF_TOWERS)
    }
    networks['reasoner'] = (reasoner.trunk.decoder, ())
    if hasattr(actor.generator, 'expert'):
        networks['actor'] = (actor.generator.expert, HIGH_OF_EXPERTS)
    layers = {
        f'{stage}.{name}': layer
        for stage, (network, high) in networks.items()
        for name, layer in quantizable(network, high).items()
    }
    with watched(layers) as found:
        look()
    return {'layers': len(found)}, found


MEASURES = {'similarity_skip': importance, 'int8': ranges}
"""Add-on -> what measures it."""


def main(args: argparse.Namespace, policy: Path) -> int:
    """Measure what the method goes by, and write the add-on."""
    data, method = Demonstrations(args.data), args.method
    robot = '' if (policy / CARD).exists() else DEMONSTRATED
    stages = Policy.from_pretrained(policy, robot=robot, device=args.device)
    frames = min(args.frames, FRAMES)
    shape, tensors = MEASURES[method](stages, lambda: act(stages, data, frames, args.seed))
    args.out.mkdir(parents=True, exist_ok=True)
    write_addon(args.out, method, shape, tensors, checkpoint.sha256(policy))
    told, path = Console(), addons.path(args.out, method)
    if args.install:
        path = shutil.copyfile(path, addons.path(policy, method))
    if method == 'similarity_skip':
        scores = ' '.join(f'{score:.4f}' for score in tensors['module.scores'])
        told.print(f'importance of the layers: {scores}')
    told.print(f'add-on written to {path}')
    return 0
