# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train a policy on our dataset with LeRobot's own trainer; the same command resumes.

``python -m benchmarks.roundtrip.train act --peer-python PYTHON --dataset FOLDER --out FOLDER``, or
``act_arm`` or ``smolvla``. ``PYTHON`` has LeRobot 0.6.1 with what its datasets and training need.
One thread computes, on the CPU, and a checkpoint is written every 250 steps.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.roundtrip import make_vlm

COMMON = {
    'dataset.video_backend': 'pyav',
    'dataset.use_imagenet_stats': 'false',
    'policy.device': 'cpu',
    'policy.push_to_hub': 'false',
    'policy.chunk_size': '40',
    'policy.n_action_steps': '20',
    'num_workers': '0',
    'log_freq': '25',
    'save_freq': '250',
    'env_eval_freq': '0',
    'seed': '1',
    'wandb.enable': 'false',
}
ACT = {
    'policy.type': 'act',
    'policy.vision_backbone': 'resnet18',
    'policy.pretrained_backbone_weights': 'null',
    'policy.n_encoder_layers': '2',
    'policy.n_decoder_layers': '1',
    'policy.use_vae': 'false',
    'policy.dropout': '0.0',
    'batch_size': '8',
}
POLICIES = {
    'act': ACT
    | {
        'policy.dim_model': '128',
        'policy.n_heads': '4',
        'policy.dim_feedforward': '512',
        'policy.optimizer_lr': '2e-4',
        'policy.optimizer_lr_backbone': '2e-4',
        'steps': '4000',
    },
    'act_arm': ACT
    | {
        'policy.dim_model': '192',
        'policy.n_heads': '6',
        'policy.dim_feedforward': '768',
        'policy.chunk_size': '25',
        'policy.n_action_steps': '25',
        'use_policy_training_preset': 'false',
        'optimizer.type': 'adamw',
        'optimizer.lr': '3e-4',
        'optimizer.weight_decay': '1e-4',
        'optimizer.grad_clip_norm': '10',
        'scheduler.type': 'cosine_decay_with_warmup',
        'scheduler.num_warmup_steps': '100',
        'scheduler.num_decay_steps': '3750',
        'scheduler.peak_lr': '3e-4',
        'scheduler.decay_lr': '1e-5',
        'steps': '3000',
    },
    'smolvla': {
        'policy.type': 'smolvla',
        'policy.vlm_model_name': make_vlm.NAME,
        'policy.load_vlm_weights': 'false',
        'policy.train_expert_only': 'false',
        'policy.freeze_vision_encoder': 'false',
        'policy.resize_imgs_with_padding': '[128,128]',
        'policy.num_vlm_layers': '4',
        'policy.expert_width_multiplier': '1.0',
        'policy.max_state_dim': '4',
        'policy.max_action_dim': '4',
        'policy.optimizer_lr': '5e-4',
        'policy.optimizer_grad_clip_norm': '10',
        'policy.scheduler_warmup_steps': '200',
        'policy.scheduler_decay_steps': '5500',
        'policy.scheduler_decay_lr': '1e-5',
        'batch_size': '16',
        'steps': '5000',
    },
}


def command(policy: str, python: str, dataset: Path, out: Path, changes: list[str]) -> list[str]:
    """Return the command that begins the training, or resumes it where a checkpoint lies."""
    trainer = [python, '-m', 'lerobot.scripts.lerobot_train']
    last = out / 'checkpoints/last/pretrained_model/train_config.json'
    if last.exists():
        again = [f'--config_path={last}', '--resume=true', f'--dataset.root={dataset}']
        return [*trainer, *again, *(f'--{change}' for change in changes)]
    options = COMMON | POLICIES[policy] | dict(change.split('=', 1) for change in changes)
    options |= {'dataset.root': str(dataset), 'output_dir': str(out)}
    options.setdefault('dataset.repo_id', f'local/{dataset.name}')
    return [*trainer, *(f'--{name}={value}' for name, value in options.items())]


def environment(hub: Path, threads: int) -> dict[str, str]:
    """Return the environment of a process that has LeRobot: no network, ``threads`` threads."""
    return os.environ | {
        'HF_HUB_CACHE': str(hub),
        'HF_DATASETS_CACHE': str(hub.parent / 'datasets-cache'),
        'HF_HUB_OFFLINE': '1',
        'HF_DATASETS_OFFLINE': '1',
        'TOKENIZERS_PARALLELISM': 'false',
        'OMP_NUM_THREADS': str(threads),
        'MKL_NUM_THREADS': str(threads),
    }


def main() -> int:
    """Train until the last step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('policy', choices=tuple(POLICIES))
    parser.add_argument('--peer-python', required=True, help='a Python that has LeRobot')
    parser.add_argument('--dataset', type=Path, required=True, help='of efficient-vla data')
    parser.add_argument('--out', type=Path, required=True, help='folder of the checkpoints')
    parser.add_argument('--hub', type=Path, help='hub cache (default: beside --out)')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch (default: 1)')
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='OPTION=VALUE',
        help="another option of LeRobot's trainer, for example steps=6000",
    )
    arguments = parser.parse_args()
    hub = (arguments.hub or arguments.out.parent / 'hub').resolve()
    settings = environment(hub, arguments.threads)
    if arguments.policy == 'smolvla':
        script = Path(make_vlm.__file__)
        subprocess.run([arguments.peer_python, script, hub], env=settings, check=True)
    words = command(
        arguments.policy,
        arguments.peer_python,
        arguments.dataset.resolve(),
        arguments.out.resolve(),
        arguments.set,
    )
    sys.stdout.write(' '.join(words) + '\n')
    sys.stdout.flush()
    return subprocess.run(words, env=settings).returncode


if __name__ == '__main__':
    sys.exit(main())
