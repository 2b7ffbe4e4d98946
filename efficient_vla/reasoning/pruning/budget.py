# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How many tokens stay, and which: the best by score, inside quotas, with the protected ones."""

import numpy as np
import torch

from efficient_vla.reasoning.pruning.view import View

UNREACHED = 1 << 28
"""Squared distance where no token of the camera is taken yet; beyond that of any grid."""


def budget(total: int, keep: float, least: int) -> int:
    """Return how many of ``total`` tokens may stay."""
    return min(total, max(least, round(keep * total)))


def choose(scores: torch.Tensor, view: View) -> torch.Tensor:
    """Return the indices of the tokens that stay, int64, increasing.

    Of each camera's quota, up to half goes to protected tokens (with ``protect.beyond`` nothing;
    they all stay beside it), then ``protect.coverage`` of it to
    the points of the grid farthest from all that stays, and the rest to the highest ``scores``
    [n]. Equal scores go by index. Tokens scored ``-inf`` stay only for protection or coverage;
    should fewer than ``min_tokens`` stay, farthest points of any camera fill up to that.
    """
    total, coverage = len(scores), view.settings.protect.coverage
    if view.count >= total:
        return torch.arange(total, device=scores.device)
    order = scores.argsort(descending=True, stable=True)
    pooled = not any(view.settings.camera_weights) and not coverage and not len(view.protected)
    if pooled and bool((scores > -torch.inf).all()):
        return order[: view.count].sort().values
    chosen = torch.zeros(total, dtype=torch.bool, device=scores.device)
    chosen[shielded(order, view)] = True
    ranked = order[(scores > -torch.inf)[order] & ~chosen[order]]
    for mine, count in quotas(view):
        room = count - int((chosen & mine).sum())
        far = min(round(coverage * count), room)
        chosen[ranked[mine[ranked]][: room - far]] = True
        if far:
            chosen[farthest_points(view, chosen, mine & ~chosen, far)] = True
    missing = min(view.settings.min_tokens, view.count) - int(chosen.sum())
    if missing > 0:
        chosen[farthest_points(view, chosen, ~chosen, missing)] = True
    if view.settings.protect.beyond and len(view.protected):
        chosen |= view.protected
    return chosen.nonzero()[:, 0]


def shielded(order: torch.Tensor, view: View) -> torch.Tensor:
    """Return the protected tokens that the budget lets in, as they come in ``order``.

    They get half of each camera's quota, rounded up; with more the selector would decide nothing.
    """
    if view.settings.protect.beyond or not len(view.protected):
        return order[:0]
    first = order[view.protected[order]]
    return torch.cat([first[mine[first]][: (count + 1) // 2] for mine, count in quotas(view)])


def quotas(view: View) -> list[tuple[torch.Tensor, int]]:
    """Return (tokens that share a quota, bool [n], and how many of them may stay) pairs.

    Without ``camera_weights`` all cameras share one. With them, what a camera with few tokens
    cannot use goes to the others by their weights.
    """
    weights = view.settings.camera_weights
    if not any(weights):
        return [(torch.ones_like(view.camera, dtype=torch.bool), view.count)]
    cameras, sizes = (part.tolist() for part in view.camera.unique(return_counts=True))
    shares = [weights[min(camera, len(weights) - 1)] for camera in cameras]
    # Those that run full first are served first, so that what they leave over is still to give.
    rows = sorted(zip(cameras, sizes, shares, strict=True), key=lambda row: row[1] / row[2])
    left, result = view.count, []
    for index, (camera, size, share) in enumerate(rows):
        count = min(size, round(left * share / sum(row[2] for row in rows[index:])))
        result.append((view.camera == camera, count))
        left -= count
    return result


def in_turn(total: int, *picks: torch.Tensor) -> torch.Tensor:
    """Return scores [total] by which tokens stay in the order in which ``picks`` name them.

    A pick is int64 indices, best first; a token in several counts in the first. A token in none is
    scored ``-inf``.
    """
    order = torch.cat(picks)
    places = -torch.arange(len(order), dtype=torch.float32, device=order.device)
    scores = torch.full((total,), -torch.inf, device=order.device)
    return scores.scatter_reduce_(0, order, places, 'amax')


def farthest_points(
    view: View, taken: torch.Tensor, free: torch.Tensor, count: int
) -> torch.Tensor:
    """Return up to ``count`` of the ``free`` tokens, each farthest from all taken before it.

    ``taken`` and ``free`` are bool [n] and share no token; the result is int64, in the order of
    taking. The distance is that of the grid. Of equals the first in the grid is taken; of a camera
    without any taken token, which is farthest of all, the one nearest to the middle of the grid.
    Tokens at the place of another one, which see more of the image, are as those of a further
    camera.
    """
    rows, columns = view.grid
    camera, row, column, is_taken, is_free = (
        torch.stack([view.camera, view.row, view.column, taken.long(), free.long()]).cpu().numpy()
    )
    again = np.ones(len(row), bool)
    again[np.unique((camera * rows + row) * columns + column, return_index=True)[1]] = False
    camera = camera + again * (camera.max() + 1)
    places, count = (camera, row, column), min(count, int(is_free.sum()))
    shape = (int(camera.max()) + 1, rows, columns)
    token = np.zeros(shape, np.int64)
    token[places] = np.arange(len(row))
    far_row, far_column = _squares(rows), _squares(columns)
    nearest: np.ndarray = np.full(shape, UNREACHED, np.int32)
    nearest[places] -= UNREACHED * is_taken.astype(np.int32)
    nearest = (nearest[:, :, None] + far_column).min(3)
    nearest = (nearest[:, None] + far_row[:, :, None]).min(2)
    available = np.zeros(shape, bool)
    available[places] = is_free
    nearest = np.where(available, np.minimum(nearest, UNREACHED), -1)  # -1: not to be taken
    flat = nearest.reshape(-1)
    added: list[int] = []
    while len(added) < count:
        cell = int(flat.argmax())
        best = flat[cell]
        if best == 1:
            # All that is free lies beside a taken token, so no further one changes a distance.
            added += np.flatnonzero(flat == 1)[: count - len(added)].tolist()
            break
        if best == UNREACHED:
            cell = _middle(flat, cell // (rows * columns), rows, columns)
        where, inside = divmod(cell, rows * columns)
        r, c = divmod(inside, columns)
        plane = nearest[where]
        np.minimum(plane, far_row[r][:, None] + far_column[c], out=plane)
        plane[r, c] = -1
        added.append(cell)
    return torch.from_numpy(token.reshape(-1)[added]).to(free.device)


def _squares(length: int) -> np.ndarray:
    """Return the squared distances between places on a line, int32 [length, length]."""
    line = np.arange(length, dtype=np.int32)
    return (line[:, None] - line) ** 2


def _middle(nearest: np.ndarray, camera: int, rows: int, columns: int) -> int:
    """Return the cell of the camera that is nearest to its middle among those not reached."""
    size = rows * columns
    cells = np.flatnonzero(nearest[camera * size : (camera + 1) * size] == UNREACHED)
    row, column = np.divmod(cells, columns)
    off = (2 * row - rows + 1) ** 2 + (2 * column - columns + 1) ** 2
    return int(camera * size + cells[off.argmin()])
