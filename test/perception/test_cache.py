# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The token cache: when a patch counts as unchanged, and what happens then."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from vision_towers import shuffling_tower, stem_tower, tower

from efficient_vla.perception.cache import Patches, PatchGate, cells_of_patches, patch_change
from efficient_vla.perception.preprocess import contour, pixels
from efficient_vla.perception.settings import CacheSettings, PerceptionSettings
from efficient_vla.perception.stage import Perception
from efficient_vla.settings import InvalidSettingError, build
from efficient_vla.types import Frame, InvalidRecordError

GREY = (0.5, 0.5, 0.5)


class CountingTower(torch.nn.Module):
    """Four tokens a camera, three wide; counts its passes. Cannot compute a part."""

    passes = 0
    patch_size = 48
    reach = (0, 0)
    can_update = False

    def forward(self, pixels):
        self.passes += 1
        return pixels.float().mean((2, 3))[:, None].expand(-1, 4, -1)


def stage(walked, cameras=('front',), size=64, signals=False, **cache) -> Perception:
    values = {f'cache.{name}': value for name, value in cache.items()} | {'signals': signals}
    prepare = partial(pixels, size=size, mean=GREY, std=GREY)
    return Perception(walked, cameras, prepare, build(PerceptionSettings, values))


def perception(method: str, threshold: float = 0.02, max_age: float = 1.0) -> Perception:
    return stage(CountingTower(), size=96, method=method, threshold=threshold, max_age=max_age)


def frame(stamp: float, value: int = 100, corner: int | None = None) -> Frame:
    image = np.full((96, 96, 3), value, np.uint8)
    if corner is not None:
        image[:4, :4] = corner
    return Frame({'front': image}, np.zeros(4, np.float32), stamp)


def scene(seed: int = 0, size: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)


def seen(stamp: float, *images: np.ndarray) -> Frame:
    names = ('front', 'wrist')
    return Frame(dict(zip(names, images, strict=False)), np.zeros(0, np.float32), stamp)


def with_patch(image: np.ndarray, patch: int, value: int = 255, size: int = 8) -> np.ndarray:
    """Return the image with one of its 8 x 8 patches painted."""
    image = image.copy()
    row, column = patch // 8 * size, patch % 8 * size
    image[row : row + size, column : column + size] = value
    return image


def dense(walked, *images: np.ndarray, size: int = 64) -> np.ndarray:
    batch = np.stack([pixels(image, size, GREY, GREY) for image in images])
    with torch.inference_mode():
        return walked(torch.from_numpy(batch)).flatten(0, 1).numpy()


# The whole frame: none, reuse, skip.


def test_identity_cache_none_encodes_every_frame():
    whole = perception('none')
    for k in range(3):
        tokens = whole.encode(frame(k * 0.1))
        assert tokens is not None
        assert not tokens.reused.any()
    assert whole.tower.passes == 3


def test_reuse_returns_the_same_features_with_their_age():
    whole = perception('reuse')
    first = whole.encode(frame(0.0))
    again = whole.encode(frame(0.3))
    assert whole.tower.passes == 1
    assert np.array_equal(first.features, again.features)
    assert again.reused.all()
    assert again.age == pytest.approx([0.3] * 4, abs=1e-6)
    assert again.stamp == 0.3
    assert again.refresh_reason == ''


def test_skip_sends_nothing_for_an_unchanged_frame():
    whole = perception('skip')
    assert whole.encode(frame(0.0)) is not None
    assert whole.encode(frame(0.1)) is None


def test_skip_sends_after_each_change_and_only_then():
    whole = perception('skip')
    values = (100, 100, 150, 150, 100)
    sent = [whole.encode(frame(0.1 * step, value)) for step, value in enumerate(values)]
    assert [tokens is not None for tokens in sent] == [True, False, True, False, True]
    for tokens, value in ((sent[2], 150), (sent[4], 100)):
        assert tokens.features == pytest.approx(np.full((4, 3), value / 127.5 - 1), abs=1e-6)


