# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Give the frozen batch norms of an untrained ACT the statistics of the dataset's images.

``PYTHON calibrate_act.py CHECKPOINT DATASET``, with the Python that has LeRobot, between the first
step of a training and the rest. LeRobot's ResNet never updates its batch norms; from scratch they
leave activations as they are, which grow from block to block, and localising is learned late.
"""

import sys
from pathlib import Path

import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import make_pre_post_processors
from torchvision.ops.misc import FrozenBatchNorm2d

IMAGES = 48


def measure(norm: FrozenBatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
    """Take mean and variance of what a batch norm is about to see, [N, C, rows, columns]."""
    variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def main(checkpoint: Path, root: Path) -> None:
    """Measure every batch norm behind those before it, and write the checkpoint anew."""
    policy = ACTPolicy.from_pretrained(checkpoint).eval()
    before, _ = make_pre_post_processors(policy.config, pretrained_path=str(checkpoint))
    dataset = LeRobotDataset('local/calibration', root=root, video_backend='pyav')
    places = torch.linspace(0, len(dataset) - 1, IMAGES).long().tolist()
    batch = before(torch.utils.data.default_collate([dataset[place] for place in places]))
    norms = [part for part in policy.modules() if isinstance(part, FrozenBatchNorm2d)]
    for norm in norms:
        norm.register_forward_pre_hook(measure)
    (camera,) = policy.config.image_features
    with torch.inference_mode():
        policy.model.backbone(batch[camera])
    policy.save_pretrained(checkpoint)
    sys.stdout.write(f'{len(norms)} batch norms of {checkpoint} measured on {IMAGES} images\n')


if __name__ == '__main__':
    main(Path(sys.argv[1]), Path(sys.argv[2]))
