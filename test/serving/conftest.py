# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0

from fixtures.serving import scripted, serve

__all__ = ['scripted', 'serve']
