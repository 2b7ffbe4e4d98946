# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the reasoner."""

from collections.abc import Mapping
from dataclasses import dataclass

from efficient_vla.devices import ComputeSettings
from efficient_vla.dual_settings import OWN, DualSettings
from efficient_vla.joint_settings import JointSettings, unnorm_key_setting
from efficient_vla.openvla_settings import OpenVlaPlans
from efficient_vla.reasoning.depth import METHODS as DEPTHS, DepthSettings
from efficient_vla.reasoning.pruning import METHODS
from efficient_vla.reasoning.resampling import FIXED_LENGTH, RESAMPLERS
from efficient_vla.reasoning.width import WidthSettings
from efficient_vla.settings import group, setting, share

PRUNING_METHODS = ('none', *METHODS)
REUSE_METHODS = ('none', 'vla_cache')
ECOT_PARTS: dict[str, tuple[str, ...]] = {
    'none': (),
    'text': ('subtask', 'movement'),
    'subgoal': ('subgoal',),
    'both': ('subtask', 'movement', 'subgoal'),
}
"""Method -> parts of the reasoning."""
CAMERA_ROW = 12
"""Numbers of one camera's 3 x 4 projection."""


@dataclass(frozen=True, slots=True)
class ProtectSettings:
    """Tokens that stay whatever the selector says of them."""

    end_effector: bool = setting(
        False, 'Keep the tokens around the projected end effector; needs projection.'
    )
    projection: tuple[float, ...] = setting(
        (0.0,) * CAMERA_ROW,
        'A 3 x 4 matrix a camera, by rows, from the end effector (x, y, z, 1) [m] of robot_state '
        'to image coordinates (u w, v w, w), u and v from 0 to 1. Zeros: the camera is not known.',
        calibrated=True,
    )
    ring: int = setting(
        1, 'Tokens around the projected end effector that stay too.', unit='tokens', low=0, high=16
    )
    contours: float = share(
        0.0,
        'Keep tokens with at least this share of edge pixels, most edges first; 0 keeps none for '
        'that reason. Needs perception.signals.',
    )
    beyond: bool = setting(
        False,
        'Protected tokens stay beside the budget; otherwise they take up to half of it.',
    )
    coverage: float = share(
        0.0,
        'Share of the budget spent on farthest points of the grid, so that no region goes blind.',
    )


@dataclass(frozen=True, slots=True)
class GateSettings:
    """When the robot does fine work, all tokens are given back."""

    method: str = setting(
        'none',
        'speed: all tokens below slow, pruned above fast, with hysteresis. extrema: ADP, pruned '
        'where the last window moved at least as far as those before, all tokens where it moved '
        'least. Both need robot_state.',
        choices=('none', 'speed', 'extrema'),
    )
    slow: float = setting(
        0.05, 'Below this speed the work is fine.', unit='m/s', low=0.0, high=10.0
    )
    fast: float = setting(
        0.1, 'Above this speed the work is coarse again.', unit='m/s', low=0.0, high=10.0
    )
    window: float = setting(
        0.0,
        'Least length of a window of the method extrema, which ends at a plan; 0 is from plan to '
        'plan, one executed chunk.',
        unit='s',
        low=0.0,
        high=10.0,
    )
    max_pruned: int = setting(
        3, 'Windows in a row that extrema may prune before one is seen in full.', low=1, high=1000
    )


@dataclass(frozen=True, slots=True)
class EfficientVlaSettings:
    """EfficientVLA, section 3.3."""

    key: int = setting(4, 'Tokens most relevant to the task that stay first.', low=1, high=256)
    alpha: float = share(0.5, 'Share of the rest chosen by relevance; what remains by diversity.')


@dataclass(frozen=True, slots=True)
class SpVlaSettings:
    """SP-VLA: less attention mass is kept the faster the arm moves."""

    full_speed: float = setting(0.8, 'Speed that counts as 1.', unit='m/s', low=0.01, high=10.0)
    threshold: float = setting(0.5, 'Below this relative speed all stays.', low=0.0, high=0.99)
    span: float = share(0.9, 'Mass given up at full speed.')


@dataclass(frozen=True, slots=True)
class FlashVlaSettings:
    """FlashVLA: contribution by singular vectors of the attention output."""

    energy: float = setting(
        0.99, 'Share of the energy that sets the rank; not given by the paper.', low=0.1, high=1.0
    )
    rank: int = setting(16, 'Directions looked at at most; more take longer.', low=1, high=1024)


