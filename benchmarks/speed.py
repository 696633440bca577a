"""Step times, plan latency and evaluation throughput, as one JSON.

  python -m benchmarks.speed --output=docs/results/speed.json

Random weights and made-up episodes: none of it changes what is timed, except the
length of the evaluation's episodes, so their policy is a trained --checkpoint if given.
"""

import json
import platform
import time

import jax
import numpy as np
from absl import app, flags

import ractd_jax
from ractd_jax import models
from ractd_jax.data.episodes import build_episodes
from ractd_jax.data.sources import OfflineDataset, make_dataset
from ractd_jax.evaluation.latency import plan_latency
from ractd_jax.evaluation.rollout import evaluate_planner
from ractd_jax.files import write_json
from ractd_jax.planning import Planner
from ractd_jax.settings import Environment, Settings, from_mapping
from ractd_jax.training import parallel, stages
from ractd_jax.training.loop import make_sample_fn
from ractd_jax.training.state import create_state, make_optimizer

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "JSON file to write.")
flags.DEFINE_string("checkpoint", None, "Student to evaluate, widths [32, 64, 128].")
flags.DEFINE_integer("calls", 5, "Timed calls of ten training steps.")

_STEPS = 10


def made_up_dataset() -> OfflineDataset:
    rng = np.random.default_rng(0)
    size = 20_000
    timeouts = np.arange(1, size + 1) % 500 == 0
    episodes = build_episodes(
        {
            "observations": rng.standard_normal((size, 11)),
            "actions": rng.uniform(-1, 1, (size, 3)),
            "rewards": rng.standard_normal(size),
            "terminals": np.zeros(size, bool),
            "timeouts": timeouts,
        },
        "benchmark",
    )
    return make_dataset("benchmark", episodes)


def settings_for(widths, batch_size) -> Settings:
    return from_mapping(
        {"network": {"widths": widths}, "teacher": {"batch_size": batch_size}}
    )


def teacher_step_seconds(widths, batch_size, dataset) -> dict:
    """Median seconds of one optimiser step over calls of a scan of ten."""
    settings = settings_for(widths, batch_size)
    stage = stages.teacher_stage(settings, dataset)
    optimizer = make_optimizer(stage.optimizer, stage.num_steps)
    call = parallel.make_train_call(
        steps_per_call=_STEPS,
        seed=0,
        sample_fn=make_sample_fn(
            stage, parallel.per_device_batch(batch_size, "teacher.batch_size")
        ),
        loss_fn=stage.loss_fn,
        optimizer=optimizer,
        settings=stage.optimizer,
        target_decay=0.0,
    )
    params = jax.jit(stage.init_params)(jax.random.key(0))
    state = parallel.replicate(create_state(params, optimizer, False))
    data = parallel.replicate(stage.data)
    begin = time.perf_counter()
    state, info = jax.block_until_ready(call(state, {}, data))
    first = time.perf_counter() - begin
    seconds = []
    for _ in range(FLAGS.calls):
        begin = time.perf_counter()
        state, info = jax.block_until_ready(call(state, {}, data))
        seconds.append((time.perf_counter() - begin) / _STEPS)
    return {"median": float(np.median(seconds)), "first_call": first}


def random_student(widths, dataset) -> Planner:
    settings = settings_for(widths, 256)
    dims = stages.dimensions(settings, dataset)
    unet = models.make_unet(settings.network, dims)
    params = jax.jit(lambda k: models.init_unet(unet, dims, k, "student"))(
        jax.random.key(0)
    )
    normalizers = dataset.observation_normalizer, dataset.action_normalizer
    return Planner(settings, dims, "student", params, *normalizers, num_steps=1)


def evaluation_throughput(planner: Planner) -> dict:
    """100 Hopper episodes; compiled by a first, short evaluation."""
    results = evaluate_planner(planner, Environment("Hopper-v5"), 100, seed=0)
    return {
        "env_steps_per_s": results.steps_per_second,
        "env_steps": int(results.lengths.sum()),
        "seconds": results.seconds,
    }


def main(_):
    dataset = made_up_dataset()
    small, medium = (32, 64, 128), (64, 128, 256)
    if FLAGS.checkpoint:
        student = ractd_jax.load_planner(FLAGS.checkpoint)
    else:
        student = random_student(small, dataset)
    found = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "devices": [str(device) for device in jax.local_devices()],
            "python": platform.python_version(),
            "jax": jax.__version__,
        },
        "teacher_step_s [64,128,256] batch 256": teacher_step_seconds(
            medium, 256, dataset
        ),
        "teacher_step_s [32,64,128] batch 128": teacher_step_seconds(
            small, 128, dataset
        ),
        "student_plan_s [64,128,256] batch 1": plan_latency(
            random_student(medium, dataset), 1000
        ),
        "student_plan_s [32,64,128] batch 1": plan_latency(
            random_student(small, dataset), 1000
        ),
        "evaluation [32,64,128], 100 Hopper episodes": evaluation_throughput(student),
    }
    print(json.dumps(found, indent=2))
    if FLAGS.output:
        write_json(FLAGS.output, found)


if __name__ == "__main__":
    app.run(main)
