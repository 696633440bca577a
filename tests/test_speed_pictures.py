"""The picture of score against time shows the planners that were timed."""

import pytest
from matplotlib.image import imread

from ractd_jax.reports.speed_pictures import draw_speeds, timed_planners


def group(mean, nfe, times, interval=None):
    return {"mean": mean, "nfe": nfe, "ms_per_plan": times, "interval_95": interval}


ENTRY = {
    "data": {"score_mean": 10.0},
    "planners": {
        "EDM, 79 steps": group(89.0, 158, [2.5, 2.7, None], (60.0, 118.0)),
        "EDM, 10 steps": group(79.0, 20, [0.5, 0.4, 0.6], (50.0, 108.0)),
        "CTD": group(92.0, 1, [0.08]),
        "BC": group(30.0, 1, [None, None]),
    },
}


def test_planners_are_grouped_by_family_and_sorted_by_time():
    lines = timed_planners(ENTRY)
    assert list(lines) == ["EDM", "CTD"], "BC was not timed"
    assert [point[1] for point in lines["EDM"]] == [20, 158]
    assert lines["EDM"][0] == (0.5, 20, 79.0, (50.0, 108.0))
    assert lines["EDM"][1][0] == pytest.approx(2.6)


def test_the_picture_has_a_panel_for_each_task(tmp_path):
    draw_speeds(tmp_path / "one.png", {"hopper": ENTRY})
    draw_speeds(tmp_path / "two.png", {"hopper": ENTRY, "walker2d": ENTRY})
    one, two = (imread(tmp_path / f"{name}.png") for name in ("one", "two"))
    assert two.shape[1] > one.shape[1] and one.std() > 0.01


def test_nothing_to_draw_is_an_error(tmp_path):
    entry = {**ENTRY, "planners": {"BC": ENTRY["planners"]["BC"]}}
    with pytest.raises(ValueError, match="expected planners with ms_per_plan"):
        draw_speeds(tmp_path / "none.png", {"hopper": entry})
    assert not (tmp_path / "none.png").exists()