@dataclass(frozen=True, slots=True)
class SpecPruneSettings:
    """SpecPrune-VLA: shares of all visual tokens; its counts are of the 256 of one camera."""

    remembered: float = share(
        30 / 256, "Share chosen by each observed layer's attention in earlier frames."
    )
    dynamic: float = share(20 / 256, 'Share chosen because they changed most.')
    coarse: float = share(
        24 / 256, "Share chosen by each of two layers' attention in this frame, in coarse work."
    )
    fine: float = share(40 / 256, 'The same in fine work.')
    alpha: float = setting(0.8, 'What both are multiplied by.', low=0.0, high=2.0)
    full_speed: float = setting(0.8, 'Speed that counts as 1.', unit='m/s', low=0.01, high=10.0)
    fine_speed: float = setting(
        0.4,
        'Below this relative speed work is fine, unless the arm rises.',
        low=0.0,
        high=10.0,
    )
    unchanged: float = setting(
        0.986,
        'A token has not changed where its cosine with an earlier frame is at least this.',
        low=-1.0,
        high=1.0,
    )
    later: float = setting(
        0.1, 'Share of the remaining tokens dropped again at each later layer.', low=0.0, high=0.9
    )


@dataclass(frozen=True, slots=True)
class SqapSettings:
    """SQAP-VLA: the very top of the attention survives quantization, the rest is coverage."""

    top: float = share(0.5, 'Share of the budget chosen by attention.')


def needs_signals(method: str, contours: float) -> str:
    """Return which of these parameters of pruning needs contours or saliency, or nothing."""
    if method in METHODS and 'signals' in METHODS[method].needs:
        return f'method {method}'
    return f'protect.contours {contours:g}' if contours > 0 else ''


@dataclass(frozen=True, slots=True)
class PruningSettings:
    """Which visual tokens the decoder drops, and after which layer."""

    method: str = setting(
        'none', 'How visual tokens are selected; none keeps all.', choices=PRUNING_METHODS
    )
    keep: float = setting(
        0.5, 'Fraction of the visual tokens that is kept at most.', low=0.01, high=1.0
    )
    layer: int = setting(
        -1,
        "Decoder layers that see all tokens before the rest is dropped; -1 is the method's own.",
        low=-1,
        high=128,
    )
    min_tokens: int = setting(
        8, 'Visual tokens that stay at least, however small keep is.', low=1, high=100_000
    )
    camera_weights: tuple[float, ...] = setting(
        (0.0,),
        "Shares of the budget by camera, in the policy's order, the last one for all further "
        'cameras; 0 lets the cameras compete in one pool.',
        low=0.0,
        high=1000.0,
    )
    refresh_every: int = setting(
        0,
        'Every so many plans all tokens are seen, so that the memory of scores stays whole; '
        '0 never.',
        low=0,
        high=100_000,
    )
    protect: ProtectSettings = group(ProtectSettings)
    gate: GateSettings = group(GateSettings)
    efficientvla: EfficientVlaSettings = group(EfficientVlaSettings)
    sp_vla: SpVlaSettings = group(SpVlaSettings)
    flashvla: FlashVlaSettings = group(FlashVlaSettings)
    specprune: SpecPruneSettings = group(SpecPruneSettings)
    sqap: SqapSettings = group(SqapSettings)

    @property
    def needs_signals(self) -> str:
        """What of these settings needs contours or saliency of perception, or nothing."""
        return needs_signals(self.method, self.protect.contours)

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        protect, weights = self.protect, self.camera_weights
        reason = self._check_layer()
        if reason:
            return reason
        if len(protect.projection) % CAMERA_ROW:
            return (
                f'pruning.protect.projection has {len(protect.projection)} numbers; '
                f'expected {CAMERA_ROW} a camera, row by row.'
            )
        if any(weights) and not all(weights):
            return (
                f'pruning.camera_weights are {list(weights)}; expected all 0 (one pool) or all '
                'above 0.'
            )
        if self.gate.slow > self.gate.fast:
            return (
                f'pruning.gate.slow {self.gate.slow} m/s is above pruning.gate.fast '
                f'{self.gate.fast} m/s; expected at most that. Swap them.'
            )
        return None

    def _check_layer(self) -> str | None:
        if self.method == 'none' or self.layer < 0:
            return None
        method = METHODS[self.method]
        if self.layer < method.least_layer:
            return (
                f'pruning.layer is {self.layer} with pruning.method {self.method}; expected at '
                f'least {method.least_layer}, since it ranks tokens by the attention of the layer '
                f'before the drop. Set it to {method.layer}.'
            )
        if self.layer > 0 and 'tower' in method.needs:
            return (
                f'pruning.layer is {self.layer} with pruning.method {self.method}; expected 0, '
                'since it judges tokens as the vision tower made them. Set it to -1.'
            )
        return None


