"""Random state dicts of the released networks' names and shapes."""

import numpy as np

# Names and shapes of the released networks.


def conv_block_shapes(name, rows, columns, taps):
    return {
        f"{name}.block.0.weight": (columns, rows, taps),
        f"{name}.block.0.bias": (columns,),
        f"{name}.block.1.weight": (columns,),
        f"{name}.block.1.bias": (columns,),
    }


def layer_shapes(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def planner_shapes(stage, widths, embed, plan_dim, cond_dim, taps=5):
    """Released name -> shape of every array of a teacher or student."""
    film = {"teacher": 1, "student": 2}[stage] * embed + cond_dim

    def residual(name, rows, columns):
        shapes = conv_block_shapes(f"{name}.blocks.0", rows, columns, taps)
        shapes |= conv_block_shapes(f"{name}.blocks.1", columns, columns, taps)
        shapes |= layer_shapes(f"{name}.cond_encoder.1", 2 * columns, film)
        if rows != columns:
            shapes |= layer_shapes(f"{name}.residual_conv", columns, rows, 1)
        return shapes

    shapes = layer_shapes("diffusion_step_encoder.1", 4 * embed, embed)
    shapes |= layer_shapes("diffusion_step_encoder.3", embed, 4 * embed)
    steps = [(plan_dim, widths[0]), *zip(widths, widths[1:], strict=False)]
    for i, (rows, width) in enumerate(steps):
        shapes |= residual(f"down_modules.{i}.0", rows, width)
        shapes |= residual(f"down_modules.{i}.1", width, width)
        if i < len(widths) - 1:
            shapes |= layer_shapes(f"down_modules.{i}.2.conv", width, width, 3)
    for i in range(2):
        shapes |= residual(f"mid_modules.{i}", widths[-1], widths[-1])
    for i, (width, rows) in enumerate(reversed(steps[1:])):
        shapes |= residual(f"up_modules.{i}.0", 2 * rows, width)
        shapes |= residual(f"up_modules.{i}.1", width, width)
        shapes |= layer_shapes(f"up_modules.{i}.2.conv", width, width, 4)
    shapes |= conv_block_shapes("final_conv.0", widths[0], widths[0], taps)
    return shapes | layer_shapes("final_conv.1", plan_dim, widths[0], 1)


def reward_shapes(widths, rows):
    """Released name -> shape of every array of a reward model of `rows` inputs."""
    shapes = {}
    for i, width in enumerate(widths):
        for j in range(2):
            shapes |= layer_shapes(f"blocks.{i}.{j}.blocks.0", width, rows)
            shapes |= layer_shapes(f"blocks.{i}.{j}.blocks.2", width, width)
            if rows != width:
                name = f"blocks.{i}.{j}.residual_linear"
                shapes |= layer_shapes(name, width, rows)
            rows = width
    return shapes | layer_shapes("final_linear", 1, rows)


def random_state(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0.0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


# The same without those vectors.


def small_state(stage, widths=(8, 16), embed=8, plan_dim=3, cond_dim=5, taps=3):
    if stage == "reward":
        return random_state(reward_shapes(widths, plan_dim + cond_dim))
    return random_state(planner_shapes(stage, widths, embed, plan_dim, cond_dim, taps))