def test_a_change_of_one_small_patch_is_a_change():
    whole = perception('reuse')
    whole.encode(frame(0.0))
    tokens = whole.encode(frame(0.1, corner=255))
    assert tokens.refresh_reason == 'scene changed'
    assert whole.tower.passes == 2


def test_slow_drift_is_measured_against_the_encoded_frame():
    whole = perception('reuse', threshold=0.02)
    whole.encode(frame(0.0, 100))
    assert whole.encode(frame(0.1, 103)).reused.all()
    assert not whole.encode(frame(0.2, 106)).reused.any()


def test_tokens_older_than_max_age_are_recomputed():
    whole = perception('reuse', max_age=0.5)
    whole.encode(frame(0.0))
    assert whole.encode(frame(0.5)).reused.all()
    assert whole.encode(frame(0.6)).refresh_reason == 'max age'


def test_reset_recomputes_and_raises_the_epoch():
    whole = perception('reuse')
    before = whole.encode(frame(0.0))
    whole.reset('episode started')
    after = whole.encode(frame(0.1))
    assert after.refresh_reason == 'episode started'
    assert after.epoch > before.epoch


def test_change_of_method_while_running_empties_the_cache():
    whole = perception('reuse')
    whole.encode(frame(0.0))
    whole.configure(PerceptionSettings(cache=CacheSettings('skip')))
    assert whole.encode(frame(0.1)).refresh_reason == 'cache method changed'


def test_missing_camera_is_named():
    other = Frame({'wrist': np.zeros((32, 32, 3), np.uint8)}, np.zeros(4, np.float32), 0.0)
    with pytest.raises(InvalidRecordError, match='front'):
        perception('none').encode(other)


def test_tower_without_a_partial_pass_says_so_and_computes_everything():
    whole = perception('patch')
    whole.encode(frame(0.0))
    tokens = whole.encode(frame(0.1, corner=255))
    assert tokens.refresh_reason == 'vision tower has no partial pass'
    assert not tokens.reused.any()


# How change is measured.


def change(old: np.ndarray, new: np.ndarray, patches: Patches | None = None) -> np.ndarray:
    patches = patches or Patches(8, 8)
    return patch_change(cells_of_patches(new, patches)[None], cells_of_patches(old, patches)[None])[
        0
    ]


def test_grey_that_turns_white_is_a_change():
    old = np.full((64, 64, 3), 128, np.uint8)
    moved = change(old, with_patch(old, 9))
    assert moved[9] == pytest.approx(127 / 255, abs=1e-6)
    assert not np.delete(moved, 9).any()


def test_one_cell_counts_by_its_own_difference():
    old = np.full((64, 64, 3), 128, np.uint8)
    new = old.copy()
    new[8:10, 8:10] = 228  # one of 16 cells; the mean of the patch changes by 6.25
    assert change(old, new)[9] == pytest.approx(100 / 255, abs=1e-6)


def test_structure_counts_beyond_the_change_of_brightness():
    old = np.full((64, 64, 3), 100, np.uint8)
    new = old.copy()
    new[8:16, 8:12], new[8:16, 12:14] = 105, 95
    # Cells change by 5, 5, -5 and 0, so by 1.25 in the mean, and by up to 6.25 beside that.
    assert change(old, new)[9] == pytest.approx(6.25 / 255, abs=1e-6)


def test_patches_that_see_a_changed_cell_change_and_no_others():
    old = np.full((96, 96, 3), 128, np.uint8)
    new = old.copy()
    new[48:51, 48:51] = 255  # The first cell of row 4, column 4; cells are 3 pixels wide.
    moved = change(old, new, Patches(8, 8, (3, 2))).reshape(8, 8)
    # Patch 3 ends at cell 15 and sees two more, patch 5 begins at cell 20 and sees 17 at first.
    assert (np.argwhere(moved > 0) == [[3, 3], [3, 4], [4, 3], [4, 4]]).all()


