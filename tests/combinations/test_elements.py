"""Elements as tokens: attention, concatenation, blanks, guidance, distillation."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax import methods
from ractd_jax.errors import ConfigError
from ractd_jax.methods import CtmStudent, Ddpm, EdmTeacher, base
from ractd_jax.networks import fold_levels
from ractd_jax.networks.elements import CONDITIONINGS, ElementsConfig, ElementTokens
from ractd_jax.presets.combinations import (
    get_roundabout,
    get_smax,
    get_waypoint_maze,
)
from ractd_jax.settings import Network, from_mapping
from ractd_jax.training.stages import dimensions
from tests.combinations.conftest import (
    WAYPOINTS,
    waypoint_dimensions,
    waypoint_network,
)
from tests.state_plans.conftest import state_settings
from tests.toys import HORIZON, flat_condition, random_like

DIMS = waypoint_dimensions()


def some_condition(known: float = 1.0, seed: int = 0, count: int = 4) -> dict:
    rng = np.random.default_rng(seed)
    shapes = DIMS.condition_shapes
    found = {
        name: jnp.asarray(rng.uniform(-1, 1, (count, *shape)), jnp.float32)
        for name, shape in shapes.items()
    }
    return found | {"known": jnp.full((count, 1), known)}


def some_plans(seed: int = 1, count: int = 4):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(count, HORIZON, 4)), jnp.float32)


def settings_of(how: str = "attention", **sections):
    network = {"elements": how, "element_octaves": 2, "widths": (8, 16)}
    plan = {"elements": "waypoints", "conditioning": "both"}
    return state_settings(
        network=network | sections.pop("network", {}),
        plan=plan | sections.pop("plan", {}),
        **sections,
    )


def weights_of(method):
    return random_like(jax.eval_shape(method.init, jax.random.key(0)))


# --- tokens


def test_a_token_is_the_features_of_its_element_and_its_slot():
    config = ElementsConfig(WAYPOINTS, 2, octaves=2)
    assert config.flat_size == 7 and config.token_size == 10
    rng = np.random.default_rng(0)
    flat = np.concatenate([rng.uniform(-1, 1, (2, 6)), np.ones((2, 1))], axis=1)
    flat = jnp.asarray(flat, jnp.float32)
    module = ElementTokens(config)
    params = module.init(jax.random.key(0), flat)["params"]
    tokens = module.apply({"params": params}, flat) - params["slots"]
    assert tokens.shape == (2, WAYPOINTS, 10)
    elements = np.asarray(flat[:, :6]).reshape(2, WAYPOINTS, 2)
    np.testing.assert_allclose(tokens[..., :2], elements, rtol=1e-5)
    waves = np.sin(elements[..., :1] * np.pi / 2 * [1, 2])
    np.testing.assert_allclose(tokens[..., 2:4], waves, atol=1e-5)
    blank = module.apply({"params": params}, flat.at[:, 6].set(0.0))
    expected = params["blank"] + params["slots"]
    np.testing.assert_allclose(blank, np.stack([expected] * 2), rtol=1e-6)


def test_attention_stands_behind_every_block_but_the_middle_ones():
    """Two of each level on the way down, two on each way up: 10 for three levels."""
    unet, params = waypoint_network("attention", widths=(8, 16, 32))
    found = sorted(name for name in params if name.endswith("_attention"))
    blocks = [name for name in unet.config.block_features if "middle" not in name]
    assert found == sorted(f"{name}_attention" for name in blocks) and len(found) == 10


@pytest.mark.slow
def test_a_network_with_attention_begins_as_the_one_without():
    """The products behind the attention begin at zero."""
    unet, _ = waypoint_network("attention")
    condition = flat_condition(some_condition(), DIMS)
    x, level = some_plans(), jnp.zeros(4)
    params = unet.init(jax.random.key(0), x, level, condition)["params"]
    plain = methods.make_network(
        Network(widths=(8, 16), embed_dim=8), dataclasses.replace(DIMS, elements=0)
    )
    own = {
        name: layer
        for name, layer in params.items()
        if "attention" not in name and name != "element_tokens"
    }
    ends = condition[:, : 2 * DIMS.observation]
    np.testing.assert_allclose(
        unet.apply({"params": params}, x, level, condition),
        plain.apply({"params": own}, x, level, ends),
        atol=1e-6,
    )


@pytest.mark.parametrize("how", CONDITIONINGS)
def test_plans_depend_on_each_element_unless_they_are_left_out(how):
    unet, params = waypoint_network(how)
    apply = jax.jit(lambda flat: unet.apply({"params": params}, x, level, flat))
    x, level = some_plans(), jnp.zeros(4)
    for known in (1.0, 0.0):
        condition = some_condition(known)
        before = apply(flat_condition(condition, DIMS))
        for slot in range(WAYPOINTS):
            moved = condition["elements"].at[:, slot].add(0.3)
            after = apply(flat_condition(condition | {"elements": moved}, DIMS))
            assert np.allclose(before, after, atol=1e-6) == (known == 0.0)
        ends = condition | {"start": condition["start"] + 0.3}
        assert not np.allclose(before, apply(flat_condition(ends, DIMS)), atol=1e-3)


@pytest.mark.slow
def test_slots_tell_the_order():
    """Attention alone would see a set."""
    unet, params = waypoint_network("attention")
    condition = some_condition()
    turned = condition | {"elements": condition["elements"][:, ::-1]}
    x, level = some_plans(), jnp.zeros(4)
    found = [
        unet.apply({"params": params}, x, level, flat_condition(each, DIMS))
        for each in (condition, turned)
    ]
    assert not np.allclose(*found, atol=1e-4)


@pytest.mark.parametrize("how", CONDITIONINGS)
def test_levels_are_folded_beside_elements(how):
    unet, params = waypoint_network(how, "student")
    condition, x = flat_condition(some_condition(), DIMS), some_plans()
    levels = [1_000.0, -900.0]
    full = unet.apply(
        {"params": params}, x, jnp.full(4, levels[0]), condition, jnp.full(4, levels[1])
    )
    folded = fold_levels(params, unet.config, levels)
    found = unet.apply({"params": folded}, x, None, condition)
    np.testing.assert_allclose(found, full, rtol=1e-4, atol=1e-4)


def waypoints(maze: str):
    """(settings, states of 4 numbers, no actions)."""
    pytest.importorskip("gymnasium_robotics")
    return get_waypoint_maze(maze, "cpu"), 4, 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: waypoints("medium"),
        lambda: waypoints("large"),
        lambda: (get_smax(3, "one_kind", "cpu"), 57, 8),
        lambda: (get_roundabout("cpu"), 30, 5),
    ],
    ids=["medium", "large", "smax", "roundabout"],
)
def test_attention_and_concatenation_have_as_many_parameters(make):
    """Within 1%, so that the table compares the paths and not their sizes."""
    config, observation, action = make()
    attention = from_mapping(config.to_dict())
    concat = from_mapping({"network": {"elements": "concat"}}, attention)
    episodes = SimpleNamespace(
        observations=np.zeros((1, observation)), actions=np.zeros((1, action))
    )
    dims = dimensions(attention, SimpleNamespace(episodes=episodes))
    sizes = []
    for settings in (attention, concat):
        method = EdmTeacher.from_settings(settings, dims)
        shapes = jax.eval_shape(method.init, jax.random.key(0))
        sizes.append(sum(leaf.size for leaf in jax.tree.leaves(shapes)))
    assert abs(sizes[0] / sizes[1] - 1) < 0.01, sizes


def test_networks_that_read_no_elements_say_so():
    mlp = Network(kind="mlp")
    with pytest.raises(ConfigError, match=r"config\.plan\.elements: expected 'none'"):
        methods.make_network(mlp, waypoint_dimensions("film"))
    transformer = Network(kind="transformer")
    with pytest.raises(ConfigError, match=r"config\.network\.elements.*'concat'"):
        methods.make_network(transformer, DIMS)
    methods.make_network(dataclasses.replace(transformer, elements="concat"), DIMS)


# --- guidance


@pytest.mark.parametrize("make", [EdmTeacher, Ddpm])
def test_guidance_goes_from_the_blank_plans_to_the_condition_and_beyond(make):
    """Affine in the weight: 0 leaves the elements out, 1 is the model itself."""
    method = make.from_settings(settings_of(), DIMS)
    params = weights_of(method)
    plain = method.denoise_fn if make is EdmTeacher else method.clean_fn
    x, level = some_plans(), jnp.full(4, 2.0)
    condition = some_condition()

    def found(weight):
        transforms = method.guidance_by_elements(weight)
        guided = method.guided(plain(params), transforms)
        return np.asarray(guided(x, level, condition))

    assert method.guidance_by_elements(1.0) == ()
    blank, own = found(0.0), found(1.0)
    np.testing.assert_allclose(
        blank, plain(params)(x, level, some_condition(known=0.0)), atol=1e-5
    )
    assert not np.allclose(blank, own, atol=1e-3)
    np.testing.assert_allclose(found(2.3), blank + 2.3 * (own - blank), atol=1e-4)
    # What is known of the plan stays where it is.
    np.testing.assert_allclose(found(2.3)[:, 0], condition["start"], atol=1e-5)


def test_a_student_distils_the_guided_teacher():
    settings = settings_of(student={"guidance_weight": 1.7})
    student = CtmStudent.from_settings(settings, DIMS)
    params = weights_of(student.teacher)
    x, sigma, condition = some_plans(), jnp.full(4, 2.0), some_condition()
    plain = student.teacher.denoise_fn(params)
    blank = plain(x, sigma, some_condition(known=0.0))
    own = plain(x, sigma, condition)
    found = student.teacher_fn(params)(x, sigma, condition)
    np.testing.assert_allclose(found, blank + 1.7 * (own - blank), atol=1e-4)


def test_what_is_left_out_does_not_depend_on_the_noise():
    """No stream of a step's key is drawn from twice."""
    method = EdmTeacher.from_settings(settings_of(), DIMS)
    draws = method.draw(jax.random.key(0), 2_000)
    first = np.asarray(draws.noise).reshape(-1)[:2_000]
    out = draws.known[:, 0] == 0.0
    assert out.sum() > 100
    assert abs(first[out].mean() - first[~out].mean()) < 0.3
    keys = jax.random.key_data(jax.random.split(jax.random.key(0), 64))
    own = jax.random.fold_in(jax.random.key(0), base._KNOWN_STREAM)
    assert not (keys == jax.random.key_data(own)).all(axis=1).any()


