# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Simulated robots. Rendering is headless: MuJoCo reads MUJOCO_GL when it is first imported."""

import os

os.environ.setdefault('MUJOCO_GL', 'egl')
# Mesa's cache has a thread of idle priority: on busy cores it never gets to end, and a killed or
# interrupted process stays for many seconds. Without the cache a first image takes a second more.
os.environ.setdefault('MESA_SHADER_CACHE_DISABLE', 'true')
