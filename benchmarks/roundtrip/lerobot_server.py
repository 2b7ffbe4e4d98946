# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's own class behind a pipe: an observation in, a chunk out; run by the peer's Python.

``python lerobot_server.py FOLDER``. It stands alone: nothing of efficient_vla is imported here. A
message is a line of JSON and, where ``bytes`` says so, that many bytes after it. In:
``{"task", "state", "images": {camera: [rows, columns]}, "seed", "bytes"}`` with the images, uint8;
out: ``{"shape", "bytes"}`` with the chunk [H, A], float32, in the robot's units. The first message
out says what the policy is.
"""

import importlib.metadata
import json
import sys
from typing import Any, BinaryIO

import numpy as np
import torch


def read(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Return a message and its bytes, or ``None`` at the end."""
    line = stream.readline()
    if not line:
        return None
    message = json.loads(line)
    return message, stream.read(message['bytes'])


def write(stream: BinaryIO, message: dict[str, Any], content: bytes = b'') -> None:
    """Send a message."""
    stream.write(json.dumps(message | {'bytes': len(content)}).encode() + b'\n' + content)
    stream.flush()


def load(folder: str) -> tuple[Any, Any, Any]:
    """Return policy, preprocessor and postprocessor, as LeRobot's own scripts load them."""
    from lerobot.configs import PreTrainedConfig
    from lerobot.policies import make_pre_post_processors
    from lerobot.policies.factory import get_policy_class

    config = PreTrainedConfig.from_pretrained(folder)
    config.device = 'cpu'
    policy = get_policy_class(config.type).from_pretrained(folder, config=config)
    policy.eval()
    before, after = make_pre_post_processors(config, pretrained_path=folder)
    return policy, before, after


def observation(message: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Return the observation as a robot gives it to LeRobot."""
    found: dict[str, Any] = {'observation.state': np.array(message['state'], np.float32)}
    pixels = np.frombuffer(content, np.uint8)
    for camera, (rows, columns) in message['images'].items():
        size = rows * columns * 3
        found[f'observation.images.{camera}'] = pixels[:size].reshape(rows, columns, 3).copy()
        pixels = pixels[size:]
    return found


def main() -> None:
    """Answer observations until the pipe is closed."""
    from lerobot.policies.utils import prepare_observation_for_inference

    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    # What LeRobot prints must not come between the messages.
    sys.stdout = sys.stderr
    policy, before, after = load(sys.argv[1])
    write(
        stdout,
        {
            'type': policy.config.type,
            'lerobot': importlib.metadata.version('lerobot'),
            'torch': torch.__version__,
            'horizon': policy.config.chunk_size,
            'rows': policy.config.n_action_steps,
        },
    )
    while (got := read(stdin)) is not None:
        message, content = got
        torch.manual_seed(message['seed'])
        seen = observation(message, content)
        batch = prepare_observation_for_inference(seen, torch.device('cpu'), message['task'])
        with torch.inference_mode():
            chunk = after(policy.predict_action_chunk(before(batch)))
        rows = np.ascontiguousarray(chunk[0].numpy(), np.float32)
        write(stdout, {'shape': rows.shape}, rows.tobytes())


if __name__ == '__main__':
    main()
