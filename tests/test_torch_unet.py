"""The PyTorch network that ours is timed against computes the same."""

import jax.numpy as jnp
import numpy as np
import pytest

from ractd_jax.interop.torch_weights import convert_state_dict
from ractd_jax.networks import TemporalUNet

torch = pytest.importorskip("torch", reason="a benchmark's peer, not a dependency")


@pytest.mark.parametrize(("stage", "levels"), [("teacher", 1), ("student", 2)])
def test_both_networks_compute_the_same(stage, levels):
    from benchmarks.torch_unet import TorchUNet, parameters_of

    torch.manual_seed(0)
    theirs = TorchUNet(3, 11, (16, 32, 64), 32, levels)
    config, params = convert_state_dict(parameters_of(theirs), stage)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 16, 3)).astype(np.float32)
    cond = rng.standard_normal((4, 11)).astype(np.float32)
    noise = np.float32([[-900, 0, 300, 1_000], [-1_000, -50, 200, 900]])[:levels]
    with torch.inference_mode():
        first, *stop = map(torch.tensor, noise)
        expected = theirs(torch.tensor(x), first, torch.tensor(cond), *stop).numpy()
    first, *stop = map(jnp.asarray, noise)
    found = TemporalUNet(config).apply({"params": params}, x, first, cond, *stop)
    np.testing.assert_allclose(found, expected, atol=2e-5)
