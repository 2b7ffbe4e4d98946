# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What visual tokens cost and what each way to spend fewer of them saves: `bench tokens`."""
