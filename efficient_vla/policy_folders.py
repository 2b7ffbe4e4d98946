# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which kind of policy a place holds, and what a folder says of itself; this loads no torch.

A folder of this package has ``policy.json``; those of other projects are known by ``config.json``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from efficient_vla import plugins
from efficient_vla.addresses import ServerAddress
from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError
from efficient_vla.headers import read_header
from efficient_vla.places import PolicyPlace

FAMILIES = {
    'evla': 'efficient_vla.assembly',
    'passthrough': 'efficient_vla.passthrough',
    'lerobot': 'efficient_vla.lerobot',
    'nora': 'efficient_vla.nora',
    'openvla': 'efficient_vla.openvla',
}
"""Policy type -> module with the loaders of its stages; one whose folders have no ``policy.json``
imports without torch and has ``facts(folder)``."""
ORIGIN = 'origin.json'
"""File of a folder that was made and not trained, which says how."""
SERVED = 'efficient_vla.serving.stages'
"""The same of policies that a server has."""


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """What a policy folder says of itself, without its weights."""

    family: str
    """Key of ``FAMILIES``, or the policy type of another package."""
    kind: str
    """The policy inside its family, such as 'smolvla'."""
    cameras: Mapping[str, tuple[int, int] | None]
    """Name by which the robot gives each image -> rows and columns it must have, ``None``: any."""
    state_names: tuple[str, ...] = ()
    """Empty where the folder names none."""
    state_width: int = 0
    action_names: tuple[str, ...] = ()
    """Empty where the folder names none."""
    action_width: int = 0
    units: str = ''
    """Empty where the folder does not say."""
    normalisation: Mapping[str, str] = field(default_factory=dict)
    """'state', 'action' or 'images' -> method."""
    horizon: int = 0
    """Rows of a chunk that are executed."""
    dt: float | None = None
    """Seconds a row lasts; ``None`` where the folder does not say."""
    prompt: str = ''
    """How the sentence of the task enters; empty: as it is, or not at all."""
    tokenizer: str | None = None
    """Where the tokenizer lies, empty where it was not found, ``None`` where none is needed."""
    parameters: int = 0
    """Numbers in the weights."""
    memory_mb: float = 0.0
    """Size of the weights as they are stored [MB]."""
    techniques: tuple[str, ...] = ()
    """Parameters of this package that apply to the policy."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Those that do not -> why."""
    missing: tuple[str, ...] = ()
    """What has to be given beside the folder, a sentence each."""
    trained_sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Camera -> rows and columns of the images of training, where the folder says."""
    learned: tuple[tuple[float, float], ...] = ()
    """Between which numbers the actions of training mostly were, a pair a column, in the policy's
    units, where the folder says."""
    groups: tuple[str, ...] = ()
    """Datasets whose statistics it has, one of which unnorm_key has to name; empty: of one."""
    architecture: str = ''
    """What actor.architecture auto means; empty: what the head that is chosen needs."""
    random: str = ''
    """System whose shape it has with random weights; empty: it was trained."""
    one_process: bool = False
    """Whether the three stages have to share a process: they hand on more than messages hold."""


def policy_type(folder: PolicyPlace) -> str:
    """Return the type of the policy in a place: of its card, or its family's name.

    Raises ``CheckpointError`` where the folder holds none.
    """
    if isinstance(folder, ServerAddress):
        return 'remote'
    card, model = folder / 'policy.json', folder / 'config.json'
    if not card.is_file() and model.is_file():
        config = read_json(model)
        # Models of transformers have model_type; LeRobot writes type alone.
        if 'type' in config and 'model_type' not in config:
            return 'lerobot'
        if config.get('model_type') == 'openvla':
            return 'openvla'
        if config.get('model_type') == 'qwen2_5_vl' and _names_actions(folder):
            return 'nora'
    kind = read_json(card).get('policy_type')
    if not isinstance(kind, str):
        raise CheckpointError(
            f'{card} has policy_type {kind!r}; expected a name. Copy the checkpoint again.'
        )
    return kind


def _names_actions(folder: Path) -> bool:
    """Return whether the tokenizer of a Qwen2.5-VL has the action tokens of NORA."""
    path = folder / 'tokenizer.json'
    return path.is_file() and b'<robot_action_0>' in path.read_bytes()


def why_none(folder: PolicyPlace) -> str:
    """Return why there is no policy in a place; empty where it holds one, in whatever state."""
    if isinstance(folder, ServerAddress) or not (folder / 'policy.json').is_file():
        try:
            policy_type(folder)
        except CheckpointError as error:
            return str(error)
    return ''


def module_of(folder: PolicyPlace) -> Any:
    """Return the module that makes the stages of the policy in a place.

    Raises ``CheckpointError`` for a type that nobody offers, and ``PluginError`` for a package
    that cannot be imported.
    """
    if isinstance(folder, ServerAddress):
        return import_module(SERVED)
    return plugins.load(plugins.POLICIES, _known_type(folder), FAMILIES)


def _known_type(folder: Path) -> str:
    """Return the type of the policy in a folder; raises ``CheckpointError`` where none has it."""
    kind = policy_type(folder)
    known = plugins.names(plugins.POLICIES, FAMILIES)
    if kind not in known:
        raise CheckpointError(
            f'{folder} has policy_type {kind!r}; expected '
            f'{", ".join(known[:-1])} or {known[-1]}. '
            'Use a checkpoint of this package, or install the package that brings this type.'
        )
    return kind


def folder_facts(folder: PolicyPlace, token_file: str = '') -> FolderFacts:
    """Return what a policy folder says of itself, or a server, which is asked.

    ``token_file`` has the word that the server demands. Raises ``CheckpointError`` where a folder
    cannot be read, ``PolicyServerError`` where a server does not answer.
    """
    if isinstance(folder, ServerAddress):
        served: FolderFacts = module_of(folder).facts(folder, token_file)
        return served
    if (folder / 'policy.json').is_file():
        facts = _card_facts(folder)
    else:
        policy_type(folder)
        facts = module_of(folder).facts(folder)
    made = folder / ORIGIN
    return replace(facts, random=str(read_json(made).get('system'))) if made.is_file() else facts


def _card_facts(folder: Path) -> FolderFacts:
    """Return what ``policy.json`` says, as far as the card of its type has these fields."""
    path = folder / 'policy.json'
    card, kind = read_json(path), _known_type(folder)
    parameters, memory = weights_of(folder)
    try:
        cameras, shape = dict.fromkeys(card.get('cameras', ())), card.get('image_shape')
        rows, columns = map(int, shape or (0, 0))
        state, actions = tuple(card.get('state_names', ())), tuple(card.get('action_names', ()))
        return FolderFacts(
            family=kind,
            kind=str(card.get('name', kind)),
            cameras=cameras,
            state_names=state,
            state_width=len(state),
            action_names=actions,
            action_width=len(actions),
            units=str(card.get('control_mode', '')),
            normalisation={
                part: method
                for name, part, method in (
                    ('state_mean', 'state', 'MEAN_STD'),
                    ('action_scale', 'action', 'SCALE'),
                )
                if name in card
            },
            horizon=int(card.get('horizon', 0)),
            dt=float(card['dt']) if 'dt' in card else None,
            parameters=parameters,
            memory_mb=memory,
            trained_sizes=dict.fromkeys(cameras, (rows, columns)) if shape else {},
            missing=(
                f'{folder / "model.safetensors"} is missing. Copy the whole checkpoint folder.',
            )
            if kind == 'evla' and not parameters
            else (),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f'{path} cannot be read: {type(error).__name__}: {error}. Copy the checkpoint again.'
        ) from error


def weights_of(folder: Path) -> tuple[int, float]:
    """Return how many numbers the weights of a folder hold, and their megabytes.

    Weights are the model, in one file or in shards, and what was trained for it; add-ons, of which
    few run at once, and what a training left behind are not.
    """
    files = sorted({*folder.glob('model*.safetensors'), *folder.glob('policy.safetensors')})
    found = [entry for path in files for entry in read_header(path).values()]
    return sum(entry.values for entry in found), sum(entry.size for entry in found) / 1e6
