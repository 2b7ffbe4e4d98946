# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""``python -m efficient_vla.cli``, where the installed script is absent."""

import sys

from efficient_vla.cli import main

sys.exit(main())
