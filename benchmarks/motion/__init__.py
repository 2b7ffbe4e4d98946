# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""How smoothly and how steadily chunks become motion: `bench motion`."""
