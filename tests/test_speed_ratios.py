"""Ratios inside one run, never absolute times: they hold on any quiet machine."""

import jax
import numpy as np
import pytest

from benchmarks import candidates, common, training
from ractd_jax import presets
from ractd_jax.evaluation.latency import one_core, plan_seconds
from ractd_jax.settings import from_mapping

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset():
    return common.made_up_dataset()


def test_one_step_is_a_hundred_times_faster_than_the_teacher(dataset):
    """79 Heun steps are 158 network evaluations, one after the other."""
    student = common.random_planner(common.MEDIUM, dataset)
    teacher = common.random_planner(common.MEDIUM, dataset, "teacher", 79)
    with one_core():
        one = np.median(plan_seconds(student, 200))
        many = np.median(plan_seconds(teacher, 10))
    assert many / one >= 100, f"{1e3 * many:.1f} ms and {1e3 * one:.3f} ms"


def test_candidates_of_one_step_cost_what_their_evaluations_do():
    """64 x 1 evaluations against 50 x 20 are 15.6 times fewer; a single plan 1,000."""
    config = presets.get_config("kitchen_partial:states").to_dict()
    config["diffusion"]["sigma_data"] = 0.5
    made_up = common.made_up_dataset(observation=30, action=9)
    rows = candidates.candidate_rows(from_mapping(config), made_up, 2_000)
    slow = rows["DDIM, 20 steps, 50 candidates"]["p50_ms"]
    assert slow / rows["1 step, 64 candidates"]["p50_ms"] >= 8
    assert slow / rows["1 step, 1 candidate"]["p50_ms"] >= 100


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the CPU's convolution")
def test_products_are_twice_as_fast_as_lax_conv(dataset):
    """2.9 times and more on the processors seen so far: there is room for others."""
    seconds = {
        conv: np.median(
            plan_seconds(common.random_planner(common.MEDIUM, dataset, conv=conv), 200)
        )
        for conv in ("matmul", "lax")
    }
    assert seconds["lax"] / seconds["matmul"] >= 2, seconds


def test_a_student_step_costs_no_more_than_its_evaluations(dataset, tmp_path):
    """No teacher or target work is done twice."""
    settings = common.settings_for(common.SMALL, 256)
    student = training.student_stage(settings, dataset, tmp_path / "teacher")
    teacher = common.stages.plan_stage("teacher", settings, dataset)
    ratio = common.step_seconds(student, 5) / common.step_seconds(teacher, 5)
    allowed = training.STUDENT_EVALUATIONS / training.TEACHER_EVALUATIONS
    assert ratio <= 1.25 * allowed, f"{ratio:.2f} against {allowed:.2f}"
