# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Our server under openpi's client, openpi's server under our graph, and a server that dies."""
