# Copyright 2026 efficient_vla contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the configuration and tokenizer of a small vision-language model into a hub cache.

``python make_vlm.py HUB``, run by a Python that has LeRobot: SmolVLA takes the shape of its
vision-language model from the hub cache (HF_HUB_CACHE), where a user's machine has
SmolVLM2. Here it is a model of 2 M parameters under a name of its own, to be trained from scratch.
"""

import sys
from pathlib import Path
from typing import Any

NAME = 'efficient-vla/smolvlm-tiny'
REVISION = '0' * 40
SENTENCES = (
    'press the button\n',
    'open the drawer\n',
    'open the door\n',
    'push and close the window\n',
    'reach the goal position\n',
    'push the puck to the goal\n',
    'pick up the puck and place it at the goal\n',
)
IMAGE, PATCH, VOCABULARY = 128, 16, 320
VISION = {
    'model_type': 'smolvlm_vision',
    'hidden_size': 128,
    'intermediate_size': 384,
    'num_hidden_layers': 4,
    'num_attention_heads': 4,
    'image_size': IMAGE,
    'patch_size': PATCH,
}
TEXT = {
    'model_type': 'llama',
    'hidden_size': 128,
    'intermediate_size': 256,
    'num_hidden_layers': 4,
    'num_attention_heads': 4,
    'num_key_value_heads': 4,
    'head_dim': 32,
    'vocab_size': VOCABULARY,
    'rope_theta': 1e4,
    'rms_norm_eps': 1e-5,
}
SPECIALS = {
    'unk_token': '<|endoftext|>',
    'bos_token': '<|im_start|>',
    'pad_token': '<|im_end|>',
    'eos_token': '<end_of_utterance>',
    'image_token': '<image>',
    'fake_image_token': '<fake_token_around_image>',
    'global_image_token': '<global-img>',
}


def tokenizer() -> Any:
    """Return a byte-level tokenizer of the kind of SmolLM2 that knows the words of the tasks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    words.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    words.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=words, **SPECIALS)


def write(hub: Path) -> Path:
    """Write the snapshot and return its folder."""
    from transformers import (
        SmolVLMConfig,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    model = hub / f'models--{NAME.replace("/", "--")}'
    (model / 'refs').mkdir(parents=True, exist_ok=True)
    (model / 'refs/main').write_text(REVISION)
    folder = model / 'snapshots' / REVISION
    folder.mkdir(parents=True, exist_ok=True)
    words = tokenizer()
    SmolVLMConfig(
        vision_config=VISION,
        text_config=TEXT,
        scale_factor=1,
        image_token_id=words.convert_tokens_to_ids('<image>'),
        pad_token_id=words.pad_token_id,
    ).save_pretrained(folder)
    SmolVLMProcessor(
        SmolVLMImageProcessor(), words, SmolVLMVideoProcessor(), image_seq_len=(IMAGE // PATCH) ** 2
    ).save_pretrained(folder)
    return folder


if __name__ == '__main__':
    write(Path(sys.argv[1]))
