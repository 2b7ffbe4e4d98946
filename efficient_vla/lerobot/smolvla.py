# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""SmolVLA (arXiv 2506.01844): its parts, from a folder of LeRobot."""

import torch

from efficient_vla.action.heads.expert import Cross, Expert, ExpertLayer, Joint
from efficient_vla.action.heads.expert_ends import Ends, ExpertShape, Projections
from efficient_vla.lerobot import vlm
from efficient_vla.lerobot.embeddings import Embeddings
from efficient_vla.lerobot.expert_layers import feed, linear, norm
from efficient_vla.lerobot.features import ACTION, STATE, cameras_of
from efficient_vla.lerobot.folder import LeRobotFolder
from efficient_vla.lerobot.parts import Canvas, images_of, square
from efficient_vla.lerobot.prefix_policy import PrefixPolicy
from efficient_vla.lerobot.vlm_heads import Heads, smolvlm_heads
from efficient_vla.lerobot.weights import Tensors
from efficient_vla.perception.tower import VisionTower
from efficient_vla.reasoning.prefix import Markers, Prefix

VLM = 'vlm_with_expert.vlm.model'
TEXT = f'{VLM}.text_model'
EXPERT = 'vlm_with_expert.lm_expert'
EPS = 1e-5
AROUND_IMAGES = 'fake_image_token', 'global_image_token'
"""Roles of tokens that the model has."""
CROSS = 'cross_attn'
"""Attention mode in which only some layers see the rows of the chunk."""