def test_a_stem_sees_every_cell_that_its_reach_touches():
    """Of 7 pixels before a patch and 4 after it, in cells of 3 pixels: three and two."""
    cached = stage(stem_tower(), size=96, method='patch')
    grey = np.full((96, 96, 3), 128, np.uint8)
    cached.encode(seen(0.0, grey))
    marked = grey.copy()
    # Cell 17 of each axis, in patch 4: the second after patch 3, the third before patch 5.
    marked[51:54, 51:54] = 255
    cached.encode(seen(0.1, marked))
    assert cached.last.changed == 3 * 3


# Partial passes.


def test_identity_patch_cache_on_unchanged_frames_gives_the_dense_tokens():
    walked = tower('smolvlm')
    cached = stage(walked, method='patch')
    first = cached.encode(seen(0.0, scene()))
    again = cached.encode(seen(0.1, scene()))
    assert np.allclose(first.features, dense(walked, scene()), atol=1e-5)
    assert np.array_equal(first.features, again.features)
    assert again.reused.all()
    assert cached.last.computed == 0


@pytest.mark.parametrize('family', ['smolvlm', 'siglip', 'clip, inner layer'])
def test_identity_threshold_zero_with_noise_equals_dense(family):
    walked = tower(family)
    cached = stage(
        walked, ('front', 'wrist'), method='patch', threshold=0.0, release=0.0, max_changed=1.0
    )
    for k in range(3):
        images = scene(2 * k), scene(2 * k + 1)
        tokens = cached.encode(seen(0.1 * k, *images))
        assert np.allclose(tokens.features, dense(walked, *images), atol=1e-5)
        assert not tokens.reused.any()


def test_only_changed_patches_and_probes_are_computed():
    cached = stage(tower(), method='patch', probe=0.03)
    before = cached.encode(seen(0.0, scene()))
    tokens = cached.encode(seen(0.2, with_patch(scene(), 20)))
    fresh = np.flatnonzero(~tokens.reused)
    assert 20 in fresh
    assert len(fresh) == 1 + math.ceil(0.03 * 64)
    assert cached.last.computed == len(fresh)
    assert tokens.refresh_reason == 'patches changed'
    assert tokens.age[tokens.reused] == pytest.approx(0.2)
    kept = tokens.reused
    assert np.array_equal(tokens.features[kept], before.features[kept])
    assert not np.allclose(tokens.features[20], before.features[20], atol=1e-2)


def test_a_camera_that_did_not_change_is_not_touched():
    cached = stage(tower(), ('front', 'wrist'), method='patch')
    cached.encode(seen(0.0, scene(0), scene(1)))
    tokens = cached.encode(seen(0.1, scene(0), scene(2)))
    assert tokens.reused[tokens.camera == 0].all()
    assert not tokens.reused[tokens.camera == 1].any()


def test_a_camera_of_which_more_than_max_changed_moved_is_computed_as_a_whole():
    cached = stage(tower(), method='patch', max_changed=0.1)
    cached.encode(seen(0.0, scene()))
    image = scene()
    for patch in range(7):
        image = with_patch(image, patch)
    tokens = cached.encode(seen(0.1, image))
    assert tokens.refresh_reason == 'scene changed'
    assert not tokens.reused.any()


def test_max_changed_is_judged_for_each_camera():
    cached = stage(tower(), ('front', 'wrist'), method='patch', max_changed=0.1)
    front, wrist = scene(0), scene(1)
    cached.encode(seen(0.0, front, wrist))
    # 1 of 64 patches of one camera and 7 of the other: 0.016 and 0.109, and 0.063 in the mean.
    front = with_patch(front, 20)
    for patch in range(7):
        wrist = with_patch(wrist, patch)
    tokens = cached.encode(seen(0.1, front, wrist))
    fresh = ~tokens.reused
    # Beside the changed one, two probes: 0.02 of 64, rounded up.
    assert (fresh[tokens.camera == 0].sum(), fresh[tokens.camera == 1].sum()) == (3, 64)


