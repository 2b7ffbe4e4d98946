# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Which techniques apply to which policies of LeRobot; importing this loads no torch."""

NO_QUERIES = (
    'it is trained together with the action queries of a policy of this package, which this policy '
    'does not have'
)
APPLIED = (
    'perception.cache.method',
    'perception.quantization.mode',
    'reasoner.depth.method',
    'reasoner.pruning.method',
    'reasoner.reuse.method',
    'reasoner.schedule.method',
    'reasoner.quantization.mode',
    'actor.quantization.mode',
    'actor.flow.steps',
    'actor.flow.adaptive',
    'actor.flow.cache_every',
    'actor.guidance.steps',
    'actor.architecture',
)
"""Parameters of techniques that work; guidance is that of controller.blending.method rtc."""
REFUSED = dict.fromkeys(
    ('reasoner.resampling.method', 'reasoner.ecot.method', 'reasoner.width.method'), NO_QUERIES
)
"""Parameters of techniques that do not -> why."""
LACKING = {
    'fastdrivevla': f'{NO_QUERIES}. Choose another method.',
    'ecot': f'{NO_QUERIES}. Set it to none.',
}
"""Learned methods of the reasoner -> why this policy has no module of theirs."""
NO_TOKENS = 'the policy reads images directly and has no visual tokens'
NO_LANGUAGE = 'the policy has no language model'
IMAGE_POLICIES = {
    'perception.cache.method': NO_TOKENS,
    'perception.quantization.mode': 'the policy has no vision tower of its own stage',
    'reasoner.depth.method': NO_LANGUAGE,
    'reasoner.width.method': NO_LANGUAGE,
    'reasoner.pruning.method': NO_TOKENS,
    'reasoner.reuse.method': NO_LANGUAGE,
    'reasoner.schedule.method': NO_LANGUAGE,
    'reasoner.resampling.method': NO_TOKENS,
    'reasoner.quantization.mode': NO_LANGUAGE,
    'reasoner.ecot.method': NO_LANGUAGE,
    'actor.quantization.mode': 'its network is small; that of ACT alone takes bf16, by an engine',
}
"""Parameters of techniques that mean nothing to a policy of images alone -> why."""
IN_BFLOAT16 = {k: why for k, why in IMAGE_POLICIES.items() if k != 'actor.quantization.mode'}
"""The same where an engine executes the network in bfloat16."""
NO_SKIP = 'the words of this policy hold the state of the robot, which changes while images do not'
NO_DUAL = (
    'the words of this policy hold the state of the robot, so that a newer state needs a whole new '
    'plan'
)


def techniques(state_in_words: bool) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the parameters that apply, and those that do not or not in full -> why."""
    if not state_in_words:
        return APPLIED, REFUSED
    more = {
        'perception.cache.method=skip': NO_SKIP,
        'reasoner.schedule.method': NO_DUAL,
        'actor.architecture': NO_DUAL,
    }
    return tuple(name for name in APPLIED if name not in more), REFUSED | more
