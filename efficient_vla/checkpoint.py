# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Read policy folders: safetensors in the layout of transformers, and no pickle.

A folder holds a vision-language model as ``save_pretrained`` of transformers writes it, in one file
or in shards, with its tokenizer; beside it ``policy.json`` (shapes, cameras, units) and, in
``policy.safetensors`` or among the tensors of the model, the queries and heads. transformers'
loader reads the model, so that names of any of its versions, shards and number formats are its own
business. Each stage reads the layers of its own half.
"""

import copy
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast
from transformers.utils import logging

from efficient_vla import addons, cards
from efficient_vla.action.policies import DualPolicy, PolicyShape, SinglePolicy
from efficient_vla.dual_settings import CONDITIONINGS, addon_name
from efficient_vla.errors import CheckpointError
from efficient_vla.families import Family, known_family, train_command
from efficient_vla.image_processor import LARGEST, own_images
from efficient_vla.own_images import OwnImages
from efficient_vla.perception.conv_stem import ConvStem
from efficient_vla.perception.florence_tower import FlorenceTower
from efficient_vla.perception.qwen_tower import QwenTower
from efficient_vla.perception.tower import ENCODERS, VisionTower
from efficient_vla.prompts import BARE, PROMPTS
from efficient_vla.reasoning.decoders import reading_half
from efficient_vla.reasoning.depth import METHODS, DepthSettings
from efficient_vla.reasoning.depth.early_exit import Exits
from efficient_vla.reasoning.depth.mole import LayerRouter
from efficient_vla.reasoning.depth.similarity_skip import Importance
from efficient_vla.reasoning.depth.student import Student
from efficient_vla.reasoning.ecot.thinker import Thinker
from efficient_vla.reasoning.pruning.fastdrivevla import ReconPruner
from efficient_vla.reasoning.pruning.lightvla import TextSide
from efficient_vla.reasoning.resampling import resampler_class
from efficient_vla.reasoning.trunk import Trunk
from efficient_vla.reasoning.width import METHOD as STRUCTURED, WidthSettings
from efficient_vla.reasoning.width.structured import Saliency, narrow, sizes
from efficient_vla.tensors import check_finite, read_tensors
from efficient_vla.types import MIN_IMAGE_SIDE, ControlMode, InvalidRecordError

Tower = VisionTower | QwenTower | FlorenceTower
FORMAT = 1
WEIGHTS = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
POLICY = 'policy.safetensors'
"""Queries, heads and updates of the decoder that were trained for a model that stays as it is."""
QUERIES = 'queries'
TOKEN = 'token'
"""Of an add-on: the embedding of a token that plans have more, [1, D]."""
HASHED_BYTES = 1 << 20
LAYER = re.compile(r'\.(layers|blocks)\.\d')
STEMS = ('patch', 'conv')
LEARNED: dict[str, type[nn.Module]] = {
    'fastdrivevla': ReconPruner,
    'lightvla': TextSide,
    'ecot': Thinker,
}
"""Method of the reasoner that may be chosen while it runs -> the module that is trained for it."""
DEPTH: dict[str, type[nn.Module]] = {
    'similarity_skip': Importance,
    'early_exit': Exits,
    'mole': LayerRouter,
    'student': Student,
}
"""``depth.method`` -> the module of its add-on."""
UNTRAINED = ('lightvla',)
"""Those of them that have a meaning without the module too."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a policy expects and gives; the contents of ``policy.json``."""

    name: str
    cameras: tuple[str, ...]
    image_size: int
    """Side of the square image the policy sees [pixels]."""
    tokens_per_camera: int
    stem: str
    """'patch' (the vision model's own) or 'conv' (``ConvStem``)."""
    queries: int
    state_names: tuple[str, ...]
    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]
    action_names: tuple[str, ...]
    action_scale: tuple[float, ...]
    """Units of an action that 1 in the network's output stands for."""
    control_mode: str
    horizon: int
    dt: float
    """Seconds a row of the chunk lasts."""
    image_mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    """Of intensities in [0, 1], as the vision tower was trained."""
    image_std: tuple[float, ...] = (0.5, 0.5, 0.5)
    prompt: str = BARE
    """Template around the sentence, one of ``prompts.PROMPTS``."""
    image_shape: tuple[int, ...] = ()
    """Rows and columns of a camera's image, where the vision tower is given it as the model's own
    processor prepares it, in tiles or in its own shape [pixels]; empty: as the square. A fast
    policy is given the square either way."""
    policy_type: str = 'evla'
    format: int = FORMAT

    def shape(self, width: int) -> PolicyShape:
        """Return the sizes of a fast policy for plans of this ``width``."""
        states, actions = len(self.state_names), len(self.action_names)
        return PolicyShape(self.queries, width, states, self.horizon, actions)


