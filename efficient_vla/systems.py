# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Published systems that have a profile in ``config/policies``; nothing here loads torch.

``--policy tinyvla`` or ``tinyvla:small`` is one of a small shape with random weights,
``tinyvla:full`` one of the published shape, and ``tinyvla=FOLDER`` a folder of the user under the
profile of the system.
"""

from dataclasses import dataclass
from pathlib import Path

from efficient_vla.cards import read_json
from efficient_vla.errors import CheckpointError, UsageError
from efficient_vla.policy_folders import policy_type, why_none

SHAPES = ('small', 'full')


@dataclass(frozen=True, slots=True)
class System:
    """What a folder has to be for the profile of a system."""

    title: str
    paper: str
    """Its number at arXiv."""
    kinds: tuple[str, ...]
    """Of ``kind_of``."""


LLAMA = 'evla llama'
SYSTEMS = {
    'smolvla': System('SmolVLA', '2506.01844', ('lerobot smolvla',)),
    'pi0': System('pi0', '2410.24164', ('lerobot pi0', 'lerobot pi05')),
    'tinyvla': System('TinyVLA', '2409.12514', ('evla gpt_neox',)),
    'robomamba': System('RoboMamba', '2406.04339', ('evla mamba',)),
    'nora': System('NORA', '2504.19854', ('nora', 'evla qwen2_5_vl_text')),
    'flower': System('FLOWER', '2509.04996', ('evla bart',)),
    'openvla': System('OpenVLA', '2406.09246', ('openvla', LLAMA)),
    'deer': System('DeeR', '2411.02359', (LLAMA,)),
    'mole': System('MoLE-VLA', '2503.20384', (LLAMA,)),
    'lcb': System('LCB', '2405.04798', (LLAMA,)),
    'hirt': System('HiRT', '2410.05273', (LLAMA,)),
    'robodual': System('RoboDual', '2410.08001', (LLAMA,)),
    'openhelix': System('OpenHelix', '2505.03912', (LLAMA,)),
}
"""Profile -> its system."""


@dataclass(frozen=True, slots=True)
class SystemWord:
    """A system, and where its weights come from."""

    name: str
    shape: str = ''
    """One of ``SHAPES``; empty with a folder."""
    folder: Path | None = None


def system_word(text: str) -> SystemWord | None:
    """Return what ``text`` says of a system, ``None`` where it names none.

    Raises ``UsageError`` for what has no meaning, or two.
    """
    name, colon, shape = text.partition('=')[0].partition(':')
    if name not in SYSTEMS:
        return None
    _, given, folder = text.partition('=')
    if (colon and shape not in SHAPES) or (given and (colon or not folder)):
        raise UsageError(
            f'policy {text!r} has no meaning; expected {name} for random weights in a small shape, '
            f'{name}:full for those of the published shape, or {name}=FOLDER. Choose one.'
        )
    if given:
        return SystemWord(name, folder=Path(folder).expanduser())
    if not colon and not why_none(Path(name)):
        raise UsageError(
            f'policy {name!r} is a system and a policy folder here; expected one of both. Give '
            f'./{name} for the folder, or {name}:small for the system with random weights.'
        )
    return SystemWord(name, shape or SHAPES[0])


def kind_of(folder: Path) -> str:
    """Return the type of the policy in a folder, with that of its decoder or of its policy.

    Raises ``CheckpointError`` where it holds none.
    """
    family = policy_type(folder)
    if not (folder / 'config.json').is_file():
        return family
    config = read_json(folder / 'config.json')
    text = config.get('text_config')
    inner = config.get('type') if family == 'lerobot' else None
    if family == 'evla' and isinstance(text, dict):
        inner = text.get('model_type')
    return f'{family} {inner}' if inner else family


def refuse_other(name: str, folder: Path) -> None:
    """Raise ``CheckpointError`` where a folder is none of a system."""
    found, known = kind_of(folder), SYSTEMS[name].kinds
    if found not in known:
        raise CheckpointError(
            f'{folder} holds a policy of kind {found!r}; expected {" or ".join(map(repr, known))} '
            f'for the profile {name}. Use a folder of {SYSTEMS[name].title}, or leave the profile '
            f'out: --policy {folder}.'
        )
