# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages compute where they are told, and nothing made on the host meets what is not."""

import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

from efficient_vla.devices import torch_device
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.policy import SETTINGS, Policy
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import Execution, Frame, HeadHelp

MAKERS = {
    getattr(torch, name)
    for name in 'arange empty eye from_numpy full linspace ones rand randn tensor zeros'.split()
}
MOVES = (torch.Tensor.to,)


class FakeDevice(TorchFunctionMode):
    """Take every tensor for one of a device unless it was made on the host; note where they mix.

    Values are right: all of it runs on the CPU. What is made without a device, or comes by
    ``cpu()``, is the host's until ``to(device)``; ``numpy()`` of anything else is a fault.
    """

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def _note(self, fault: str) -> None:
        own = [f for f in traceback.extract_stack() if '/efficient_vla/' in f.filename]
        where = f'{Path(own[-1].filename).name}:{own[-1].lineno}' if own else 'here'
        self.faults.append(f'{where}: {fault}')

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [part for part in tree_iter((args, kwargs)) if isinstance(part, torch.Tensor)]
        hosts = [part for part in given if getattr(part, '_host', False)]
        others = [part for part in given if not getattr(part, '_host', False)]
        name = getattr(func, '__name__', str(func))
        result = func(*args, **kwargs)
        if func is torch.Tensor.numpy and others:
            self._note('numpy() of a tensor on the device')
        elif func in MOVES and any(
            isinstance(part, (torch.device, torch.Tensor)) for part in tree_iter((args[1:], kwargs))
        ):
            return result.detach()
        elif func is torch.Tensor.cpu:
            result = result.detach()
            result._host = True
        elif func in MAKERS:
            if isinstance(result, torch.Tensor) and kwargs.get('device') is None:
                result._host = True
        elif hosts and any(part.ndim for part in hosts) and any(part.ndim for part in others):
            self._note(f'{name} of tensors on host and device')
        elif given and not others:
            for part in tree_iter(result):
                if isinstance(part, torch.Tensor):
                    part._host = True
        return result


def frames() -> list[Frame]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (480, 480, 3), np.uint8)
    state = np.array([0.0, 0.6, 0.2, 1.0], np.float32)
    found = []
    for step in range(3):
        image = image.copy()
        image[:40, : 40 * (step + 1)] += 90
        found.append(Frame({'corner2': image}, state + 0.01 * step, 0.1 * step))
    return found


def faults(**keywords) -> list[str]:
    policy = Policy.from_pretrained(device='cpu', **keywords)
    with FakeDevice() as mode:
        policy.reset()
        for frame in frames():
            policy.act(frame, 'open the drawer')
    return mode.faults


PRUNING = (
    'fastv efficientvla sp_vla flashvla lightvla adp fastdrivevla specprune sqap random uniform'
).split()


@pytest.mark.parametrize('method', PRUNING)
def test_a_pruning_method_stays_on_the_device(method):
    assert faults(pruning_method=method, pruning_keep=0.3, signals=True) == []


@pytest.mark.parametrize(
    'keywords',
    [
        {'cache_method': 'patch', 'signals': True},
        {'cache_method': 'reuse', 'perception_quantization_mode': 'bf16'},
        {'reuse_method': 'vla_cache', 'quantization_mode': 'bf16'},
        {'reuse_method': 'vla_cache', 'pruning_method': 'fastv'},
        {'resampling_method': 'otter'},
        {'resampling_method': 'perceiver'},
        {'resampling_method': 'univla', 'head': 'tokens', 'architecture': 'single'},
        {'ecot_method': 'both'},
        {'head': 'flow', 'architecture': 'single'},
        {'head': 'diffusion', 'architecture': 'single'},
    ],
    ids=str,
)
def test_a_technique_stays_on_the_device(keywords):
    assert faults(**keywords) == []


def test_a_guided_chunk_stays_on_the_device():
    policy = Policy.from_pretrained(device='cpu', head='flow', architecture='single')
    with FakeDevice() as mode:
        policy.reset()
        for frame in frames():
            policy.act(frame, 'open the drawer')
            policy.actor._execution = Execution(-1.0, 0.0, 0.0, 1.0, 1.0, 'rtc', HeadHelp.INPAINT)
    assert mode.faults == []


def test_the_fake_device_sees_what_it_is_for():
    weight = torch.nn.Parameter(torch.ones(3))
    with FakeDevice() as mode:
        moved = torch.arange(3).to(weight.device) * weight
        weight[torch.arange(3, device=weight.device)]
        assert mode.faults == []
        torch.arange(3) * weight
        weight[torch.arange(3)]
        moved.detach().numpy()
        moved.detach().cpu().numpy()
    assert len(mode.faults) == 3


@pytest.mark.parametrize('kind', SETTINGS.values())
def test_every_stage_has_a_device(kind):
    for name in ('auto', 'cpu', 'cuda', 'cuda:1'):
        assert build(kind, {'device': name}).device == name
    for name in ('gpu', 'cuda:', 'cuda:x', 'cpu:0'):
        with pytest.raises(InvalidSettingError, match='expected one of auto, cpu, cuda, cuda:N'):
            build(kind, {'device': name})


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
@pytest.mark.parametrize('stage', SETTINGS)
def test_a_device_that_torch_lacks_is_refused_in_one_sentence(folder, stage):
    with pytest.raises(InvalidSettingError, match=r"device is 'cuda:3', on which torch cannot"):
        Policy.from_pretrained(folder, **{f'{stage}_device': 'cuda:3'})


def test_auto_is_cuda_where_torch_has_it(monkeypatch):
    tried = []
    zeros = torch.zeros
    monkeypatch.setattr(torch, 'zeros', lambda *a, device: tried.append(device) or zeros(*a))
    for there, expected in ((False, 'cpu'), (True, 'cuda')):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda there=there: there)
        assert torch_device('auto') == torch.device(expected)
        assert tried.pop() == expected


def test_a_keyword_is_for_all_stages_or_for_one(folder, monkeypatch):
    made = []
    monkeypatch.setattr(Policy, 'from_settings', lambda folder, settings: made.append(settings))
    Policy.from_pretrained(folder, actor_device='cuda:1', device='cpu')
    assert [made[0][stage].device for stage in SETTINGS] == ['cpu', 'cpu', 'cuda:1']
    Policy.from_pretrained(folder, quantization_mode='bf16')
    assert made[1]['reasoner'].quantization.mode == 'bf16'
    assert made[1]['perception'] == build(PerceptionSettings, {})


@torch.inference_mode()
def test_whole_passes_run_on_a_device_without_numbers(folder):
    policy = Policy.from_pretrained(folder, device='cpu')
    tower, trunk = policy.perception.tower.to('meta'), policy.reasoner.trunk.to('meta')
    tokens = tower(torch.empty(1, 3, 144, 144, device='meta'))
    text = torch.empty(1, 4, dtype=torch.long, device='meta')
    places = torch.arange(144, device='meta')[None]
    latents, _ = trunk(tokens, places, text, torch.ones_like(text, dtype=torch.bool), 144)
    dual = policy.actor.generator.policy.to('meta')
    pixels, state = torch.empty(1, 3, 144, 144, device='meta'), torch.empty(1, 4, device='meta')
    assert dual(latents, pixels, state).device.type == 'meta'