def read_card(folder: Path) -> Card:
    """Return the checked contents of ``policy.json``."""
    path = folder / 'policy.json'
    fields = cards.read_json(path)
    if fields.get('format') != FORMAT:
        raise CheckpointError(
            f'{folder} has format {fields.get("format")!r}; expected {FORMAT}. '
            'Use a checkpoint of this version of the package.'
        )
    card = cards.make(Card, path, fields)
    misfit = _misfit(card)
    if misfit:
        raise CheckpointError(f'{path} does not fit: {misfit}. Use a checkpoint of this version.')
    return card


def _misfit(card: Card) -> str:
    """Return which field cannot be, and what is expected; empty for a card that can be used."""
    states, colours = len(card.state_names), 3
    sides = card.image_shape
    if sides and (len(sides) != 2 or not all(MIN_IMAGE_SIDE <= n <= LARGEST for n in sides)):
        return (
            f'image_shape is {list(sides)}; expected rows and columns, {MIN_IMAGE_SIDE} to '
            f'{LARGEST} pixels each, or nothing'
        )
    lengths = {
        'state_mean': states,
        'state_std': states,
        'action_scale': len(card.action_names),
        'image_mean': colours,
        'image_std': colours,
    }
    for name, length in lengths.items():
        if len(getattr(card, name)) != length:
            return f'{name} is {list(getattr(card, name))}; expected {length} numbers'
    for name in lengths:
        with np.errstate(over='ignore'):
            values = np.asarray(getattr(card, name), np.float32)
        if name.endswith('_std') and np.any(values <= 0):
            return f'{name} is {getattr(card, name)}; expected more than 0'
        if not np.isfinite(values).all():
            return f'{name} is {list(getattr(card, name))}; expected finite float32 numbers'
    if not np.all(np.asarray(card.action_scale, np.float32)):
        return f'action_scale is {list(card.action_scale)}; expected no 0'
    modes = tuple(mode.name for mode in ControlMode if mode)
    for name, known in {'stem': STEMS, 'control_mode': modes, 'prompt': PROMPTS}.items():
        if getattr(card, name) not in known:
            return f'{name} is {getattr(card, name)!r}; expected one of {", ".join(known)}'
    unknown = set(card.action_names) - set(card.state_names) - {'gripper'}
    if unknown and card.control_mode.endswith('POSITION'):
        return (
            f'{min(unknown)} is in action_names and not in state_names; expected it in both, since '
            f'a row of {card.control_mode} is counted from the measured state'
        )
    return ''


def load_tower(folder: Path, dtype: torch.dtype = torch.float32) -> tuple[Card, Tower]:
    """Return the card and the vision tower in the number format ``dtype``, in evaluation mode.

    A convolutional stem, whose norms are yet to be folded, is always given in float32.
    """
    card, config, family = _open(folder)
    conv = card.stem == 'conv'
    dtype = torch.float32 if conv else dtype
    tower = tower_of(folder, config, family, dtype, conv)
    own, cell, tokens = images_of(folder, card), tower.patch_size, card.tokens_per_camera
    size = own.cut.view if own else (card.image_size,) * 2
    try:
        with torch.inference_mode():
            count = tower(torch.zeros(1, 3, *size, dtype=dtype)).shape[1]
    except (RuntimeError, ValueError):
        count = 0
    count *= own.cut.views if own else 1
    if any(length % cell for length in size) or count != tokens:
        said = f'image_size is {card.image_size}'
        if own:
            said = f'image_shape is {list(own.shape)}, given as {own.cut.views} of {list(size)},'
        raise CheckpointError(
            f'{folder / "policy.json"} does not fit: {said} and tokens_per_camera {tokens}; '
            f'expected a multiple of {cell} pixels, of which the vision tower makes so many '
            f'tokens: it makes {count}. Use matching files.'
        )
    return card, tower


def images_of(folder: Path, card: Card) -> OwnImages | None:
    """Return how the model's own processor prepares images; ``None`` where they are squares."""
    kind = cards.read_json(folder / 'config.json').get('model_type', '')
    return own_images(folder, kind, card.image_shape)


