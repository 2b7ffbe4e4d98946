# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The cheapest settings of a policy that still succeed: search, confirmation, folder."""
