# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Real-time chunking: new chunks already agree with what is executed while they are computed.

The work is done inside the action head, by guidance (RTC, arXiv 2506.07339) or by rows that it
learned to be given (arXiv 2512.05964); ``rtc`` and ``rtc_trained`` ask the actor for it through the
status of the controller. What is left here is the offset of a chunk that is later than the head
assumed, and of errors of the head; it fades as any other.
"""

from efficient_vla.control.blending.offset_fade import OffsetFade


class RealTimeChunking(OffsetFade):
    """The newest trajectory, which its head drew to the one before, and what remains between."""
