# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""A chunk as a line of tokens: which ones, and how they are found, are parameters."""

from importlib import import_module
from pkgutil import resolve_name
from typing import Any

import torch
from torch import nn

from efficient_vla import addons
from efficient_vla.action.catalogue import DECODINGS, TOKENIZERS
from efficient_vla.action.decoding import Decoded, Line
from efficient_vla.action.heads import Generator, Given, HeadSource, Made
from efficient_vla.action.heads.regression import Regression
from efficient_vla.action.heads.token_decoder import TokenDecoder
from efficient_vla.action.policies import SinglePolicy
from efficient_vla.action.settings import ActorSettings
from efficient_vla.action.tokenizers import Tokenizer
from efficient_vla.errors import CheckpointError
from efficient_vla.settings import InvalidSettingError


class Tokens(Generator):
    """The head tokens with a decoder of bins or of byte pairs."""

    def __init__(
        self,
        single: SinglePolicy,
        tokenizer: Tokenizer,
        decoder: TokenDecoder,
        own: dict[str, TokenDecoder],
        settings: ActorSettings,
        lacking: dict[str, str],
    ) -> None:
        """Use the decoders ``own`` for decodings that have one; ``lacking`` says why others not."""
        super().__init__()
        self.single, self.decoder, self.own = single, decoder, nn.ModuleDict(own)
        self._decoders = dict.fromkeys(DECODINGS, decoder) | own
        self.tokenizer = tokenizer
        self._lacking = lacking
        self.configure(settings)

    def configure(self, settings: ActorSettings) -> None:
        """Apply settings from the next chunk on.

        Raises ``InvalidSettingError`` for a decoding whose own decoder is missing or unfit.
        """
        method = settings.decoding.method
        if method in self._lacking:
            raise InvalidSettingError(f'decoding.method is {method}, but {self._lacking[method]}')
        self._settings = settings.decoding

    def decode(self, features: torch.Tensor) -> Decoded:
        """Return the tokens for features [1, F]."""
        settings, method = self._settings, self._settings.method
        line = Line(
            self._decoders[method],
            features,
            self.tokenizer.end,
            lambda: self.tokenizer.encode(self.single.chunk_of(features).cpu())[0],
            settings.accept,
            settings.max_steps,
        )
        found: Decoded = import_module(f'efficient_vla.action.decoding.{method}').decode(line)
        return found

    def make(self, given: Given) -> Made:
        """Return the chunk of the decoded tokens."""
        found = self.decode(self.single.features(given.latents, given.state))
        chunk, note = self.tokenizer.decode(found.tokens[0].tolist())
        return Made(chunk, found.passes, note=note)


def load(source: HeadSource, settings: ActorSettings) -> Tokens | Regression:
    """Return the head of the add-on that is named as the tokenizer."""
    name = settings.tokens.tokenizer
    if TOKENIZERS[name].whole:
        policy = tokenizer_class(name)(source.shape)
        source.addon(name).fill(policy, addons.ACTIONS)
        return Regression(policy)
    tokenizer, decoder = load_decoder(source, name, name)
    own, lacking = {}, {}
    for method, entry in DECODINGS.items():
        if entry.recipe and name in entry.tokenizers:
            try:
                _, own[method] = load_decoder(source, method, name)
                if source.addon(method).shape != source.addon(name).shape:
                    raise CheckpointError(
                        f'the add-on {method} was trained with other {name} than the add-on '
                        f'{name} has. {source.addon(method).again}'
                    )
            except CheckpointError as error:
                lacking[method] = str(error)
    return Tokens(source.single(), tokenizer, decoder, own, settings, lacking)


def load_decoder(source: HeadSource, addon_name: str, name: str) -> tuple[Tokenizer, TokenDecoder]:
    """Return the tokenizer and the decoder of an add-on, whose tokens are those of ``name``.

    Raises ``CheckpointError`` for chunks of another shape than those of the policy.
    """
    addon = source.addon(addon_name)
    tokenizer = addon.make(tokenizer_class(name))
    if tokenizer.shape != source.shape.chunk:
        raise CheckpointError(
            f'{addon.path} is for chunks of {list(tokenizer.shape)}; the policy has '
            f'{list(source.shape.chunk)}. {addon.again}'
        )
    decoder = TokenDecoder(source.single().width, tokenizer.size, tokenizer.length)
    addon.fill(decoder)
    return tokenizer, decoder


def tokenizer_class(name: str) -> Any:
    """Return the class of a tokenizer of the catalogue."""
    return resolve_name(f'efficient_vla.action.tokenizers.{name}:{TOKENIZERS[name].kind}')
