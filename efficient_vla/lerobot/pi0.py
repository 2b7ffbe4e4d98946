# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""pi0 (arXiv 2410.24164): its parts, from a folder of LeRobot."""

from functools import partial

from torch import nn

from efficient_vla.action.heads.expert import Expert, ExpertLayer, Joint
from efficient_vla.action.heads.expert_ends import Ends, ExpertShape, Projections
from efficient_vla.lerobot import vlm
from efficient_vla.lerobot.embeddings import Embeddings
from efficient_vla.lerobot.expert_layers import adaptive_norm, feed, linear, norm
from efficient_vla.lerobot.features import ACTION, STATE
from efficient_vla.lerobot.folder import LeRobotFolder
from efficient_vla.lerobot.parts import Canvas, square
from efficient_vla.lerobot.prefix_policy import PrefixPolicy
from efficient_vla.lerobot.weights import Tensors
from efficient_vla.perception.tower import VisionTower
from efficient_vla.reasoning.prefix import Prefix

PALIGEMMA = 'paligemma_with_expert.paligemma'
TEXT = f'{PALIGEMMA}.model.language_model'
EXPERT = 'paligemma_with_expert.gemma_expert.model'
EPS = 1e-6


class Pi:
    """The parts of one folder of pi0 or pi0.5; each is read when it is asked for."""

    def __init__(self, folder: LeRobotFolder, adaptive: bool) -> None:
        """Check what ``config.json`` says; ``adaptive``: time scales the norms, as in pi0.5."""
        self.folder, self.config, self.adaptive = folder, folder.config, adaptive
        # Converted folders lack the first part of the names.
        nested = 'model.action_in_proj.weight' in folder.tensors
        self.tensors = folder.tensors.at('model') if nested else folder.tensors
        self.steps = self.config.integer('num_inference_steps', 10)
        self.state_in_words = adaptive
        name = 'image_resolution'
        self.canvas = Canvas(square(self.config.integers(name, 2), folder, name), 'centre', True)
        root = r'model\.' if nested else ''
        last = self.tensors.at(f'{TEXT}.layers').numbered() - 1
        heads = rf'{root}paligemma_with_expert\.(paligemma|gemma_expert)\.lm_head\.weight'
        vision = r'(vision_tower|multi_modal_projector)'
        self.owned = {
            'perception': (rf'{root}{PALIGEMMA}\.model\.{vision}\..*',),
            'reasoner': (rf'{root}{TEXT}\..*',),
            'actor': (rf'{root}{EXPERT}\..*', rf'{root}(action|time|state)_.*'),
            '': (
                heads,
                rf'{root}{TEXT}\.norm\.weight',
                rf'{root}{TEXT}\.layers\.{last}\.{vlm.UNUSED_OF_LAST}\.weight',
            ),
        }
        if not folder.state_width:
            raise self.config.error('input_features', list(folder.input_features), STATE)

    @property
    def prefix_width(self) -> int:
        """Numbers in a row of the prefix."""
        return self.tensors.shape(f'{TEXT}.layers.0.input_layernorm.weight')[0]

    def tower(self) -> VisionTower:
        """Return the vision tower."""
        return vlm.paligemma_tower(self.tensors.at(f'{PALIGEMMA}.model'))

    def prefix(self) -> Prefix:
        """Return the language model."""
        text = self.tensors.at(TEXT)
        decoder = vlm.gemma_decoder(text)
        # Converted folders hold the output layer alone, which shares the table.
        shared = 'embed_tokens.weight' not in text
        table = (
            self.tensors.table(f'{PALIGEMMA}.lm_head.weight')
            if shared
            else text.table('embed_tokens.weight')
        )
        if self.folder.words is not None:
            self.folder.words.check(table.count, begin='bos_token')
        return Prefix(decoder, Embeddings(table, decoder.config.hidden_size**0.5))

    def expert(self) -> Expert:
        """Return the action expert."""
        tensors, part = self.tensors, self.tensors.at(EXPERT)
        depth, text = part.at('layers').numbered(), self.tensors.at(TEXT)
        layers = text.at('layers').numbered()
        if depth != layers:
            variant = self.config.raw('action_expert_variant', '')
            raise self.config.error(
                'action_expert_variant', variant, f'one of {layers} layers, as the tensors have'
            )
        head = text.shape('layers.0.self_attn.k_proj.weight')[0]
        width = tensors.shape('action_in_proj.weight')[0]
        time = 'time_mlp' if self.adaptive else 'action_time_mlp'
        states = self.config.integer('max_state_dim', 32)
        projections = Projections(
            linear(tensors, 'action_in_proj', self.config.integer('max_action_dim', 32)),
            linear(tensors, 'action_out_proj', width),
            linear(tensors, f'{time}_in', width if self.adaptive else 2 * width),
            linear(tensors, f'{time}_out', width),
            None if self.adaptive else linear(tensors, 'state_proj', states),
        )
        shape = ExpertShape(
            rows=self.config.integer('chunk_size'),
            actions=self.folder.output_features[ACTION].shape[0],
            head=head,
            serves=tuple(range(depth)),
            min_period=self.config.number('min_period', 0.004, low=1e-9),
            max_period=self.config.number('max_period', 4.0, low=1e-9),
            causal=False,
        )
        made = [self._layer(part.at(f'layers.{number}'), width, head) for number in range(depth)]
        return Expert(Ends(shape, projections, self._norm(part, 'norm', width)), made).eval()

    def _layer(self, layer: Tensors, width: int, head: int) -> ExpertLayer:
        qkv = linear(layer, tuple(f'self_attn.{name}_proj' for name in 'qkv'), width)
        out = linear(layer, 'self_attn.o_proj', qkv.out_features - 2 * head)
        norms = tuple(
            self._norm(layer, name, width)
            for name in ('input_layernorm', 'post_attention_layernorm')
        )
        return ExpertLayer(
            (norms[0], norms[1]), Joint(qkv, out, head, 1), feed(layer, width, tanh_gelu=True)
        )

    def _norm(self, tensors: Tensors, name: str, width: int) -> nn.Module:
        if self.adaptive:
            return adaptive_norm(tensors, name, width, EPS)
        return norm(tensors, name, width, EPS, less_one=True)


policy = PrefixPolicy(partial(Pi, adaptive=False))
load_perception, load_reasoner = policy.load_perception, policy.load_reasoner
load_actor, replay = policy.load_actor, policy.replay
