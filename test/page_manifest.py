# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""What a page says of the run that made its rows, for the tests of all pages."""

MANIFEST = {
    'git_commit': 'abc',
    'command': 'efficient-vla bench tokens',
    'quick': False,
    'machine': {'cores': 2, 'cpu': 'some'},
}
