# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
#
# Source this in bash or zsh to use this workspace from a shell: PATH and the variables of ROS 2,
# Fast DDS and MuJoCo. The interpreter .venv/bin/python sets them for itself and needs no sourcing.

_root=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)
if [ -x "$_root/.venv/bin/python" ]; then
    eval "$("$_root/.venv/bin/python" -m efficient_vla_workspace)"
    case ":$PATH:" in
        *":$_root/.venv/bin:"*) ;;
        *) export PATH="$_root/.venv/bin:$PATH" ;;
    esac
else
    echo "$_root/.venv is missing; make it with: make setup" >&2
fi
unset _root
