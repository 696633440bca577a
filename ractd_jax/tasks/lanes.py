"""highway-env's search for the closest lane, over all lanes at once.

highway-env looks at one lane after the other, for every vehicle at every simulated
step, and spends most of a roundabout's time on it.
"""

from __future__ import annotations

import numpy as np
from highway_env.road.lane import CircularLane, SineLane, StraightLane
from highway_env.road.road import RoadNetwork


def _wrapped(angles: np.ndarray) -> np.ndarray:
    """Angles in [-pi, pi)."""
    return (angles + np.pi) % (2 * np.pi) - np.pi


class LaneTable(RoadNetwork):
    """A road network of straight, sinusoidal and circular lanes, as arrays.

    Args:
      network: whose lanes it takes; lanes that are added later are not searched.
    """

    def __init__(self, network: RoadNetwork):
        super().__init__()
        self.graph = network.graph
        lanes = {
            (start, end, number): lane
            for start, ends in self.graph.items()
            for end, beside in ends.items()
            for number, lane in enumerate(beside)
        }
        is_arc = [type(lane) is CircularLane for lane in lanes.values()]
        kinds = {StraightLane, SineLane, CircularLane}
        if unknown := {type(lane) for lane in lanes.values()} - kinds:
            raise TypeError(f"lanes: expected {kinds}, found {unknown}")
        self._indexes = list(lanes)
        self._arcs, self._lines = (
            np.flatnonzero(is_arc),
            np.flatnonzero(~np.array(is_arc)),
        )
        every = list(lanes.values())
        self._lengths = np.array([lane.length for lane in every])
        lines, arcs = ([every[i] for i in rows] for rows in (self._lines, self._arcs))
        # Per straight lane; the waves of those that have none are flat.
        self._start = np.array([lane.start for lane in lines], float)
        self._along = np.array([lane.direction for lane in lines])
        self._across = np.array([lane.direction_lateral for lane in lines])
        self._heading = np.array([lane.heading for lane in lines])
        self._wave = np.array(
            [
                [getattr(lane, name, 0.0) for lane in lines]
                for name in ("amplitude", "pulsation", "phase")
            ]
        )
        self._centre = np.array([lane.center for lane in arcs], float)
        self._radius = np.array([lane.radius for lane in arcs], float)
        self._phase = np.array([lane.start_phase for lane in arcs], float)
        self._turn = np.array([lane.direction for lane in arcs], float)

    def get_closest_lane_index(
        self, position: np.ndarray, heading: float | None = None
    ) -> tuple[str, str, int]:
        """As highway-env's: by distance along and across, and by the angle.

        Args:
          position: [2] metres.
          heading: rad, or None to leave the angle out.
        """
        along, across, angles = (np.empty(len(self._indexes)) for _ in range(3))
        amplitude, pulsation, phase = self._wave
        offset = position - self._start
        x = (offset * self._along).sum(axis=1)
        wave = pulsation * x + phase
        along[self._lines] = x
        across[self._lines] = (offset * self._across).sum(axis=1)
        across[self._lines] -= amplitude * np.sin(wave)
        angles[self._lines] = self._heading + np.arctan(
            amplitude * pulsation * np.cos(wave)
        )
        offset = position - self._centre
        bearing = np.arctan2(offset[:, 1], offset[:, 0])
        turned = _wrapped(bearing - self._phase)
        along[self._arcs] = self._turn * turned * self._radius
        away = np.hypot(offset[:, 0], offset[:, 1])
        across[self._arcs] = self._turn * (self._radius - away)
        angles[self._arcs] = self._phase + turned + np.pi / 2 * self._turn
        distances = np.abs(across)
        distances += np.maximum(along - self._lengths, 0.0) + np.maximum(-along, 0.0)
        if heading is not None:
            distances += np.abs(_wrapped(heading - angles))
        return self._indexes[int(distances.argmin())]
