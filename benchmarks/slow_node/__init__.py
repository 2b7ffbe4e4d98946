# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What the fast side does while the slow one is on another host, and dies, hangs or is far away."""