@pytest.mark.parametrize(
    ("plan", "section"),
    [({"elements": "none"}, "student"), ({"elements_dropout": 0.0}, "evaluation")],
)
def test_guidance_that_was_not_learned_is_refused(dataset, plan, section):
    settings = settings_of(plan=plan, **{section: {"guidance_weight": 1.3}})
    with pytest.raises(ConfigError, match=rf"config\.{section}\.guidance_weight: "):
        dimensions(settings, dataset)


@pytest.mark.parametrize("make", [EdmTeacher, Ddpm])
def test_a_training_leaves_elements_out_as_often_as_it_should(make):
    settings = settings_of(plan={"elements_dropout": 0.25})
    method = make.from_settings(settings, DIMS)
    draws = method.draw(jax.random.key(0), 4_000)
    assert draws.known.shape == (4_000, 1)
    assert set(np.unique(draws.known)) == {0.0, 1.0}
    assert abs(float(draws.known.mean()) - 0.75) < 0.03
    without = make.from_settings(
        state_settings(), dataclasses.replace(DIMS, elements=0)
    )
    assert without.draw(jax.random.key(0), 4).known is None
    # The other draws do not depend on it.
    for name in ("noise", "sigma", "times"):
        if hasattr(draws, name):
            plain = without.draw(jax.random.key(0), 4_000)
            np.testing.assert_array_equal(getattr(plain, name), getattr(draws, name))
