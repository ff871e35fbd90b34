import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling

from actors.model.families import family_of
from actors.model.image_batch import ImageBatch, batch_images


def test_images_are_concatenated_along_the_axis_of_their_family():
    idefics = family_of("idefics3")
    images = [
        {name: np.full((1, tiles, 3), tiles, np.float32) for name in ("pixel_values", "pixel_attention_mask")}
        for tiles in (2, 5)
    ]
    batch = batch_images(idefics, images, [1, 0, 1], "cpu")
    assert batch.tiles == (2, 5) and batch.order == (1, 0, 1)
    assert {name: tuple(value.shape) for name, value in batch.inputs.items()} == {
        "pixel_values": (1, 7, 3),
        "pixel_attention_mask": (1, 7, 3),
    }


def test_the_processors_batch_axis_is_dropped_for_llava_onevision():
    images = [{"pixel_values": np.zeros((1, 3, 2, 2)), "image_sizes": np.array([[4, 4]])} for _ in range(2)]
    batch = batch_images(family_of("llava_onevision"), images, [0, 1], "cpu")
    assert batch.inputs["pixel_values"].shape == (6, 2, 2) and batch.inputs["image_sizes"].shape == (2, 2)


def test_features_are_repeated_for_each_occurrence():
    batch = ImageBatch({}, tiles=(2, 1), order=(1, 0, 1))
    tensor = BaseModelOutputWithPooling(pooler_output=torch.tensor([[0.0], [1.0], [2.0]]))
    assert batch.for_each_occurrence(tensor).pooler_output.flatten().tolist() == [2, 0, 1, 2]
    each = BaseModelOutputWithPooling(pooler_output=(torch.zeros(2), torch.ones(3)))
    assert [len(part) for part in batch.for_each_occurrence(each).pooler_output] == [3, 2, 3]
    assert ImageBatch.sum(each) == 3