def tower_of(
    folder: Path, config: Any, family: Family, dtype: torch.dtype, conv: bool = False
) -> Tower:
    """Return the vision tower of a model's folder, in evaluation mode."""
    layer, skip = _chosen_layer(folder, config) if family.chooses_layer else (None, 0)
    stem = f'{family.vision}.embeddings.patch_embedding.'
    model = _half(folder, config, family, family.text, dtype, *([stem] if conv else []))
    encoder = getattr(model, family.vision)
    if conv:
        encoder.embeddings.patch_embedding = ConvStem(config.vision_config.hidden_size)
        _fill(encoder.embeddings.patch_embedding, folder, stem)
    if not family.connector:
        return QwenTower(encoder).eval()
    connector = getattr(model, family.connector)
    if config.model_type == 'florence2':
        return FlorenceTower(encoder, connector).eval()
    return VisionTower(encoder, connector, layer, skip).eval()


def _chosen_layer(folder: Path, config: Any) -> tuple[int, int]:
    """Return which hidden state is projected, and how many leading tokens are left out."""
    layer, strategy = config.vision_feature_layer, config.vision_feature_select_strategy
    kind = config.vision_config.model_type
    leading = ENCODERS[kind].leading if kind in ENCODERS else None
    skip = {'default': 1, 'full': 0}.get(strategy)
    if skip is None or skip != leading:
        raise CheckpointError(
            f'{folder} has vision_feature_select_strategy {strategy!r} for a {kind}; expected '
            "'default' for clip_vision_model and 'full' for siglip_vision_model, which leaves one "
            'token a patch. Use another checkpoint.'
        )
    depth = config.vision_config.num_hidden_layers
    if not isinstance(layer, int) or not -depth - 1 <= layer <= depth:
        raise CheckpointError(
            f'{folder} has vision_feature_layer {layer}; expected one number from {-depth - 1} to '
            f'{depth}, since the tower gives the tokens of one layer. Use another checkpoint.'
        )
    return layer, skip


def load_trunk(
    folder: Path, dtype: torch.dtype = torch.float32
) -> tuple[Card, Trunk, PreTrainedTokenizerFast]:
    """Return the card, the language half with its queries, and the tokenizer."""
    card, config, family = _open(folder)
    trunk = trunk_of(folder, config, family, card.queries, dtype)
    extra = _policy_tensors(folder, QUERIES)
    queries = extra.get('')
    if queries is None or queries.shape != trunk.queries.shape:
        found = 'none' if queries is None else list(queries.shape)
        raise CheckpointError(
            f'{folder} holds {found} as {QUERIES}; expected {list(trunk.queries.shape)}, '
            'as its policy.json and config.json say. Use matching files, or train them: '
            f'{train_command(folder)}.'
        )
    trunk.queries = nn.Parameter(queries)
    updates = {addons.LORA + n: t for n, t in _policy_tensors(folder, addons.LORA).items()}
    addons.Addon(folder / POLICY, 'policy', {}, updates).merge(trunk.decoder)
    return card, trunk.eval(), tokenizer(folder)


def trunk_of(folder: Path, config: Any, family: Family, queries: int, dtype: torch.dtype) -> Trunk:
    """Return the language half of a model's folder, with random queries."""
    model = _half(folder, config, family, family.vision, dtype)
    try:
        return Trunk(
            reading_half(getattr(model, family.text)),
            queries,
            family.bidirectional_prefix,
            family.image_blocks,
            len(getattr(config.vision_config, 'deepstack_visual_indexes', ())),
        )
    except InvalidRecordError as error:
        raise CheckpointError(f'{folder} suits no policy: {error}') from error


