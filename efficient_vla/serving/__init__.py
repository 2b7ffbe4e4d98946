# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Policies over a network: offer one, or let one that is offered drive the graph.

The protocol is that of openpi (github.com/Physical-Intelligence/openpi): over a websocket the
server sends metadata first, then answers every observation with ``{'actions': [H, A], ...}``.
"""
