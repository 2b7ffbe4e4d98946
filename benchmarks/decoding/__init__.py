# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Heads and decodings of actions: what `efficient-vla bench decoding` measures."""
