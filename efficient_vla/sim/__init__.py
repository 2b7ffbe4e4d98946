# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Simulated robots. Rendering is headless: MuJoCo reads MUJOCO_GL when it is first imported."""

import os

os.environ.setdefault('MUJOCO_GL', 'egl')
