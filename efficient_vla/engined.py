# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Hand the modules of a stage to the engine that its settings name.

A stage that may drop or reuse rows is cut before and behind each attention; otherwise all of it is
one graph, and settings that need cuts are refused from then on.
"""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from efficient_vla.action.heads.expert import Expert, ExpertPass, Memories
from efficient_vla.action.settings import ActorSettings
from efficient_vla.compression.quantization import (
    chosen_layers,
    quantize,
    stage_device,
)
from efficient_vla.compression.ranges import ranges_of
from efficient_vla.dual_settings import OWN
from efficient_vla.engines import integers
from efficient_vla.engines.fitting import EXPORTING, EngineReport, fit
from efficient_vla.engines.graphs import EngineFormat, EngineGraph, EngineRequest, child
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.perception.stage import Perception
from efficient_vla.perception.tower import VisionTower, WholeTower
from efficient_vla.quantization_settings import QuantizationSettings
from efficient_vla.reasoning import runner
from efficient_vla.reasoning.decoders import Decoder
from efficient_vla.reasoning.prefix import Prefix
from efficient_vla.reasoning.selection import looks_between
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.reasoning.trunk import Trunk
from efficient_vla.settings import InvalidSettingError

SIZES = (24, 40)
"""Rows of the sequences by which graphs are made and checked."""
PASSES = ((24, 0), (72, 0), (72, 17), (1, 39))
"""Rows of a prefix, and rows that they come behind: frames of one block and of two, a pass of sizes
that no export takes for constants, and the state alone. Each has a compiled form of its own."""
FORMATS = {'none': EngineFormat(), 'bf16': EngineFormat('bfloat16', 'bf16', max_error=0.05)}
"""Number formats of floats, by ``quantization.mode``."""


def device_for(settings: Any) -> torch.device:
    """Return where a stage's tensors are; 'auto' is the CPU for what computes there alone.

    Raises ``InvalidSettingError`` for a device that the engine does not use.
    """
    engine = settings.engine
    on_cpu = engine in ('openvino', 'onnxruntime')
    if settings.device == 'auto' and on_cpu:
        return torch.device('cpu')
    device = stage_device(settings.device, settings.quantization.mode)
    if on_cpu and device.type != 'cpu':
        raise InvalidSettingError(
            f'engine is {engine} with device {settings.device}; it computes on the CPU here. Set '
            'device to cpu, or engine to torch, compile or tensorrt.'
        )
    if engine == 'tensorrt' and device.type != 'cuda':
        raise InvalidSettingError(
            f'engine is tensorrt with device {device}; it computes on a GPU of NVIDIA alone. Set '
            'engine to torch or openvino.'
        )
    return device


def converts(settings: Any) -> bool:
    """Return whether the engine of a stage brings weights into a number format itself."""
    return settings.engine in EXPORTING


def formats_of(engine: str) -> tuple[str, ...]:
    """Return the values of ``quantization.mode`` that an engine other than torch has."""
    known = {'openvino': (*FORMATS, *integers.BITS), 'compile': tuple(FORMATS)}
    return known.get(engine, ('none',))


def torch_format(settings: Any) -> QuantizationSettings:
    """Return the number format of torch's weights: an engine of its own converts from float32.

    Raises ``InvalidSettingError`` for one that the engine does not have.
    """
    engine, given = settings.engine, settings.quantization
    known = formats_of(engine)
    if engine != 'torch' and given.mode not in known:
        raise InvalidSettingError(
            f'quantization.mode is {given.mode} with engine {engine}; expected '
            f'{", ".join(known)}. Set one, or engine to torch.'
        )
    return QuantizationSettings() if converts(settings) else given


def in_format(
    network: nn.Module, settings: Any, stage: tuple[str, Path], high: Collection[str] = ()
) -> tuple[nn.Module, dict[nn.Module, torch.Tensor | None]]:
    """Return the network of a stage on its device and in torch's number format.

    Beside it are the linear layers that the engine is to hold in integers, with the ranges of their
    inputs. ``stage`` is its name and the folder of its policy, ``high`` as in ``quantize``.
    """
    form, wanted = torch_format(settings), settings.quantization
    name, folder = stage
    ranges = ranges_of(folder, name, wanted.mode)
    network = quantize(network.to(device_for(settings)), form, high, ranges)
    if form == wanted or wanted.mode not in integers.BITS:
        return network, {}
    chosen = chosen_layers(network, wanted, high, ranges)
    return network, {layer: ranges.get(path) for path, layer in chosen.items()}


def fit_perception(
    stage: Perception,
    settings: PerceptionSettings,
    folder: Path,
    layers: dict[nn.Module, torch.Tensor | None],
) -> None:
    """Let the engine of the settings execute the vision tower of a stage."""
    request = _request(settings, folder, layers)
    if request is None:
        return
    tower = stage.tower
    if not isinstance(tower, VisionTower) or not tower.walked:
        raise _unfit(request.engine, f'a vision tower of type {type(tower).__name__} is not parted')
    random = torch.Generator().manual_seed(0)
    shape = (len(stage.cameras) * stage.pictures, 3, *stage.size)
    pixels = (torch.rand(shape, generator=random) * 2 - 1).to(stage.device, tower.dtype)
    if tower.can_update and (settings.cache.method == 'patch' or settings.signals):
        layered = tower.join(layers)
        graphs = [
            EngineGraph('layers', layered, partial(setattr, tower, 'partial'), tower.release),
            child(tower, 'connector'),
        ]
        some = torch.arange(0, stage.patches.rows * stage.patches.columns, 3, device=stage.device)

        def updated() -> torch.Tensor:
            memory = tower.encode(pixels[0], slots=True, scores=False)
            tower.update(memory, pixels[0].flip(1), some)
            return tower.project(memory)

        stage.engine = fit(graphs, [updated], request)
        return
    whole = WholeTower(tower, pixels)
    graph = EngineGraph('vision tower', whole, partial(setattr, tower, 'whole'), tower.release)
    stage.engine = fit([graph], [lambda: (tower.whole or whole)(pixels)], request)


def fit_trunk(
    trunk: Trunk, settings: ReasonerSettings, folder: Path, layers: integers.Layers
) -> EngineReport | None:
    """Let the engine of the settings execute the decoder of a policy of this package."""
    request = _request(settings, folder, layers)
    if request is None:
        return None
    parts = trunk.parts
    cut = looks_between(settings, parts.left) or trunk.levels or settings.depth.dynamic
    whole = None if cut else parts.whole_pass()

    def sequence(rows: int) -> runner.Sequence:
        ids = torch.arange(rows, device=parts.device) % trunk.words
        seen = torch.ones(1, rows, dtype=torch.bool, device=parts.device)
        return _sequence(parts.embed(ids).to(parts.dtype), runner.causal_mask(seen))

    if whole is None:
        _refuse_uncut(parts, request)
        passes = [
            lambda rows=rows: runner.run(parts, sequence(rows)).hidden  # type: ignore[misc]
            for rows in SIZES
        ]
        return fit(_halves(trunk.decoder, len(parts.layers)), passes, request)

    def at_once(rows: int) -> torch.Tensor:
        given = sequence(rows)
        (rotary,) = list(parts.rotary(given.embeddings, given.positions).values())[:1]
        found: torch.Tensor = (parts.whole or whole)(given.embeddings, given.mask, *rotary)
        return found

    put, release = partial(setattr, trunk.decoder, 'whole'), partial(forget, parts.layers)
    probes = [lambda rows=rows: at_once(rows) for rows in SIZES]  # type: ignore[misc]
    return fit([EngineGraph('decoder', whole, put, release)], probes, request)


def fit_prefix(
    prefix: Prefix, settings: ReasonerSettings, folder: Path, layers: integers.Layers
) -> EngineReport | None:
    """Let the engine of the settings execute the decoder of a prefix."""
    request = _request(settings, folder, layers)
    if request is None:
        return None
    parts = prefix.parts
    cut = looks_between(settings, parts.left) or settings.depth.dynamic
    whole = None if cut else parts.keeping_pass()
    if whole is not None:
        return _fit_keeping(prefix, whole, request)
    _refuse_uncut(parts, request)

    def probe(rows: int) -> Callable[[], tuple[torch.Tensor, ...]]:
        def run() -> tuple[torch.Tensor, ...]:
            embedded = prefix.words(torch.arange(rows)).to(parts.device, parts.dtype)
            everything = torch.ones(1, 1, rows, rows, dtype=torch.bool, device=parts.device)
            slots, _ = runner.run_keeping(parts, _sequence(embedded, everything))
            pairs = [part for slot in slots for part in (slot.keys, slot.values)]
            return tuple(part for part in pairs if part is not None)

        return run

    halves = _halves(prefix.decoder, len(parts.layers))
    return fit(halves, [probe(rows) for rows in SIZES], request)


def _fit_keeping(prefix: Prefix, whole: nn.Module, request: EngineRequest) -> EngineReport:
    """Let an engine execute all layers of a prefix as one graph."""
    parts = prefix.parts

    def probe(rows: int, seen: int) -> Callable[[], tuple[torch.Tensor, ...]]:
        def run() -> tuple[torch.Tensor, ...]:
            hidden = prefix.words(torch.arange(rows)).to(parts.device, parts.dtype)[None]
            (turn,) = parts.rotary(hidden, torch.arange(seen, seen + rows)[None]).values()
            mask = torch.ones(1, 1, rows, seen + rows, dtype=torch.bool, device=parts.device)
            random = torch.Generator().manual_seed(rows)
            before = [
                torch.randn(*none.shape[:2], seen, none.shape[3], generator=random).to(none)
                for none in parts.nothing_before(hidden)
            ]
            found: tuple[torch.Tensor, ...] = (parts.whole or whole)(hidden, mask, *turn, *before)
            return found

        return run

    put, release = partial(setattr, prefix.decoder, 'whole'), partial(forget, parts.layers)
    graph = EngineGraph('prefix', whole, put, release)
    return fit([graph], [probe(*sizes) for sizes in PASSES], request)


def fit_expert(
    expert: Expert, settings: Any, folder: Path, layers: integers.Layers
) -> EngineReport | None:
    """Let the engine of the settings execute an action expert, a step at a time."""
    request = _request(settings, folder, layers)
    if request is None:
        return None
    whole, ends = ExpertPass(expert), expert.ends
    random = torch.Generator().manual_seed(0)

    def probe(rows: int) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        def run() -> tuple[torch.Tensor, torch.Tensor]:
            cache, noise, state = expert.example(rows, random.manual_seed(rows))
            given = expert.given(noise, 0.25, expert.prepare(cache), state)
            velocity, added = (expert.whole or whole)(*given)
            outer = ends.given(noise, 0.5, state, expert.like)
            return velocity, (expert.past or ends)(added, *outer)

        return run

    graphs = [
        EngineGraph('action expert', whole, partial(setattr, expert, 'whole'), expert.release),
        EngineGraph('its ends', ends, partial(setattr, expert, 'past'), partial(forget, ends)),
    ]
    if expert.crossing:
        made = expert.memories = Memories(expert.crossing)
        put, release = partial(setattr, expert, 'memories'), partial(forget, made)
        graphs.append(EngineGraph('its memories', made, put, release))
    return fit(graphs, [probe(rows) for rows in SIZES], request)


def refuse_head(settings: ActorSettings) -> None:
    """Raise ``InvalidSettingError`` for an engine beside a head that it cannot execute."""
    if settings.engine != 'torch' and settings.own_head != 'regression':
        raise _unfit(
            settings.engine, f'head {settings.own_head} takes several passes of small modules'
        )
    if settings.engine != 'torch' and settings.dual.conditioning != OWN:
        raise _unfit(
            settings.engine,
            f'dual.conditioning {settings.dual.conditioning} was tried in torch alone',
        )


def fit_regression(
    generator: Any,
    given: tuple[torch.Tensor, ...],
    settings: Any,
    folder: Path,
    layers: integers.Layers,
) -> EngineReport | None:
    """Let the engine of the settings execute a head of one pass; ``given`` is what it takes."""
    request = _request(settings, folder, layers)
    if request is None:
        return None
    return fit([child(generator, 'policy')], [lambda: generator.policy(*given)], request)


def fit_network(
    name: str,
    whole: nn.Module,
    owner: Any,
    given: tuple[torch.Tensor, ...],
    settings: Any,
    folder: Path,
) -> EngineReport | None:
    """Let the engine of the settings execute a network of one pass; ``given`` is what it takes.

    ``owner`` has the network, all of whose weights go, and runs what is its ``whole`` then.
    """
    request = _request(settings, folder, {})
    if request is None:
        return None
    graph = EngineGraph(name, whole, partial(setattr, owner, 'whole'), partial(forget, owner))
    return fit([graph], [lambda: (owner.whole or whole)(*given)], request)


def forget(module: nn.Module) -> None:
    """Let go of weights that an engine holds."""
    module.to('meta')


def _request(settings: Any, folder: Path, layers: integers.Layers) -> EngineRequest | None:
    if settings.engine == 'torch':
        return None
    threads = getattr(settings, 'threads', 0) or torch.get_num_threads()
    form, wanted = EngineFormat(), settings.quantization
    if wanted.mode in integers.BITS:
        form = integers.form(wanted.mode, layers, wanted.group_size)
    elif converts(settings):
        form = FORMATS[wanted.mode]
    bound = settings.engine_max_error or form.max_error
    return EngineRequest(settings.engine, threads, bound, folder, form)


def _unfit(engine: str, why: str) -> InvalidSettingError:
    return InvalidSettingError(
        f'engine is {engine}; expected torch, since {why}. Set engine to torch.'
    )


def _refuse_uncut(parts: Decoder, request: EngineRequest) -> None:
    if not parts.is_cut:
        kind = parts.model.config.model_type
        raise _unfit(
            request.engine, f'the layers of a {kind} decoder are not parted at their attention'
        )


def _halves(decoder: nn.Module, depth: int) -> list[EngineGraph]:
    """Return the parts of all layers before and behind their attention."""
    paths = (f'layers.{index}.{part}' for index in range(depth) for part in ('enter', 'leave'))
    return [child(decoder, path) for path in paths if _has(decoder, path)]


def _has(root: nn.Module, path: str) -> bool:
    owner, _, name = path.rpartition('.')
    return name in root.get_submodule(owner)._modules


def _sequence(embedded: torch.Tensor, mask: torch.Tensor) -> runner.Sequence:
    """Return a sequence of embeddings [N, D], the first half of them visual."""
    places = torch.arange(len(embedded), device=embedded.device)
    half = len(embedded) // 2
    return runner.Sequence(embedded[None], places[None], mask, places[:half], places[half:])