def test_a_changed_patch_is_computed_until_it_is_below_the_release():
    base = np.full((64, 64, 3), 100, np.uint8)
    cached = stage(tower(), method='patch', threshold=0.05, release=0.01)
    cached.encode(seen(0.0, base))
    steps = [(120, True), (125, True), (130, True), (131, False), (136, False)]
    for k, (value, computed) in enumerate(steps):
        tokens = cached.encode(seen(0.1 + 0.1 * k, with_patch(base, 20, value)))
        assert (tokens.age[20] == 0) == computed, (k, value)


def test_slow_drift_of_one_patch_is_measured_against_the_frame_it_was_computed_from():
    base = np.full((64, 64, 3), 100, np.uint8)
    cached = stage(tower(), method='patch', threshold=0.02)
    cached.encode(seen(0.0, base))
    fresh = [
        bool(
            cached.encode(seen(0.1 + 0.05 * k, with_patch(base, 20, 100 + 2 * (k + 1)))).age[20]
            == 0
        )
        for k in range(3)
    ]
    assert fresh == [False, False, True]


def test_a_pass_of_other_patches_does_not_hide_the_drift_of_one():
    base = np.full((64, 64, 3), 100, np.uint8)
    cached = stage(tower(), method='patch', threshold=0.02, probe=0.001, max_error=100.0)
    cached.encode(seen(0.0, base))
    fresh = []
    for k in range(3):
        image = with_patch(with_patch(base, 40, 200 * (k % 2)), 20, 100 + 2 * (k + 1))
        tokens = cached.encode(seen(0.1 + 0.05 * k, image))
        assert tokens.age[40] == 0
        fresh.append(bool(tokens.age[20] == 0))
    assert fresh == [False, False, True]


def test_probes_rotate_through_all_unchanged_patches():
    cached = stage(tower(), method='patch', probe=0.1, max_error=100.0, max_age=60.0)
    image = scene()
    cached.encode(seen(0.0, image))
    probed = []
    for k in range(9):
        tokens = cached.encode(seen(0.1 + 0.1 * k, with_patch(image, 20, 40 * (k % 2))))
        probed += [p for p in np.flatnonzero(~tokens.reused) if p != 20]
    assert sorted(probed) == [p for p in range(64) if p != 20]


def test_no_slot_gets_older_than_its_cap():
    cached = stage(tower(), method='patch', max_age=0.35, probe=0.001)
    rng = np.random.default_rng(1)
    image, stamp = scene(), 0.0
    for _ in range(60):
        image = with_patch(image, int(rng.integers(64)), int(rng.integers(256)))
        stamp += float(rng.choice([0.05, 0.1, 0.5]))
        assert cached.encode(seen(stamp, image)).age.max() <= 0.35 + 1e-6


def test_patches_too_old_are_computed_with_that_reason():
    cached = stage(tower(), method='patch', max_age=0.3, max_error=100.0, max_changed=1.0)
    changed = scene()
    for patch in range(8):
        changed = with_patch(changed, patch)
    cached.encode(seen(0.0, scene()))
    cached.encode(seen(0.2, changed))
    tokens = cached.encode(seen(0.4, changed))
    assert tokens.refresh_reason == 'patches too old'
    # What was computed in the second frame, eight patches and two probes, may stay.
    assert 0 < np.count_nonzero(tokens.age) <= 10
    assert tokens.age.max() == pytest.approx(0.2)


