"""Small environments of many kinds, wrappers of all kinds, and recordings in them."""

import warnings

import gymnasium
import minari
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.utils import RecordConstructorArgs

from ractd_jax.data.minari_store import local_root


class Crane(gymnasium.Env):
    """A load that actions push about, seen as an array or a Dict; pays for height.

    Args:
      shape: of its position.
      push: shape of the actions.
      strength: largest size of an action.
      parts: show a Dict of position and speed.
      falls_at: an episode ends when the load is further away.
      stops_after: the environment cuts its episodes off itself; 0 for never.
      breaks: (kind, step, seeds): raises, or gives nan, at that step of those resets.
      bounded: refuses actions beyond the bounds.
      render_mode: of Gymnasium.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(
        self,
        shape=(3,),
        push=(2,),
        strength=1.0,
        parts=False,
        falls_at=0.0,
        stops_after=0,
        breaks=None,
        bounded=False,
        render_mode=None,
    ):
        self.render_mode = render_mode
        self._shape, self._parts = tuple(shape), parts
        self._falls_at, self._stops_after = falls_at, stops_after
        self._breaks, self._bounded = breaks, bounded
        space = Box(-np.inf, np.inf, self._shape, np.float64)
        self.observation_space = (
            Dict({"speed": space, "place": space}) if parts else space
        )
        self.action_space = Box(-strength, strength, tuple(push), np.float32)

    def _observation(self):
        if self._parts:
            return {"speed": self._speed.copy(), "place": self._place.copy()}
        return self._place.copy()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._seed = seed
        self._place = self.np_random.normal(size=self._shape)
        self._speed, self._steps = np.zeros(self._shape), 0
        return self._observation(), {}

    def step(self, action):
        action = np.asarray(action)
        assert action.shape == self.action_space.shape
        if self._bounded:
            assert self.action_space.contains(action), "beyond what the motor takes"
        self._steps += 1
        self._speed = 0.5 * self._speed + 0.1 * np.resize(action, self._shape)
        self._place = self._place + self._speed
        reward = float(self._place.sum() - 0.1 * np.square(action).sum())
        if self._breaks:
            reward = self._broken(reward)
        fallen = bool(self._falls_at and np.abs(self._place).max() > self._falls_at)
        cut = bool(self._stops_after and self._steps >= self._stops_after)
        return self._observation(), reward, fallen, cut, {}

    def render(self):
        """A bar of as many columns as steps were made."""
        picture = np.zeros((32, 48, 3), np.uint8)
        picture[:, : 4 * self._steps] = 255
        return picture

    def _broken(self, reward):
        kind, step, seeds = self._breaks
        if self._steps != step or self._seed not in seeds:
            return reward
        if kind == "raises":
            raise RuntimeError("the rope is\ntorn")
        if kind == "nan":
            self._place = np.full(self._shape, np.nan)
        return np.array([reward]) if kind == "array" else reward


class Dearer(gymnasium.RewardWrapper, RecordConstructorArgs):
    """Pays more; its arguments are recorded."""

    def __init__(self, env, factor):
        RecordConstructorArgs.__init__(self, factor=factor)
        super().__init__(env)
        self._factor = factor

    def reward(self, reward):
        return self._factor * reward


class Doubled(gymnasium.RewardWrapper):
    """Pays twice, takes no arguments, and records none."""

    def reward(self, reward):
        return 2.0 * reward


class Tapped(gymnasium.Wrapper):
    """Counts steps, changes nothing; its argument is not recorded."""

    def __init__(self, env, name="tap"):
        super().__init__(env)
        self.name, self.count = name, 0

    def step(self, action):
        self.count += 1
        return super().step(action)


class Shifted(gymnasium.ObservationWrapper):
    """Shows everything moved by an argument that is not recorded."""

    def __init__(self, env, by=1.0):
        super().__init__(env)
        self._by = by

    def observation(self, observation):
        if isinstance(observation, dict):
            return {key: value + self._by for key, value in observation.items()}
        return observation + self._by


class Bonus(gymnasium.RewardWrapper):
    """Pays more, by an argument that is not recorded."""

    def __init__(self, env, more=0.5):
        super().__init__(env)
        self._more = more

    def reward(self, reward):
        return reward + self._more


def record(
    env: gymnasium.Env, dataset_id: str, root, episodes: int, length: int, seed: int = 0
) -> None:
    """Records random actions; an episode that does not end is cut after `length`."""
    with warnings.catch_warnings(), local_root(str(root)):
        warnings.simplefilter("ignore")
        collector = minari.DataCollector(env)
        collector.action_space.seed(seed)
        for episode in range(episodes):
            collector.reset(seed=seed + episode)
            for _ in range(length):
                _, _, ended, cut, _ = collector.step(collector.action_space.sample())
                if ended or cut:
                    break
        collector.create_dataset(dataset_id, algorithm_name="random")
        collector.close()