class SmolVla:
    """The parts of one folder; each is read when it is asked for."""

    state_in_words = False

    def __init__(self, folder: LeRobotFolder) -> None:
        """Check what ``config.json`` says."""
        config = folder.config
        self.folder, self.config = folder, config
        self.tensors = folder.tensors.at('model')
        for name in ('adapt_to_pi_aloha', 'use_delta_joint_actions_aloha'):
            config.refuse(name, False, why='the joints of ALOHA are not converted here')
        config.word('attention_mode', CROSS, (CROSS, 'self_attn'))
        self.steps = config.integer('num_steps', 10)
        self.heads = self._heads()
        self.canvas = self._canvas()
        last = self.tensors.at(f'{TEXT}.layers').numbered() - 1
        self.owned = {
            'perception': (rf'model\.{VLM}\.(vision_model|connector)\..*',),
            'reasoner': (rf'model\.{TEXT}\..*', r'model\.state_proj\..*'),
            'actor': (rf'model\.{EXPERT}\..*', r'model\.action_.*'),
            '': (
                r'model\.vlm_with_expert\.vlm\.lm_head\.weight',
                rf'model\.{TEXT}\.norm\.weight',
                rf'model\.{TEXT}\.layers\.{last}\.{vlm.UNUSED_OF_LAST}\.weight',
            ),
        }
        if not folder.state_width:
            raise config.error('input_features', list(folder.input_features), STATE)

    @property
    def prefix_width(self) -> int:
        """Numbers in a row of the prefix."""
        return self.tensors.shape(f'{TEXT}.layers.0.input_layernorm.weight')[0]

    def tower(self) -> VisionTower:
        """Return the vision tower."""
        return vlm.smolvlm_tower(self.tensors.at(VLM), self.heads)

    def prefix(self) -> Prefix:
        """Return the language model with the row of the state."""
        decoder = vlm.llama_decoder(self.tensors.at(TEXT), self.heads)
        depth = len(decoder.layers)
        wanted = self.config.integer('num_vlm_layers', 16, low=-1)
        if wanted > 0 and depth != wanted:
            raise self.config.error('num_vlm_layers', wanted, f'{depth}, as the tensors have')
        table = self.tensors.table(f'{TEXT}.embed_tokens.weight')
        if self.folder.words is not None:
            self.folder.words.check(table.count, needed=AROUND_IMAGES)
        words = Embeddings(table, decoder.config.hidden_size**0.5)
        state = linear(self.tensors, 'state_proj', self.config.integer('max_state_dim', 32))
        return Prefix(decoder, words, state, self._markers(words))

    def expert(self) -> Expert:
        """Return the action expert."""
        tensors, part = self.tensors, self.tensors.at(EXPERT)
        depth = self.tensors.at(f'{TEXT}.layers').numbered()
        own = part.at('layers').numbered()
        if own < 1 or depth % own:
            said = self.config.raw('num_expert_layers', -1)
            raise self.config.error('num_expert_layers', said, f'a number that divides {depth}')
        width = tensors.shape('action_in_proj.weight')[0]
        serves = tuple(range(0, depth, depth // own))
        layers = [self._layer(part.at(f'layers.{n}'), width, at) for n, at in enumerate(serves)]
        columns = self.config.integer('max_action_dim', 32)
        projections = Projections(
            linear(tensors, 'action_in_proj', columns),
            linear(tensors, 'action_out_proj', width),
            linear(tensors, 'action_time_mlp_in', 2 * width),
            linear(tensors, 'action_time_mlp_out', width),
            None,
        )
        shape = ExpertShape(
            rows=self.config.integer('chunk_size'),
            actions=self.folder.output_features[ACTION].shape[0],
            head=self.heads.width,
            serves=serves,
            min_period=self.config.number('min_period', 0.004, low=1e-9),
            max_period=self.config.number('max_period', 4.0, low=1e-9),
            causal=True,
        )
        ends = Ends(shape, projections, norm(part, 'norm', width, EPS))
        return Expert(ends, layers).eval()

    def _layer(self, layer: Tensors, width: int, served: int) -> ExpertLayer:
        """Return the layer of the expert beside layer ``served`` of the language model."""
        every = self.config.integer('self_attn_every_n_layers', 2, low=-1)
        crossing = self.config.word('attention_mode', CROSS) == CROSS
        joint = not crossing or (every > 0 and served % every == 0)
        keys = self.tensors.shape(f'{TEXT}.layers.0.self_attn.k_proj.weight')[0]
        queries = layer.shape('self_attn.q_proj.weight')[0]
        out = linear(layer, 'self_attn.o_proj', queries)
        query, key, value = (f'self_attn.{name}_proj' for name in 'qkv')
        attention: Joint | Cross
        if joint:
            qkv = linear(layer, (query, key, value), width)
            attention = Joint(qkv, out, self.heads.width, keys // self.heads.width)
        else:
            attention = Cross(
                linear(layer, query, width),
                linear(layer, key, keys),
                linear(layer, value, keys),
                out,
                self.heads.width,
            )
        norms = (
            norm(layer, 'input_layernorm', width, EPS),
            norm(layer, 'post_attention_layernorm', width, EPS),
        )
        return ExpertLayer(norms, attention, feed(layer, width, tanh_gelu=False))

    def _markers(self, words: Embeddings) -> Markers | None:
        """Return the rows around each image, where the policy was trained with them."""
        if not self.config.flag('add_image_special_tokens', False):
            return None
        assert self.folder.words is not None
        ids = map(self.folder.words.special, AROUND_IMAGES)
        fake, start = (words.table.rows([token]) for token in ids)
        count, _ = images_of(self.folder)
        blanks = self.config.integer('empty_cameras', 0, low=0)
        return Markers(torch.cat([fake, start]), fake, count, blanks)

    def _canvas(self) -> Canvas:
        """Return how images are laid out; where none are resized, all have to be as in training."""
        name = 'resize_imgs_with_padding'
        if self.config.raw(name, None) is not None:
            return Canvas(square(self.config.integers(name, 2), self.folder, name), 'end', False)
        sizes = set(cameras_of(self.folder.input_features).values())
        if len(sizes) != 1:
            raise self.config.error(name, None, 'a size, since the cameras have several')
        return Canvas(square(sizes.pop(), self.folder, 'images of'), 'end', False)

    def _heads(self) -> Heads:
        vlm_tensors = self.tensors.at(VLM)
        widths = (
            vlm_tensors.shape('vision_model.post_layernorm.weight')[0],
            vlm_tensors.shape('text_model.embed_tokens.weight')[1],
        )
        return smolvlm_heads(widths, self.config.word('vlm_model_name'), self.folder.path)


policy = PrefixPolicy(SmolVla)
load_perception, load_reasoner = policy.load_perception, policy.load_reasoner
load_actor, replay = policy.load_actor, policy.replay