def test_an_error_above_the_bound_computes_everything():
    walked = tower()
    changed = scene()
    for patch in range(16):
        changed = with_patch(changed, patch)
    loose = stage(walked, method='patch', max_error=100.0)
    loose.encode(seen(0.0, scene()))
    tokens = loose.encode(seen(0.1, changed))
    error = loose.last.token_error
    assert 0 < error < 10
    assert not np.allclose(tokens.features, dense(walked, changed), atol=1e-3)
    for bound, reason in ((1.01 * error, 'patches changed'), (0.99 * error, 'token error')):
        bounded = stage(walked, method='patch', max_error=bound)
        bounded.encode(seen(0.0, scene()))
        tokens = bounded.encode(seen(0.1, changed))
        assert tokens.refresh_reason == reason
        assert np.allclose(tokens.features, dense(walked, changed), atol=1e-5) == (
            reason == 'token error'
        )


def test_after_an_error_whole_passes_follow_before_the_next_attempt():
    cached = stage(tower(), method='patch', max_error=0.0)
    reasons = [
        cached.encode(seen(0.05 * k, with_patch(scene(), 20, 40 * (k % 2)))).refresh_reason
        for k in range(7)
    ]
    assert reasons == [
        'first frame',
        'token error',
        'token error before',
        'token error',
        'token error before',
        'token error before',
        'token error',
    ]


def whole_passes(outcomes):
    """Return how many whole passes follow each attempt; ``outcomes`` say which ones failed."""
    gate, settings, runs = PatchGate(), CacheSettings('patch', max_age=60.0), []
    frames = ({'front': with_patch(scene(), 20, 40 * (k % 2))} for k in range(100))
    left = list(outcomes)
    for k, images in enumerate(frames):
        decision = gate.decide(images, 0.1 * k, Patches(8, 8), settings)
        rows = decision.rows
        if decision.reason == 'token error before':
            runs[-1] += 1
        elif k:
            if not left:
                return runs
            runs.append(0)
            gate.judge(0, left[0])
            rows = rows | left.pop(0)
        gate.commit(rows, 0.1 * k)
    raise AssertionError(runs)


def test_whole_passes_after_errors_double_up_to_a_limit_and_halve_with_each_success():
    assert whole_passes([True, True, False, True]) == [1, 2, 0, 2]
    assert whole_passes([True] * 6) == [1, 2, 4, 8, 16, 16]


def test_partial_pass_with_a_convolutional_stem_computes_all_cells_that_see_the_change():
    walked = stem_tower()
    cached = stage(walked, size=96, method='patch', probe=0.001, max_error=100.0)
    image = scene(size=96)
    cached.encode(seen(0.0, image))
    tokens = cached.encode(seen(0.1, with_patch(image, 27, 255, 12)))
    fresh = set(np.flatnonzero(~tokens.reused))
    around = {row * 8 + column for row in (2, 3, 4) for column in (2, 3, 4)}
    assert around <= fresh
    assert len(fresh) == len(around) + 1


@pytest.mark.parametrize(
    ('second', 'reason'),
    [
        (seen(-1.0, scene()), 'clock jumped back'),
        (seen(2.0, scene()), 'max age'),
        (seen(0.1, scene(size=128)), 'image shape changed'),
    ],
)
def test_invalidation_computes_everything(second, reason):
    walked = tower()
    cached = stage(walked, method='patch')
    cached.encode(seen(0.0, scene()))
    tokens = cached.encode(second)
    assert tokens.refresh_reason == reason
    assert not tokens.reused.any()
    assert np.allclose(tokens.features, dense(walked, second.images['front']), atol=1e-5)


def test_first_frame_and_reset_are_named():
    cached = stage(tower(), method='patch')
    assert cached.encode(seen(0.0, scene())).refresh_reason == 'first frame'
    cached.reset('instruction changed')
    assert cached.encode(seen(0.1, scene())).refresh_reason == 'instruction changed'