@dataclass(frozen=True, slots=True)
class ReuseSettings:
    """Keys and values of tokens that did not change, taken from an earlier frame."""

    method: str = setting(
        'none',
        'vla_cache: static tokens that the instruction does not look at are not computed again.',
        choices=REUSE_METHODS,
    )
    threshold: float = setting(
        0.4,
        'A token is static while its features differ by at most this share of their length from '
        'those that its keys and values were computed from.',
        low=0.0,
        high=2.0,
    )
    task_share: float = share(
        0.2,
        'Share of the visual tokens, those the instruction attends to most, that is always '
        'computed.',
    )
    adaptive: bool = setting(
        True,
        'Reuse fewer tokens in layers whose attention is spread out; off: all from layer 0 on.',
    )
    growth: float = share(0.55, 'How fast the adaptive share may grow from layer to layer.')
    layers: tuple[float, ...] = share(
        (0.0,),
        "Shares of the decoder's depth at which the adaptive share may grow; 0 is at every layer.",
    )
    max_age: float = setting(
        1.0, 'Keys and values older than this are computed again.', unit='s', low=0.0, high=60.0
    )
    refresh_every: int = setting(
        10, 'Every so many plans everything is computed.', low=1, high=100_000
    )


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """Frames that are answered with the plan before, without a pass of the decoder."""

    method: str = setting(
        'none',
        'steady: FlashVLA, where direction of motion and kept tokens stay the same. intuitive: '
        'SP-VLA, while the arm travels level. Both need robot_state.',
        choices=('none', 'steady', 'intuitive'),
    )
    max_skipped: int = setting(
        3, 'Plans in a row that are taken from the one before at most.', low=1, high=1000
    )
    angle: float = setting(
        0.1,
        'Method steady: largest angle between the last two displacements; not given by the paper.',
        unit='rad',
        low=0.0,
        high=3.2,
    )
    overlap: float = share(
        0.8,
        'Method steady: share of the kept tokens that the plan before kept too; not given by the '
        'paper.',
    )
    level: float = setting(
        0.4,
        'Method intuitive: largest vertical displacement, as a share of the horizontal one.',
        low=0.0,
        high=10.0,
    )
    vertical_speed: float = setting(
        0.24, 'Method intuitive: highest vertical speed.', unit='m/s', low=0.0, high=10.0
    )


@dataclass(frozen=True, slots=True)
class ResamplingSettings:
    """Other tokens in place of the visual ones, by a module trained for the policy."""

    method: str = setting(
        'none',
        'otter pools what matches the instruction, perceiver reads with learned latents, both to '
        'a fixed number of tokens; univla replaces each token by a code of one vocabulary with '
        'text and actions. All need their add-on file in the folder of the policy.',
        choices=('none', *RESAMPLERS),
        read_only=True,
    )


@dataclass(frozen=True, slots=True)
class EcotSettings:
    """Reasoning before acting: each part is decided at a low rate and kept meanwhile."""

    method: str = setting(
        'none',
        'What is decided beside the plan: text is a phrase for the subtask and one for the '
        'movement, subgoal the position where the gripper goes next.',
        choices=tuple(ECOT_PARTS),
    )
    subtask_age: float = setting(
        2.0, 'The subtask is decided again after this long.', unit='s', low=0.0, high=60.0
    )
    movement_age: float = setting(
        1.0, 'The movement is decided again after this long.', unit='s', low=0.0, high=60.0
    )
    subgoal_age: float = setting(
        1.0, 'The subgoal is decided again after this long.', unit='s', low=0.0, high=60.0
    )
    change: float = setting(
        0.01,
        'A part is decided again where one minus the cosine between the latents of the plan and '
        'those it was decided on is above this.',
        low=0.0,
        high=2.0,
    )
    max_rate: float = setting(
        5.0, 'A change is answered no more often than this.', unit='Hz', low=0.01, high=1000.0
    )

    @property
    def parts(self) -> tuple[str, ...]:
        """What is decided."""
        return ECOT_PARTS[self.method]

    def max_age(self, part: str) -> float:
        """Return after how long a part is decided again [s]."""
        age: float = getattr(self, f'{part}_age')
        return age


