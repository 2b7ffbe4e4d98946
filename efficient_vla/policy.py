# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A policy folder -> its stages, and `Policy`, which runs them without ROS.

Importing this module does not import torch; the stages of a learned policy do.
"""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from efficient_vla.action.settings import ActorSettings
from efficient_vla.dual_settings import OWN
from efficient_vla.errors import CheckpointError
from efficient_vla.instructions import checked_instruction
from efficient_vla.joint_settings import JointSettings
from efficient_vla.observation import frame_of
from efficient_vla.perception.settings import PerceptionSettings
from efficient_vla.places import PolicyPlace, given_place, policy_place
from efficient_vla.policy_folders import folder_facts, module_of
from efficient_vla.presets import preset_of, refuse_unmet
from efficient_vla.reasoning.settings import ReasonerSettings
from efficient_vla.remote import RemoteCameraSettings
from efficient_vla.settings import InvalidSettingError, build, specs
from efficient_vla.stages import ActorStage, PerceptionStage, ReasonerStage
from efficient_vla.types import ActionChunk, InvalidRecordError, Plan, VisualTokens

LOADERS = ('load_perception', 'load_reasoner', 'load_actor')
"""What such a module has, each made of (folder, settings of the stage)."""
EVERYWHERE = (
    'device',
    'engine',
    'engine_max_error',
    'unnorm_key',
    'openvla_bounds',
    'dual_conditioning',
    *(name.replace('.', '_') for name, _, _ in specs(JointSettings, 'joints.')),
    *(name.replace('.', '_') for name, _, _ in specs(RemoteCameraSettings, 'remote.')),
)
"""Keywords that are meant for every stage that has them."""
ONLY = {'quantization_mode': 'reasoner'}
"""Keywords that mean one stage of those that have them."""
SETTINGS = {
    'perception': PerceptionSettings,
    'reasoner': ReasonerSettings,
    'actor': ActorSettings,
}


def default_policy() -> Path:
    """Return the folder of the policy that the package ships."""
    here = Path(__file__).resolve().parent.parent
    for folder in (here / 'models', *(p / 'share/efficient_vla/models' for p in here.parents)):
        if (folder / 'evla-nano').is_dir():
            return folder / 'evla-nano'
    raise CheckpointError('the policy evla-nano is not installed. Name a policy folder.')


def stages_of(folder: PolicyPlace) -> Any:
    """Return the module that makes the stages of the policy in a place.

    Raises ``CheckpointError`` for a type that nobody offers or that lacks a stage, and
    ``PluginError`` for a package that cannot be imported.
    """
    module = module_of(folder)
    missing = [name for name in LOADERS if not hasattr(module, name)]
    if missing:
        raise CheckpointError(
            f'the policy in {folder} is one of {module.__name__}, which has no '
            f'{", ".join(missing)}; expected {", ".join(LOADERS)}. '
            'Repair the package that offers it.'
        )
    return module


def _refuse_idle_engine(stage: str, made: Any, settings: Any) -> None:
    """Raise ``InvalidSettingError`` where an engine is named and a stage has no use for it."""
    if settings.engine != 'torch' and getattr(made, 'engine', None) is None:
        raise InvalidSettingError(
            f'engine of the {stage} is {settings.engine}; expected torch, since this policy has no '
            f'{stage} that other engines execute. Set {stage}.engine to torch.'
        )


def _refuse_idle_conditioning(stage: str, made: Any, settings: Any) -> None:
    """Raise ``InvalidSettingError`` where a conditioning is named that a stage does not have."""
    named = settings.dual.conditioning
    if named != OWN and getattr(made, 'conditioning', OWN) != named:
        raise InvalidSettingError(
            f'dual.conditioning of the {stage} is {named}; expected {OWN}, since this policy has '
            f'no fast policy that a plan steers. Set {stage}.dual.conditioning to {OWN}.'
        )


def architecture_of(path: str | PathLike[str], settings: ActorSettings) -> str:
    """Return the architecture of the actor that a policy gets with these settings."""
    place = given_place(path)
    own = folder_facts(place).architecture if isinstance(place, Path) else ''
    return own if own and settings.architecture == 'auto' else settings.own_architecture


def load_perception(path: str | PathLike[str], settings: PerceptionSettings) -> PerceptionStage:
    """Return the perception stage of a policy folder or server."""
    place = given_place(path)
    made: PerceptionStage = stages_of(place).load_perception(place, settings)
    _refuse_idle_engine('perception', made, settings)
    return made


def load_reasoner(path: str | PathLike[str], settings: ReasonerSettings) -> ReasonerStage:
    """Return the reasoner of a policy folder or server."""
    place = given_place(path)
    made: ReasonerStage = stages_of(place).load_reasoner(place, settings)
    _refuse_idle_engine('reasoner', made, settings)
    _refuse_idle_conditioning('reasoner', made, settings)
    return made


def load_actor(path: str | PathLike[str], settings: ActorSettings) -> ActorStage:
    """Return the actor of a policy folder or server."""
    place = given_place(path)
    made: ActorStage = stages_of(place).load_actor(place, settings)
    _refuse_idle_engine('actor', made, settings)
    _refuse_idle_conditioning('actor', made, settings)
    return made


class Policy:
    """All stages of a policy in one process, each running when `act` is called.

    Example::

        policy = Policy.from_pretrained('evla-nano', pruning_method='fastv')
        chunk = policy.act(image, 'open the drawer', state=state)
    """

    def __init__(
        self, perception: PerceptionStage, reasoner: ReasonerStage, actor: ActorStage
    ) -> None:
        self.perception = perception
        self.reasoner = reasoner
        self.actor = actor
        self._tokens: VisualTokens | None = None
        self._plan: Plan | None = None

    @classmethod
    def from_pretrained(
        cls,
        path: str | PathLike[str] | None = None,
        preset: str = '',
        robot: str | PathLike[str] = '',
        **keywords: Any,
    ) -> 'Policy':
        """Load a policy folder, a shipped policy by name, or the one of a server, ``ws://host:port``.

        Keywords are settings with underscores for dots.

        ``robot`` is the profile of a robot, as ``--robot`` takes it: a name in ``config/robots``
        or a .yaml file. ``deployment.yaml`` of the folder is stronger than that. ``preset`` names
        a method with all that its paper has, such as 'sp_vla' (``presets``), and is stronger;
        keywords are the strongest.

        Every parameter of the three stages is a keyword: ``cache_method='reuse'``,
        ``pruning_method='fastv'``, ``pruning_keep=0.5``, ``quantization_mode='bf16'``,
        ``architecture='single'``. ``device`` is meant for all stages and ``quantization_mode`` for
        the reasoner; ``perception_device``, ``actor_quantization_mode`` and the like are for
        one stage. Those that a ROS node adds, such as ``threads``, are no keywords.
        """
        place = policy_place(path) if path is not None else default_policy()
        names: dict[str, list[tuple[str, str]]] = {}
        for stage, kind in SETTINGS.items():
            for dotted, _, _ in specs(kind):
                word, own = dotted.replace('.', '_'), (stage, dotted)
                if stage == ONLY.get(word, stage):
                    names[word] = [*names.get(word, ()), own] if word in EVERYWHERE else [own]
                names[f'{stage}_{word}'] = [own]
        given: dict[tuple[str, str], Any] = _profile(robot) if robot else {}
        given |= _brought(place)
        given |= preset_of(preset) if preset else {}
        # What is meant for one stage comes last and decides there.
        for keyword in sorted(keywords, key=lambda word: -len(names.get(word, ()))):
            if keyword not in names:
                raise InvalidSettingError(
                    f'unknown keyword {keyword!r}; known are {", ".join(sorted(names))}.'
                )
            for stage, dotted in names[keyword]:
                given[stage, dotted] = keywords[keyword]
        if robot:
            _refuse_misfit(place, robot, given)
        return cls.from_settings(
            place,
            {
                stage: build(kind, {n: v for (of, n), v in given.items() if of == stage})
                for stage, kind in SETTINGS.items()
            },
        )

    @classmethod
    def from_settings(cls, path: str | PathLike[str], settings: Mapping[str, Any]) -> 'Policy':
        """Load a policy with one settings object a stage, which have to fit together."""
        refuse_unmet(settings)
        return cls(
            load_perception(path, settings['perception']),
            load_reasoner(path, settings['reasoner']),
            load_actor(path, settings['actor']),
        )

    def act(
        self,
        observation: Any,
        instruction: str,
        state: Sequence[float] | np.ndarray | None = None,
        stamp: float | None = None,
    ) -> ActionChunk:
        """Return the chunk of actions for one observation.

        ``observation`` is a ``Frame``; or an image, or a dictionary from the policy's cameras to
        images, with the robot's ``state`` [S] beside it. An image is uint8 [rows, columns, 3] in
        rgb order, an array, list or PIL image; one that is no square is padded, as
        ``preprocess.squared`` says. ``stamp`` is the capture time [s], by default now by
        ``time.monotonic()``.
        Raises ``InvalidRecordError`` where something is missing, unknown or of another shape.
        """
        frame = frame_of(observation, state, stamp, self.perception.cameras, self.actor.state_names)
        instruction = checked_instruction(instruction)
        if len(frame.state) == len(self.reasoner.state_names):
            self.reasoner.observe(frame.state, frame.stamp)
        fresh = self.perception.encode(frame)
        if fresh is not None:
            # The plan before is about another image, also where the one for this image fails.
            self._tokens, self._plan = fresh, None
        if self._plan is None or self._plan.instruction != instruction:
            assert self._tokens is not None
            self._plan = self.reasoner.plan(self._tokens, instruction)
        return self.actor.chunk(self._plan, frame)

    @property
    def tokens(self) -> VisualTokens | None:
        """Of the newest frame, ``None`` before the first."""
        return self._tokens

    @property
    def plan(self) -> Plan | None:
        """That the newest chunk follows, ``None`` before the first."""
        return self._plan

    def follow(
        self, state: Sequence[float] | np.ndarray, stamp: float | None = None
    ) -> ActionChunk:
        """Return the chunk of the plan before and the ``state`` of now, without an image.

        For policies whose actor makes chunks at a rate of its own and looks at no image. Raises
        ``InvalidRecordError`` for others, and where there is no plan yet.
        """
        if self.actor.needs_image or self.actor.architecture != 'dual':
            raise InvalidRecordError(
                f'this policy has the architecture {self.actor.architecture}'
                f'{" and looks at images" if self.actor.needs_image else ""}; expected dual, of a '
                'policy whose actor needs the state alone. Use act.'
            )
        if self._plan is None:
            raise InvalidRecordError('there is no plan to follow; expected one. Use act first.')
        frame = frame_of({}, state, stamp, (), self.actor.state_names)
        return self.actor.chunk(self._plan, frame)

    def reset(self) -> None:
        """Start a new episode."""
        self._tokens = self._plan = None
        for stage in (self.perception, self.reasoner, self.actor):
            stage.reset()


def _profile(robot: str | PathLike[str]) -> dict[tuple[str, str], Any]:
    """Return (stage, parameter) -> value of what the profile of a robot says of the stages."""
    from efficient_vla.bringup.graph import profile_values

    values = profile_values(fspath(robot), SETTINGS)
    return {(stage, name): value for stage, own in values.items() for name, value in own.items()}


def _brought(place: PolicyPlace) -> dict[tuple[str, str], Any]:
    """Return (stage, parameter) -> value that a policy folder brings."""
    from efficient_vla.bringup.deployment import values_of

    values = values_of(place)
    return {(stage, name): value for stage, own in values.items() for name, value in own.items()}


def _refuse_misfit(
    place: PolicyPlace, robot: str | PathLike[str], given: Mapping[tuple[str, str], Any]
) -> None:
    """Raise ``InvalidSettingError`` where a folder does not fit the robot; a server says it."""
    from efficient_vla.bringup.fit import misfits
    from efficient_vla.bringup.graph import robot_met

    if not isinstance(place, Path):
        return
    met = robot_met(fspath(robot), {'.'.join(name): value for name, value in given.items()})
    wrong = misfits(folder_facts(place), met)
    if wrong:
        raise InvalidSettingError(wrong[0])