@pytest.mark.parametrize('method', ['reuse', 'patch'])
def test_every_so_many_frames_everything_is_computed(method):
    cached = stage(tower(), method=method, refresh_every=3)
    reasons = [cached.encode(seen(0.1 * k, scene())).refresh_reason for k in range(7)]
    assert reasons == ['first frame', '', '', 'periodic refresh', '', '', 'periodic refresh']


def test_a_pass_that_fails_leaves_no_half_written_slots(monkeypatch):
    walked = tower()
    cached = stage(walked, ('front', 'wrist'), method='patch')
    cached.encode(seen(0.0, scene(0), scene(1)))
    with monkeypatch.context() as patch:
        patch.setattr(walked.encoder.encoder.layers[2], 'forward', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cached.encode(seen(0.1, with_patch(scene(0), 3), scene(1)))
    tokens = cached.encode(seen(0.2, scene(0), scene(1)))
    assert tokens.refresh_reason == 'pass failed'
    assert np.allclose(tokens.features, dense(walked, scene(0), scene(1)), atol=1e-5)


@pytest.mark.parametrize('method', ['reuse', 'skip', 'patch'])
def test_tokens_that_are_no_numbers_are_not_taken_for_those_of_the_frame(monkeypatch, method):
    walked = tower()
    cached = stage(walked, method=method)
    cached.encode(seen(0.0, scene(0)))
    with monkeypatch.context() as patch:
        patch.setattr(walked, 'project', lambda memory: torch.full((64, 32), torch.nan))
        patch.setattr(walked, 'forward', lambda images: torch.full((1, 64, 32), torch.nan))
        with pytest.raises(InvalidRecordError, match='not finite'):
            cached.encode(seen(0.1, scene(1)))
    tokens = cached.encode(seen(0.2, scene(1)))
    assert tokens.refresh_reason == 'pass failed'
    assert np.allclose(tokens.features, dense(walked, scene(1)), atol=1e-5)


def test_a_token_of_several_patches_is_as_old_as_the_oldest():
    cached = stage(shuffling_tower(), method='patch', probe=0.001, max_error=100.0)
    cached.encode(seen(0.0, scene()))
    image = scene()
    for patch in (0, 1, 8, 9, 2):  # All four of the first token, one of the second.
        image = with_patch(image, patch)
    tokens = cached.encode(seen(0.25, image))
    assert tokens.grid == (4, 4)
    assert tokens.age[0] == 0
    assert tokens.age[1:] == pytest.approx(0.25)


def test_parameters_change_while_running_without_an_exception_or_a_stale_token():
    walked = shuffling_tower()
    cached = stage(walked, ('front', 'wrist'), method='patch')
    rng = np.random.default_rng(4)
    images, stamp = [scene(0), scene(1)], 0.0
    settings = PerceptionSettings()
    for _ in range(150):
        if rng.random() < 0.2:
            settings = build(
                PerceptionSettings,
                {
                    'signals': bool(rng.random() < 0.5),
                    'cache.method': str(rng.choice(['none', 'reuse', 'skip', 'patch'])),
                    'cache.threshold': float(rng.uniform(0.01, 0.1)),
                    'cache.max_age': float(rng.uniform(0.0, 1.0)),
                    'cache.refresh_every': int(rng.integers(0, 5)),
                    'cache.max_error': float(rng.uniform(0.0, 1.0)),
                    'cache.probe': float(rng.uniform(0.001, 0.2)),
                    'cache.max_changed': float(rng.uniform(0.0, 1.0)),
                },
            )
            cached.configure(settings)
        images[0] = with_patch(images[0], int(rng.integers(64)), int(rng.integers(256)))
        stamp += float(rng.choice([0.03, 0.1, 2.0, -0.5], p=[0.6, 0.3, 0.05, 0.05]))
        tokens = cached.encode(seen(stamp, *images))
        if tokens is None:
            assert settings.cache.method == 'skip'
            continue
        assert tokens.age.min() >= 0
        assert tokens.age.max() <= settings.cache.max_age + 1e-6
        assert len(tokens.saliency) == len(tokens.contour) == (32 if settings.signals else 0)
        fresh = ~tokens.reused
        if fresh.all() and cached.last.computed == 128:
            assert np.allclose(tokens.features, dense(walked, *images), atol=1e-4)


# Settings.


def test_release_above_the_threshold_is_refused_with_the_reason():
    with pytest.raises(InvalidSettingError, match=r'cache.release 0.01 is above cache.threshold'):
        build(PerceptionSettings, {'cache.threshold': 0.005})


@pytest.mark.parametrize(
    ('name', 'value'), [('probe', 0.0), ('max_changed', 1.5), ('refresh_every', -1)]
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(InvalidSettingError, match=name):
        build(PerceptionSettings, {f'cache.{name}': value})


# Signals.


def test_contour_is_the_share_of_edge_pixels_of_each_token():
    image = np.full((64, 64, 3), 40, np.uint8)
    image[:, 36:] = 220
    tokens = stage(tower(), signals=True).encode(seen(0.0, image))
    contour = tokens.contour.reshape(8, 8)
    assert contour.shape == tokens.grid
    assert contour[:, 4] == pytest.approx(1 / 8)
    assert not np.delete(contour, 4, 1).any()


@pytest.mark.parametrize(('step', 'edge'), [(20, False), (40, False), (60, True)])
def test_an_edge_is_one_for_canny_at_100_and_200(step, edge):
    """The gradient of a step is four times its height."""
    image = np.full((64, 64, 3), 100, np.uint8)
    image[:, 36:] += np.uint8(step)
    assert contour(image, (64, 64), (8, 8)).any() == edge


def test_edges_are_looked_for_in_the_image_that_the_tower_sees():
    image = np.full((128, 128, 3), 40, np.uint8)
    image[:, 72:] = 220
    # One column of the eight of a token at 64 x 64; at 128 x 128 it would be one of sixteen.
    assert contour(image, (64, 64), (8, 8)).reshape(8, 8)[:, 4] == pytest.approx(1 / 8)


def test_saliency_sums_to_one_a_camera_for_tokens_of_several_patches():
    walked = shuffling_tower()
    watched = stage(walked, ('front', 'wrist'), signals=True)
    tokens = watched.encode(seen(0.0, scene(0), scene(1)))
    assert tokens.saliency.reshape(2, -1).sum(1) == pytest.approx([1.0, 1.0], abs=1e-5)
    with torch.inference_mode():
        image = torch.from_numpy(pixels(scene(0), 64, GREY, GREY))
        patches = walked.saliency(walked.encode(image, False, True)).reshape(8, 8)
    assert tokens.saliency[5] == pytest.approx(float(patches[2:4, 2:4].sum()), abs=1e-6)


def test_signals_follow_the_computed_patches_and_stay_where_nothing_changed():
    cached = stage(tower(), method='patch', signals=True, max_error=100.0)
    first = cached.encode(seen(0.0, scene()))
    same = cached.encode(seen(0.1, scene()))
    assert np.array_equal(first.saliency, same.saliency)
    assert np.array_equal(first.contour, same.contour)
    moved = cached.encode(seen(0.2, with_patch(scene(), 20)))
    assert moved.saliency.sum() == pytest.approx(1.0, abs=1e-5)
    assert not np.array_equal(moved.saliency, same.saliency)
    assert not np.array_equal(moved.contour, same.contour)


def test_signals_are_off_by_default_and_switch_while_running():
    cached = stage(tower(), method='patch')
    assert cached.encode(seen(0.0, scene())).saliency.size == 0
    cached.configure(build(PerceptionSettings, {'signals': True, 'cache.method': 'patch'}))
    tokens = cached.encode(seen(0.1, scene()))
    assert tokens.refresh_reason == 'signals switched'
    assert tokens.saliency.sum() == pytest.approx(1.0, abs=1e-5)
