# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""The start of a node in a network namespace: ``python elsewhere.py NAMESPACE NODE ...``."""

import os
import sys

if __name__ == '__main__':
    words = ['nsenter', f'--net=/run/netns/{sys.argv[1]}', sys.executable, '-P']
    os.execvp(words[0], [*words, '-m', 'efficient_vla.nodes', *sys.argv[2:]])
