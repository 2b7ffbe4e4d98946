# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Other tokens in place of the visual ones: a fixed number of them, or codes of a vocabulary."""