def _half(
    folder: Path, config: Any, family: Family, other: str, dtype: torch.dtype, *apart: str
) -> nn.Module:
    """Return the model of a folder, of whose part ``other`` no layer is read.

    Tensors whose names begin with one of ``apart`` are not expected to be there. Of a text half
    that reads and writes (Florence-2's BART), what writes is not read either.
    """
    for path in _model_files(folder):
        if not path.exists():
            raise CheckpointError(f'{path} is missing. Copy the whole checkpoint folder.')
    config = copy.deepcopy(config)
    half = config.vision_config if other == family.vision else config.text_config
    if hasattr(half, 'depths'):
        half.depths = [0] * len(half.depths)
    else:
        setattr(half, 'depth' if hasattr(half, 'depth') else 'num_hidden_layers', 0)
    if getattr(half, 'layer_types', None):
        half.layer_types = []
    if config.text_config.is_encoder_decoder:
        config.text_config.decoder_layers = 0
        apart = (*apart, f'{family.text}.decoder.')
    wanted = [family.text] if other == family.vision else [family.vision, family.connector]
    wanted = [part for part in wanted if part]
    try:
        with _quiet():
            model, report = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f'{folder / WEIGHTS} or one of its shards cannot be read: '
            f'{" ".join(str(error).split()).rstrip(".")}. A file is truncated or not safetensors: '
            'copy the whole checkpoint folder again.'
        ) from error
    except Exception as error:  # of many kinds: transformers computes with values before it checks
        raise _undescribed(folder / 'config.json', error) from error
    report['mismatched_keys'] = {name for name, *_ in report['mismatched_keys']}
    for kind in ('mismatched', 'missing', 'unexpected'):
        odd = sorted(
            name
            for name in report[f'{kind}_keys']
            if any(f'.{part}.' in f'.{name}' for part in wanted)
            and not any(f'.{prefix}' in f'.{name}' for prefix in apart)
            # Buffers of other versions and output layers are of no use here, a layer more is.
            and (kind != 'unexpected' or LAYER.search(name))
        )
        if odd:
            raise _misfitting(folder, f'{kind.capitalize()} key(s): {", ".join(odd[:3])}.')
    for part in wanted:
        for name, weight in getattr(model, part).named_parameters():
            if not f'{part}.{name}'.startswith(apart):
                check_finite(folder / WEIGHTS, f'{part}.{name}', weight)
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting the tensors of the other half, and from drawing bars."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a folder; it gives the bare sentence, without a chat template."""
    path = folder / 'tokenizer.json'
    if not path.exists():
        raise CheckpointError(f'{path} is missing. Copy the whole checkpoint folder.')
    try:
        return PreTrainedTokenizerFast(tokenizer_file=str(path))
    except Exception as error:  # tokenizers raises nothing more precise
        raise CheckpointError(
            f'{path} is no tokenizer: {error}. Copy the checkpoint again.'
        ) from error


def policy_shape(folder: Path) -> PolicyShape:
    """Return the sizes of what goes into the fast policy and comes out of it."""
    card, config, _ = _open(folder)
    return card.shape(config.text_config.hidden_size)


def load_head(folder: Path, architecture: str) -> tuple[Card, Any]:
    """Return the card and the fast policy of ``architecture``, 'single' or 'dual'."""
    card, config, _ = _open(folder)
    kind = {'single': SinglePolicy, 'dual': DualPolicy}[architecture]
    head = kind(card.shape(config.text_config.hidden_size))
    _fill(head, folder, f'{architecture}.')
    return card, head.eval()


