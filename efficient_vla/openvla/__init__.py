# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Policies in folders of OpenVLA and OpenVLA-OFT; neither of them is needed."""
