# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Limits of an arm as its own description has them."""
