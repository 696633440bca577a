"""highway-env's roundabout with vehicles of two kinds, and their kinds in sight.

Everything but the vehicles and the observation is highway-env's roundabout-v0:
roads, own car, actions, rewards and endings.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from ractd_jax.errors import ConfigError
from ractd_jax.tasks.roundabout import IDS, NUM_FEATURES, NUM_VEHICLES

try:
    from highway_env.envs.roundabout_env import RoundaboutEnv
    from highway_env.vehicle.behavior import IDMVehicle

    from ractd_jax.tasks.lanes import LaneTable
except ImportError as error:
    raise ConfigError(
        "environment.id: expected highway-env (pip install ractd_jax[roundabout]) for "
        f"a roundabout, found {type(error).__name__}: {error}"
    ) from None

_CAR_SPEED, _BICYCLE_SPEED = 16.0, 4.0  # m/s
_NOISE = {"car": (2.0, 2.0), "bicycle": (2.0, 0.5)}  # m, m/s
_DESTINATIONS = ("exr", "sxr", "nxr")
# Of each vehicle: the lanes that it passes until it may meet the own car, and where
# on the first of them a car starts, in metres.
_STARTS = (
    ((("we", "sx", 1), ("sx", "se", 1)), 5.0),
    ((("we", "sx", 0), ("sx", "se", 0)), 20.0),
    ((("we", "sx", 0), ("sx", "se", 0)), -20.0),
    ((("eer", "ees", 0), ("ees", "ee", 0)), 50.0),
)
_POSITION, _SPEED = 100.0, 15.0  # m and m/s, of an observation's 1


class Bicycle(IDMVehicle):
    """A short, slow vehicle that accelerates gently."""

    LENGTH = 2.0
    WIDTH = 1.0
    ACC_MAX = 2.0
    COMFORT_ACC_MAX = 1.0
    DISTANCE_WANTED = 5.0 + LENGTH


def register_roundabouts() -> None:
    """Makes the ids of :data:`IDS` known to Gymnasium; once is enough."""
    for traffic, environment_id in IDS.items():
        if environment_id not in gymnasium.registry:
            gymnasium.register(
                environment_id,
                entry_point=f"{__name__}:MixedRoundabout",
                kwargs={"traffic": traffic},
            )


class MixedRoundabout(RoundaboutEnv):
    """A roundabout of 11 s; observations [30], actions 0 .. 4, once a second.

    Args:
      traffic: one of :data:`ractd_jax.tasks.roundabout.TRAFFIC`; ``one_kind`` has four
        cars or four bicycles, ``mixed`` at least one of each.
      render_mode: ``rgb_array``, or None for no pictures.
    """

    def __init__(self, traffic: str, render_mode: str | None = None):
        self._traffic = traffic
        super().__init__(render_mode=render_mode)

    def define_spaces(self) -> None:
        super().define_spaces()
        self.observation_type = _Rows(self)
        self.observation_space = self.observation_type.space()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new scene.

        Args:
          seed: of all scenes from here on.
          options: ``bicycles``, four truth values, for this scene's vehicles.

        Raises:
          ConfigError: another option, or other values.
        """
        options = dict(options or {})
        self._chosen = options.pop("bicycles", None)
        if options or (self._chosen is not None and len(self._chosen) != len(_STARTS)):
            raise ConfigError(
                f"options: expected 'bicycles', {len(_STARTS)} truth values, found "
                f"{options or self._chosen}"
            )
        return super().reset(seed=seed)

    def _make_road(self) -> None:
        super()._make_road()
        self.road.network = LaneTable(self.road.network)

    def _make_vehicles(self) -> None:
        """The own car as it is in highway-env, and four others of the drawn kinds."""
        network, random = self.road.network, self.np_random
        lane = network.get_lane(("ser", "ses", 0))
        own = self.action_type.vehicle_class(
            self.road, lane.position(125.0, 0.0), lane.heading_at(140.0), speed=8.0
        )
        own.plan_route_to("nxs")
        self.road.vehicles.append(own)
        self.vehicle = own
        for (lanes, start), bicycle in zip(_STARTS, self._draw_kinds(), strict=True):
            index, longitudinal = lanes[0], start
            kind, usual = IDMVehicle, _CAR_SPEED
            if bicycle:
                kind, usual = Bicycle, _BICYCLE_SPEED
                index, longitudinal = self._place_bicycle(lanes, start)
            spread, speed_spread = _NOISE["bicycle" if bicycle else "car"]
            vehicle = kind.make_on_lane(
                self.road,
                index,
                longitudinal=longitudinal + spread * random.normal(),
                speed=usual + speed_spread * random.normal(),
            )
            vehicle.plan_route_to(random.choice(_DESTINATIONS))
            vehicle.randomize_behavior()
            self.road.vehicles.append(vehicle)

    def _draw_kinds(self) -> list[bool]:
        """Which of the four vehicles are bicycles."""
        if self._chosen is not None:
            return [bool(bicycle) for bicycle in self._chosen]
        number = len(_STARTS)
        if self._traffic in ("cars", "bicycles"):
            return [self._traffic == "bicycles"] * number
        if self._traffic == "one_kind":
            return [bool(self.np_random.integers(2))] * number
        while True:
            kinds = self.np_random.integers(2, size=number).astype(bool).tolist()
            if any(kinds) and not all(kinds):
                return kinds

    def _place_bicycle(self, lanes, start: float) -> tuple[tuple, float]:
        """(lane, metres along it) from where it takes as long as a car from `start`.

        As long until the end of the last lane, where the own car may be met.
        """
        lengths = [self.road.network.get_lane(lane).length for lane in lanes]
        left = (sum(lengths) - start) * _BICYCLE_SPEED / _CAR_SPEED
        for lane, length in zip(reversed(lanes), reversed(lengths), strict=True):
            if left <= length or lane == lanes[0]:
                return lane, length - left
            left -= length
        raise AssertionError("no lanes")


class _Rows:
    """What highway-env's Kinematics shows, with a column for the kind."""

    def __init__(self, env: MixedRoundabout):
        self._env = env

    def space(self) -> Box:
        size = NUM_VEHICLES * NUM_FEATURES
        return Box(-1.0, 1.0, (size,), np.float32)

    def observe(self) -> np.ndarray:
        """[30] float32, the own vehicle first, then the nearest by lane distance."""
        env, own = self._env, self._env.vehicle
        others = env.road.close_vehicles_to(
            own, env.PERCEPTION_DISTANCE, count=NUM_VEHICLES - 1, see_behind=False
        )
        rows = np.zeros((NUM_VEHICLES, NUM_FEATURES), np.float32)
        for row, vehicle in zip(rows, [own, *others], strict=False):
            place, speed = vehicle.position / _POSITION, vehicle.velocity / _SPEED
            row[:] = 1.0, *place, *speed, isinstance(vehicle, Bicycle)
        return rows.clip(-1.0, 1.0).ravel()
