"""Networks that know both ends of a plan of states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax import losses, methods
from ractd_jax.diffusion import EdmNoise
from ractd_jax.networks import pin_ends
from ractd_jax.networks.conditioning import CONDITIONINGS
from ractd_jax.settings import Network
from tests.toys import (
    HORIZON,
    ctm_student,
    edm_teacher,
    ends_of,
    named_condition,
    random_params,
    state_dimensions,
)


def network(conditioning: str, stage: str, octaves: int = 0):
    dims = state_dimensions(conditioning)
    settings = Network(widths=(8,), embed_dim=8, fourier_octaves=octaves)
    unet = methods.make_network(settings, dims)
    return unet, random_params(unet, dims, stage)


def some_inputs(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, HORIZON, 4)).astype(np.float32)
    return x, rng.uniform(-1, 1, (3, 8)).astype(np.float32)


def without_condition_rows(params, height: int):
    """`params` whose FiLM layers read nothing behind their first `height` inputs."""

    def cut(layer):
        if "film" not in layer:
            return layer
        kernel = np.array(layer["film"]["kernel"])
        kernel[height:] = 0.0
        return layer | {"film": layer["film"] | {"kernel": kernel}}

    return {name: cut(layer) for name, layer in params.items()}


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_film_layers_read_the_condition_unless_it_is_in_the_ends_alone(conditioning):
    for stage, levels in (("teacher", 1), ("ddpm", 1), ("student", 2)):
        unet, params = network(conditioning, stage)
        heights = {layer["film"]["kernel"].shape[0]
                   for layer in params.values() if "film" in layer}  # fmt: skip
        assert heights == {8 * levels + (0 if conditioning == "ends" else 8)}
        assert len([1 for layer in params.values() if "film" in layer]) == len(
            unet.config.block_features
        )


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_how_the_condition_gets_into_the_network(conditioning):
    """By the FiLM layers, by the steps that it overwrites, or by both."""
    unet, params = network(conditioning, "teacher")
    blind = without_condition_rows(params, 8)
    x, condition = map(jnp.asarray, some_inputs())
    level = np.linspace(-900.0, 1000.0, 3, dtype=np.float32)
    other = condition[::-1]
    moved = pin_ends(x, other)

    @jax.jit
    def apply(params, x, condition):
        return unet.apply({"params": params}, x, level, condition)

    def differ(a, b):
        return not np.allclose(apply(*a), apply(*b), atol=1e-6)

    assert differ((params, x, condition), (params, x, other))
    assert differ((blind, x, condition), (blind, x, other)) == (conditioning != "film")
    # The given ends are read where nothing overwrites them.
    same_condition = (params, x, condition), (params, moved, condition)
    assert differ(*same_condition) == (conditioning == "film")


def test_fourier_features_leave_the_condition_where_it_enters():
    for conditioning in CONDITIONINGS:
        names = set(network(conditioning, "teacher", octaves=2)[1])
        assert ({"cond_in", "cond_out"} <= names) == (conditioning != "ends")


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_known_ends_come_out_as_they_went_in(conditioning):
    """Of the denoiser, the DDPM network, the clean estimate and the jump."""
    x, condition = map(jnp.asarray, some_inputs())
    sigma, stop = np.float32([0.03, 1.0, 70.0]), np.float32([0.02, 0.5, 30.0])
    dims = state_dimensions(conditioning)
    named = named_condition(condition, dims)
    unet, params = network(conditioning, "teacher")
    denoised = jax.jit(edm_teacher(unet, dims).denoise_fn(params))(x, sigma, named)
    squared = losses.distance("squared")
    clean_fn = methods.Ddpm(unet, dims, 3, squared).clean_fn(params)
    ddpm = jax.jit(clean_fn)(x, np.arange(3), named)
    unet, params = network(conditioning, "student")
    clean_fn = jax.jit(ctm_student(unet, dims).clean_fn(params))
    clean = clean_fn(x, sigma, stop, named)
    jump_fn = jax.jit(ctm_student(unet, dims).jump_fn(params))
    pinned = ctm_student(unet, dims).pin(x, named)
    jumped = jump_fn(pinned, sigma, stop, named)
    if conditioning == "film":
        np.testing.assert_array_equal(pinned, x)
        for plans in (denoised, ddpm, clean, jumped):
            assert (np.abs(ends_of(plans) - condition).max(axis=1) > 1e-3).all()
        return
    for plans in (pinned, denoised, ddpm, clean):
        np.testing.assert_array_equal(ends_of(plans), condition)
    # s/t c + (1 - s/t) c, rounded.
    np.testing.assert_allclose(ends_of(jumped), condition, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(pinned[:, 1:-1], x[:, 1:-1])


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_folded_jump_is_the_jump(conditioning):
    unet, params = network(conditioning, "student")
    method, edm = ctm_student(unet, state_dimensions(conditioning)), EdmNoise()
    x, condition = some_inputs()
    named = named_condition(condition, method.dims)
    for sigma in (80.0, 0.9):
        folded = method.fold(params, sigma)
        height = 0 if conditioning == "ends" else 8
        assert folded["films"]["kernel"].shape[0] == height
        found = jax.jit(method.folded_jump_fn(folded))(
            sigma * x, sigma, edm.sigma_min, named
        )
        full = jax.jit(method.jump_fn(params))
        expected = full(sigma * x, sigma, edm.sigma_min, named)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
