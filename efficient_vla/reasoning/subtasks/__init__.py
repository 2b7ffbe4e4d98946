# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The next step of a long task, asked of a server, in place of the sentence of the operator."""
