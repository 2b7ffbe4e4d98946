# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Train UniVLA's one vocabulary of visual codes, text and action words (arXiv 2506.19850).

Codebook and action words are fitted first. Then vocabulary, decoder updates and action words are
trained together by cross-entropy: of the next code or text token of the sequence (the paper's
world-model stage, here a small weight beside), and of the action words. The paper has no teacher;
the dense plan's is kept, so that the other heads read the same plan.
"""

import torch
from rich.progress import track
from torch.nn import functional

from efficient_vla.action.tokenizers.univla import TokenPolicy
from efficient_vla.addons import ACTIONS
from efficient_vla.reasoning.resampling.univla import UniVla
from efficient_vla.training.features import Features, Plans, Samples, noisy
from efficient_vla.training.files import prefixed
from efficient_vla.training.frozen import Frozen
from efficient_vla.training.loop import schedule
from efficient_vla.training.losses import action_loss, plan_losses, plan_measures
from efficient_vla.training.recipes.recipe import Recipe

CODES = 1024
FIT_TOKENS = 60_000
FIT_ROUNDS = 12
SHOWN = 1 / 3
"""Share of the codes that a batch shows the decoder, which has seen such gaps before."""
NEXT_WEIGHT = 0.03
WORD_WEIGHT = 0.1
WORD_STEPS = 800
WORD_RATE = 1e-3
DENSE_SAMPLES = 256
"""Dense plans that train the action words at a time; they cost no pass of the decoder."""
TAIL = 0.002
"""Share of the coefficients that lies outside of the bins on either side."""


class UnifiedRecipe(Recipe):
    """Vocabulary, decoder updates and action words."""

    bare = True

    def __init__(self, frozen: Frozen, features: Features, rank: int) -> None:
        """Fit codebook and bins, and start from the decoder and head that there are."""
        super().__init__(frozen)
        self.features = features
        self.shape = {'width': frozen.width, 'places': frozen.tokens, 'codes': CODES}
        self.module = UniVla(**self.shape)
        codebook, means = fit_codebook(features.tokens, CODES)
        with torch.no_grad():
            self.module.codebook.copy_(codebook)
            self.module.means.copy_(means)
            self.module.vocabulary.copy_(codebook)
            self.module.place.copy_(means)
        self.actions = TokenPolicy(frozen.card.shape(frozen.width))
        self.actions.layers.load_state_dict(frozen.single.head.layers[:-1].state_dict())
        chunks = frozen.targets(features.data.chunk[features.frames]).cpu()
        values = torch.einsum('ch,bha->bca', self.actions.basis, chunks).flatten(1)
        self.actions.low.copy_(values.quantile(TAIL, 0))
        self.actions.high.copy_(values.quantile(1 - TAIL, 0) + 1e-4)
        self.train_with_updates({'module': self.module, 'actions': self.actions}, rank)

    def losses(self, samples: Samples, progress: float) -> dict[str, torch.Tensor]:
        """Return the losses of a batch that sees a third of the codes; the first fits the words."""
        if progress == 0:
            self._fit_words()
        total = self.frozen.tokens
        shown = torch.randperm(total)[: round(SHOWN * total)].sort().values.to(self.frozen.device)
        codes = self.module.codes(samples.tokens)
        latents, hidden = self._run(codes, samples, shown)
        losses = plan_losses(self.frozen, latents, samples)
        losses['next'] = NEXT_WEIGHT * self._next(hidden, codes[:, shown], samples)
        words = self._words(latents, samples)
        losses['words'] = WORD_WEIGHT * (words + self._dense_words())
        return losses

    def measures(self, samples: Samples) -> dict[str, float]:
        """Return the losses of held-out samples, all codes shown."""
        everything = torch.arange(self.frozen.tokens, device=self.frozen.device)
        codes = self.module.codes(samples.tokens)
        latents, hidden = self._run(codes, samples, everything)
        latents = latents.float()
        decoded = self.actions(latents, samples.state).float()
        rounded = self.actions.chunk(self.actions.words(samples.target))
        quantized = self.module.codebook[codes] + self.module.means
        spread = (samples.tokens - self.module.means).square().mean()
        return plan_measures(self.frozen, latents, samples) | {
            'single_words': action_loss(decoded, samples.chunk, samples.fit).item(),
            'words': self._words(latents, samples).item(),
            'rounding': action_loss(rounded, samples.chunk, samples.fit).item(),
            'next': self._next(hidden, codes, samples).item(),
            'code_error': ((samples.tokens - quantized).square().mean() / spread).item(),
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return module, action words and updates."""
        return super().tensors() | prefixed(ACTIONS, self.actions)

    def _run(
        self, codes: torch.Tensor, samples: Samples, shown: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the plan and all last hidden states."""
        tokens = self.module.embed(codes)[:, shown]
        positions = shown.expand(len(tokens), -1)
        start = self.frozen.tokens
        latents, result = self.frozen.trunk(
            tokens, positions, samples.text, samples.text_mask, start
        )
        return latents, result.hidden

    def _next(self, hidden: torch.Tensor, codes: torch.Tensor, samples: Samples) -> torch.Tensor:
        """Return the cross-entropy [nat] of the next word over text, codes and action words."""
        words = self.frozen.trunk.decoder.get_input_embeddings().weight
        vocabulary = torch.cat([words, self.module.vocabulary, self.actions.vocabulary])
        length = codes.shape[1] + samples.text.shape[1]
        targets = torch.cat([codes + len(words), samples.text], 1)[:, 1:]
        counted = torch.cat([torch.ones_like(codes, dtype=torch.bool), samples.text_mask], 1)[:, 1:]
        said = hidden[:, : length - 1][counted]
        logits = said @ vocabulary.T.to(said.dtype) * vocabulary.shape[1] ** -0.5
        return functional.cross_entropy(logits.float(), targets[counted])

    def _words(self, latents: torch.Tensor, plans: Plans) -> torch.Tensor:
        """Return the cross-entropy [nat] of the action words."""
        targets = self.actions.words(plans.target)
        logits = self.actions.logits(latents.float(), plans.state).float()
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def _fit_words(self) -> None:
        """Train the action words alone on dense plans."""
        optimizer = torch.optim.AdamW(self.actions.parameters(), WORD_RATE, (0.9, 0.95))
        with torch.enable_grad():
            for step in track(range(WORD_STEPS), 'action words'):
                optimizer.param_groups[0]['lr'] = WORD_RATE * schedule(step, WORD_STEPS)
                optimizer.zero_grad()
                self._dense_words().backward()
                torch.nn.utils.clip_grad_norm_(self.actions.parameters(), 1.0)
                optimizer.step()
        optimizer.zero_grad()

    def _dense_words(self) -> torch.Tensor:
        """Return the same for dense plans that were made before, a little off."""
        chosen = torch.randint(len(self.features), (DENSE_SAMPLES,)).numpy()
        plans = self.features.plans(chosen)
        return self._words(noisy(plans.latents), plans)


def fit_codebook(tokens: torch.Tensor, codes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a codebook [codes, D] of what tokens [N, V, D] are beside the means [V, D] of places.

    Lloyd's rounds over a sample; a code without tokens starts again at a random one.
    """
    generator = torch.Generator().manual_seed(0)
    frames = torch.randperm(len(tokens), generator=generator)[: max(1, FIT_TOKENS // 8)]
    some = tokens[frames].float()
    means = some.mean(0)
    rest = (some - means).flatten(0, 1)
    rest = rest[torch.randperm(len(rest), generator=generator)[:FIT_TOKENS]]
    book = rest[torch.randint(len(rest), (codes,), generator=generator)].clone()
    for _ in range(FIT_ROUNDS):
        nearest = torch.cat(
            [(book.square().sum(1) - 2 * part @ book.T).argmin(1) for part in rest.split(8192)]
        )
        counts = nearest.bincount(minlength=codes)
        sums = torch.zeros_like(book).index_add_(0, nearest, rest)
        book = sums / counts[:, None].clamp(min=1)
        empty = counts == 0
        again = torch.randint(len(rest), (int(empty.sum()),), generator=generator)
        book[empty] = rest[again]
    return book, means
