"""Plans of Qwen2.5-VL-7B and of the quickstart on described nodes."""

from pathlib import Path

from cluster.config.recipe_file import load_recipe
from cluster.planning.model_shape import shape_of
from cluster.planning.plan import make_plan

RECIPES = Path(__file__).parents[2] / "recipes"
PARAMETERS = (
    8_292_166_656  # of Qwen2.5-VL-7B-Instruct: half of total_size, 16,584,333,312, in its model.safetensors.index.json
)
TEXT = dict(
    hidden_size=3584,
    num_hidden_layers=28,
    intermediate_size=18944,
    num_attention_heads=28,
    num_key_value_heads=4,
    vocab_size=152064,
)
VISION = dict(
    depth=32,
    hidden_size=1280,
    intermediate_size=3420,
    num_heads=16,
    out_hidden_size=3584,
    patch_size=14,
    spatial_merge_size=2,
    temporal_patch_size=2,
    in_chans=3,
)
WHOLE = "learner.gradient_checkpointing=false"
MODEL = dict(model_type="qwen2_5_vl", vision_config=VISION, tie_word_embeddings=False)


def quickstart(nodes, *settings):
    recipe = load_recipe(RECIPES / "quickstart.yaml", settings)
    return make_plan(recipe, shape_of(recipe.model), "a test", nodes)
