"""The PyTorch MLP that ours is timed against, and its losses, compute the same."""

import jax
import numpy as np
import pytest

from ractd_jax import diffusion, losses, methods
from ractd_jax.diffusion.guidance import bind
from ractd_jax.dimensions import Dimensions
from ractd_jax.settings import from_mapping
from ractd_jax.student import PathPoints
from ractd_jax.student.targets import TimeTriple
from tests.toys import (
    ctm_student,
    edm_teacher,
    named_condition,
    random_params,
)

torch = pytest.importorskip("torch", reason="a benchmark's peer, not a dependency")

DIMS = Dimensions(observation=11, action=3, horizon=4, history=1)
SETTINGS = from_mapping(
    {
        "plan": {"horizon": 4},
        "network": {"kind": "mlp", "mlp_width": 16, "noise_embedding": "edm"},
        "diffusion": {"sigma_data": 0.6},
        "student": {"ctm_weight": 1.0, "dsm_weight": 2.0, "path_weight": 3.0},
    }
)
NOISE, BATCH = SETTINGS.diffusion, 8
EDM = methods.edm_noise(NOISE)


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


def pair(stage, seed=0):
    """(network, parameters, PyTorch's network with the same parameters)."""
    from benchmarks.torch_mlp import TorchMLP, copy_parameters

    network = methods.make_network(SETTINGS.network, DIMS)
    params = random_params(network, DIMS, stage, seed)
    theirs = TorchMLP(network.config, num_levels=2 if stage == "student" else 1)
    copy_parameters(params, theirs)
    copied = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert copied == sum(p.numel() for p in theirs.parameters())
    return network, params, theirs


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def named(cond):
    return named_condition(cond, DIMS)


def plans_and_conditions(rng, size=BATCH):
    return normal(rng, size, 4, 3), normal(rng, size, 11)


def levels(rng, size=BATCH):
    return np.exp(normal(rng, size))


def tensors(tree):
    return jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf)), tree)


@pytest.mark.parametrize(("stage", "levels"), [("teacher", 1), ("student", 2)])
def test_both_networks_compute_the_same(rng, stage, levels):
    network, params, theirs = pair(stage)
    x, cond = plans_and_conditions(rng, 4)
    first, *stop = np.float32([[-900, 0, 300, 1_000], [-1_000, -50, 200, 900]])[:levels]
    with torch.inference_mode():
        expected = theirs(*tensors((x, first, cond, *stop))).numpy()
    found = network.apply({"params": params}, x, first, cond, *stop)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_both_teachers_have_the_same_loss(rng):
    from benchmarks.torch_mlp import teacher_loss

    network, params, theirs = pair("teacher")
    plans, cond = plans_and_conditions(rng)
    sigma, noise = levels(rng), normal(rng, *plans.shape)
    found = losses.dsm_loss(
        bind(edm_teacher(network, DIMS, EDM).denoise_fn(params), named(cond)),
        plans,
        sigma,
        noise,
        distance_fn=losses.distance("squared"),
        edm=EDM,
    )
    expected = teacher_loss(theirs, *tensors((plans, cond, sigma, noise)), NOISE)
    np.testing.assert_allclose(found, expected.item(), rtol=1e-4)


def student_draws(rng, plans):
    t = rng.integers(0, 20, BATCH)
    s = rng.integers(t, 21)
    u = np.minimum(rng.integers(t, s + 1), t + 1)
    start, condition = plans_and_conditions(rng, 5)
    end, _ = plans_and_conditions(rng, 5)
    return losses.StudentDraws(
        triple=TimeTriple(t, u, s),
        ctm_noise=normal(rng, *plans.shape),
        dsm_sigma=levels(rng),
        dsm_noise=normal(rng, *plans.shape),
        init_noise=np.zeros_like(plans),
        path=PathPoints(start, levels(rng, 5), end, condition),
    )


def test_both_students_have_the_same_loss_and_gradient(rng):
    """The gradient of the kernel of the head: through every branch."""
    from benchmarks.torch_mlp import student_loss

    network, params, theirs = pair("student")
    _, teacher_params, their_teacher = pair("teacher", seed=1)
    plans, cond = plans_and_conditions(rng)
    draws = student_draws(rng, plans)
    grid, options, path = diffusion.bin_sigmas(20, EDM), SETTINGS.student, draws.path

    @jax.value_and_grad
    def ours(params):
        student = ctm_student(network, DIMS, EDM)
        frozen = student.jump_fn(jax.lax.stop_gradient(params))
        loss, _ = losses.student_loss(
            losses.StudentFunctions(
                student.clean_fn(params),
                lambda x, sigma, stop: frozen(x, sigma, stop, named(cond)),
                bind(student.teacher.denoise_fn(teacher_params), named(cond)),
            ),
            plans,
            named(cond),
            draws._replace(path=path._replace(condition=named(path.condition))),
            grid,
            losses.StudentCoefficients(
                options.ctm_weight,
                options.dsm_weight,
                path_weight=options.path_weight,
            ),
            losses.StudentForm(losses.distance("squared")),
            EDM,
        )
        return loss

    found, gradient = ours(params)
    expected = student_loss(
        theirs, their_teacher, *tensors((plans, cond, draws, grid)), SETTINGS
    )
    expected.backward()
    np.testing.assert_allclose(found, expected.item(), rtol=1e-4)
    kernel = np.asarray(gradient["head"]["kernel"])[0].T
    scale = np.abs(kernel).max()
    np.testing.assert_allclose(theirs.head.weight.grad, kernel, atol=1e-4 * scale)
