"""Channels last: a convolution whose weight lies in memory as tokens do, channel beside channel."""

from typing import TypeVar

import torch
import torch.nn as nn

__all__ = ["channels_last"]

C = TypeVar("C", bound=nn.Conv2d | nn.Conv3d)


def channels_last(convolution: C) -> C:
    """The convolution itself, of two axes or three, with the same values in that order.

    What it makes lies so as well, which is how tokens lie: to take them from its cells is no copy. Where its input lies
    so already, as a map of tokens does, the weight would else be copied at every call.
    """
    last = torch.channels_last if convolution.weight.ndim == 4 else torch.channels_last_3d
    return convolution.to(memory_format=last)  # pyright: ignore[reportCallIssue, reportArgumentType]
