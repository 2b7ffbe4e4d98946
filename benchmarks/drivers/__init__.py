# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