@dataclass(frozen=True, slots=True)
class ReasonerSettings(ComputeSettings):
    """Parameters of the reasoner."""

    plan_validity: float = setting(
        2.0,
        'A plan may drive the robot for this long after its frame was captured.',
        unit='s',
        low=0.05,
        high=60.0,
    )
    depth: DepthSettings = group(DepthSettings)
    width: WidthSettings = group(WidthSettings)
    pruning: PruningSettings = group(PruningSettings)
    reuse: ReuseSettings = group(ReuseSettings)
    schedule: ScheduleSettings = group(ScheduleSettings)
    resampling: ResamplingSettings = group(ResamplingSettings)
    ecot: EcotSettings = group(EcotSettings)
    dual: DualSettings = group(DualSettings)
    tokenizer: str = setting(
        '',
        'Folder of the tokenizer, for policies whose own folder has none, such as those of '
        'LeRobot; empty: the folder of the policy, then the cache of Hugging Face.',
        read_only=True,
    )
    unnorm_key: str = unnorm_key_setting()
    joints: JointSettings = group(JointSettings)
    openvla: OpenVlaPlans = group(OpenVlaPlans)

    @property
    def measures_cameras(self) -> bool:
        """Whether the projection of the cameras is measured while the policy runs."""
        return False

    def check(self) -> str | None:
        """Return why the set as a whole cannot work, or ``None``."""
        spent = {'pruning': self.pruning.method, 'reuse': self.reuse.method}
        for name, method in spent.items():
            if method != 'none' and self.resampling.method in FIXED_LENGTH:
                return (
                    f'{name}.method is {method} with resampling.method {self.resampling.method}; '
                    'expected none, since resampled tokens have no place in the image. Choose one.'
                )
        if self.depth.dynamic:
            spent['resampling'] = self.resampling.method
            reason = self._check_depth(spent)
            if reason:
                return reason
        reason = self._check_conditioning() or self._check_updates()
        if reason:
            return reason
        protect = self.pruning.protect
        if protect.end_effector and not (self.measures_cameras or any(protect.projection)):
            return (
                'pruning.protect.end_effector is on and pruning.protect.projection is all zeros; '
                'expected a 3 x 4 matrix a camera. Set it, or turn the protection off.'
            )
        return self.pruning.check() or self.quantization.check() or self.joints.check()

    def _check_conditioning(self) -> str:
        """Return why what steers the fast policy goes with no such method, or nothing."""
        if self.dual.conditioning == OWN:
            return ''
        for name, method in (
            ('resampling', self.resampling.method),
            ('ecot', self.ecot.method),
            ('depth', self.depth.method),
            ('width', self.width.method),
        ):
            if method != 'none':
                return (
                    f'{name}.method is {method} with dual.conditioning '
                    f'{self.dual.conditioning}; expected none, since each was trained for plans '
                    f'without the other. Choose one: set {name}.method to none, or '
                    f'dual.conditioning to {OWN}.'
                )
        return ''

    @property
    def updating(self) -> dict[str, str]:
        """Parameters whose methods bring updates of the decoder's weights, and their values."""
        depth = DEPTHS.get(self.depth.method)
        found = {
            'depth.method': self.depth.method if depth and depth.updates else 'none',
            'width.method': self.width.method,
            'resampling.method': self.resampling.method,
            'dual.conditioning': self.dual.conditioning,
        }
        return {name: value for name, value in found.items() if value not in ('none', OWN)}

    def _check_updates(self) -> str:
        """Return why methods that update the same weights do not go together, or nothing."""
        used = [f'{name} {value}' for name, value in self.updating.items()]
        if len(used) > 1:
            return (
                f'{" and ".join(used)} are set; expected one of them, since both update the same '
                'weights, each trained without the other. Choose one.'
            )
        if used and self.quantization.mode == 'int8':
            return (
                f'quantization.mode is int8 with {used[0]}; expected another, since the ranges of '
                'int8 were measured without its updates. Set it to int8_dynamic.'
            )
        return ''

    def _check_depth(self, spent: Mapping[str, str]) -> str:
        """Return why a choice of layers for each frame goes with no such method, or nothing."""
        pruning = spent['pruning']
        remembers = pruning != 'none' and 'memory' in METHODS[pruning].needs
        if self.width.method != 'none':
            return (
                f'width.method is {self.width.method} with depth.method {self.depth.method}; '
                'expected none, since exits and routers were trained on whole layers. Choose one.'
            )
        for name, used, why in (
            ('reuse', spent['reuse'] != 'none', 'a layer that did not run has no keys and values'),
            ('pruning', remembers, 'it remembers the attention of layers that may not have run'),
            ('resampling', spent['resampling'] != 'none', 'its tokens are others than in training'),
        ):
            if used:
                return (
                    f'{name}.method is {spent[name]} with depth.method {self.depth.method}; '
                    f'expected another, since {why}. Choose one.'
                )
        return ''