def load_learned(folder: Path) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Return the module of each method of ``LEARNED``, and why others have none.

    Those are no error: only who chooses the method misses its add-on.
    """
    stored = any(addons.path(folder, method).exists() for method in LEARNED)
    weights = sha256(folder) if stored else ''
    learned, lacking = {}, {}
    for method, kind in LEARNED.items():
        if method in UNTRAINED and not addons.path(folder, method).exists():
            continue
        try:
            learned[method] = addons.read(folder, method, weights).module(kind)
        except CheckpointError as error:
            lacking[method] = str(error)
    return learned, lacking


def load_depth(
    folder: Path,
    settings: DepthSettings,
    decoder: Any = None,
    kinds: Mapping[str, type[nn.Module]] = DEPTH,
) -> Any:
    """Return the module that a way to run fewer layers needs, or ``None`` where it needs none.

    Updates that were trained for fewer layers are added to the ``decoder``, where fewer run.
    ``kinds`` are the modules by method.
    """
    method = settings.method
    if method not in kinds:
        return None
    addon = addons.read(folder, method, sha256(folder))
    module = addon.module(kinds[method])
    known = METHODS[method]
    if not known.updates:
        return module
    if decoder is None:
        raise CheckpointError(
            f'{addon.path} holds updates of a decoder, which a policy of this type does not take. '
            'Set depth.method to another.'
        )
    if known.fixed or settings.count(len(decoder.layers)) < len(decoder.layers):
        addon.merge(decoder)
    return module


def load_width(folder: Path, settings: WidthSettings, decoder: Any) -> None:
    """Take heads and channels out of the decoder, and add the updates of what was trained so."""
    if settings.method == 'none':
        return
    sizes(decoder)  # a trunk without such parts is refused before its add-on is missed
    addon = addons.read(folder, STRUCTURED, sha256(folder))
    if narrow(decoder, settings, addon.module(Saliency)):
        addon.merge(decoder)


def load_conditioning(folder: Path, conditioning: str, trunk: Trunk) -> None:
    """Give the trunk what its plans need to steer a fast policy: updates, and a token more."""
    addon = addons.read(folder, addon_name(conditioning), sha256(folder))
    addon.merge(trunk.decoder)
    if not CONDITIONINGS[conditioning].token:
        return
    token = addon.tensors.get(TOKEN)
    expected = (1, trunk.queries.shape[1])
    if token is None or token.shape != expected:
        found = 'none' if token is None else list(token.shape)
        raise CheckpointError(
            f'{addon.path} holds {found} as {TOKEN}; expected {list(expected)}. {addon.again}'
        )
    trunk.added = nn.Parameter(token)


def load_resampler(folder: Path, method: str, trunk: Trunk) -> nn.Module:
    """Return the resampler of an add-on file, and update the trunk that reads its tokens."""
    if trunk.levels:
        raise CheckpointError(
            f'{folder} holds a model whose early layers take features of the image (DeepStack); '
            f'resampling.method {method} makes none of them. Set it to none.'
        )
    addon = addons.read(folder, method, sha256(folder))
    addon.merge(trunk.decoder)
    return addon.module(resampler_class(method))


def sha256(folder: Path, policy: bool = True) -> str:
    """Return the hash of the weights, with or without those beside the model; read by pieces."""
    found = hashlib.sha256()
    for path in (*_model_files(folder), *([folder / POLICY] if policy else [])):
        if path.exists():
            with path.open('rb') as file:
                while piece := file.read(HASHED_BYTES):
                    found.update(piece)
    return found.hexdigest()


def _model_files(folder: Path) -> list[Path]:
    """Return the files that hold the model: one, or shards in the order of their names."""
    if not (folder / INDEX).exists():
        return [folder / WEIGHTS]
    names = cards.read_json(folder / INDEX).get('weight_map')
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f'{folder / INDEX} names no files. Copy the checkpoint again.')
    return [folder / name for name in sorted(set(map(str, names.values())))]


def model_tensor(folder: Path, name: str) -> torch.Tensor:
    """Return one tensor of the model in float32; raises ``CheckpointError`` where there is none."""
    for file in _model_files(folder):
        found = read_tensors(file, name)
        if '' in found:
            return found['']
    raise _misfitting(folder, f'Missing key(s): {name}.')


def _policy_tensors(folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors under ``prefix`` of what lies beside the model, or among it."""
    files = [folder / POLICY] if (folder / POLICY).exists() else _model_files(folder)
    return {name: tensor for file in files for name, tensor in read_tensors(file, prefix).items()}


def _open(folder: Path) -> tuple[Card, Any, Family]:
    return read_card(folder), *open_model(folder)


def open_model(folder: Path) -> tuple[Any, Family]:
    """Return the configuration of the vision-language model in a folder, and its family.

    Raises ``CheckpointError`` where it is damaged or of an unknown type.
    """
    path = folder / 'config.json'
    found = cards.read_json(path)
    family = known_family(folder, found)
    if found.get('quantization_config'):
        raise CheckpointError(
            f'{path} has a quantization_config; expected weights in float32, float16 or bfloat16. '
            'Use the model from before it was quantized, with reasoner.quantization.mode.'
        )
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of many kinds: transformers checks values in many places
        raise _undescribed(path, error) from error
    return config, family


def _undescribed(path: Path, error: Exception) -> CheckpointError:
    reason = f'{type(error).__name__}: {" ".join(str(error).split()).rstrip(".")}'
    return CheckpointError(f'{path} describes no model: {reason}. Copy the checkpoint again.')


def _fill(module: nn.Module, folder: Path, prefix: str) -> None:
    """Put the tensors under ``prefix`` into the module."""
    tensors = _policy_tensors(folder, prefix)
    if not tensors:
        raise CheckpointError(
            f'{folder} holds no {prefix.rstrip(".")}. Use the whole folder of the policy, or train '
            f'it: {train_command(folder)}.'
        )
    try:
        module.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise _misfitting(folder, str(error).splitlines()[-1].strip()) from error


def _misfitting(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f'{folder} does not fit the architecture that its policy.json and config.json name: '
        f'{" ".join(reason.split())} Use matching files.'
    )
