"""Pictures of bands: bars where the wavelengths are, nothing hidden, and what has no place said."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.pipelines.plot_sensors import BROAD, draw, plot_sensors
from dofa_cli.sensors.registry import built_in
from dofa_cli.sensors.schema import Band, Kind, Product, Quantity, Sensor, Status
from dofa_cli.sensors.showing.chart import LONGEST_UM, NARROWEST_AXIS, SHORTEST_UM, chart, place, row
from dofa_cli.sensors.showing.summary import shipped

BLOCKS = re.compile("[█▓]")
CENTRES = st.floats(0.39, 2.5)
WIDTHS = st.one_of(st.none(), st.floats(0.001, 0.3))


def camera(*bands: tuple[float, float | None], kind: Kind = Kind.OPTICAL, name: str = "camera") -> Sensor:
    """Make a sensor of centres and widths in µm."""
    return Sensor(
        id=name,
        name="A camera",
        kind=kind,
        status=Status.GIVEN,
        products=(Product(id="dn", quantity=Quantity.DN),),
        bands=tuple(Band(id=f"b{n}", center_um=c, fwhm_um=w) for n, (c, w) in enumerate(bands, 1)),
    )


RADAR = Sensor(
    id="radar",
    name="A radar",
    kind=Kind.SAR,
    status=Status.GIVEN,
    products=(Product(id="dn", quantity=Quantity.DN),),
    bands=(Band(id="VV", polarisation="VV", frequency_ghz=9.6), Band(id="VH", polarisation="VH", frequency_ghz=1.25)),
)


def texts(figure) -> list[str]:
    (axes,) = figure.axes
    return [text.get_text() for text in axes.texts]


class TestRow:
    def test_bars_reach_half_a_width_to_either_side(self):
        (bar,) = row(camera((0.6, 0.1))).bars
        assert (bar.low_um, bar.high_um) == (pytest.approx(0.55), pytest.approx(0.65))

    def test_bars_end_with_the_axis(self):
        first, last = row(camera((0.4, 0.2), (2.55, 0.4))).bars
        assert (first.low_um, last.high_um) == (SHORTEST_UM, LONGEST_UM)

    def test_a_wide_band_over_others_gets_a_line_of_its_own(self):
        one = row(camera((0.65, 0.4), (0.48, 0.06), (0.56, 0.06), (0.66, 0.04)))
        assert {bar.band.id: bar.lane for bar in one.bars} == {"b2": 0, "b3": 0, "b4": 0, "b1": 1}

    def test_flanks_may_touch(self):
        assert row(camera((0.5, 0.1), (0.59, 0.1))).lanes == 1

    def test_imaging_spectrometers_have_one_line(self):
        assert row(camera((0.5, 0.1), (0.51, 0.1), (0.52, 0.1), kind=Kind.HYPERSPECTRAL)).lanes == 1

    @given(st.lists(st.tuples(CENTRES, WIDTHS), min_size=1, max_size=12))
    def test_no_bar_is_lost_and_none_hides_in_another(self, bands):
        one = row(camera(*bands))
        assert sorted(bar.band.id for bar in one.bars) == sorted(band.id for band in one.sensor.bands)
        for lane in range(one.lanes):
            bars = [bar for bar in one.bars if bar.lane == lane]
            assert bars
            for left, right in pairwise(bars):
                assert left.centre_um <= right.centre_um
                assert not (right.low_um <= left.centre_um <= right.high_um)
                assert not (left.low_um <= right.centre_um <= left.high_um)

    def test_what_lies_off_the_axis_is_listed(self):
        assert row(camera((0.66, 0.1), (10.9, 0.6), (0.31, 0.01))).aside == "not shown: b2 10.9, b3 0.31 µm"

    def test_a_long_list_is_cut_short(self):
        one = row(camera(*[(4.0 + n, None) for n in range(9)]))
        assert one.aside.endswith("b6 9 µm and 3 more")
        assert one.bars == ()

    def test_radar_has_no_place(self):
        assert row(RADAR).aside == "radar at 1.25, 9.6 GHz: no place on this axis"


class TestChart:
    def test_bars_stand_under_their_tick(self):
        labels, ticks, line = chart([camera((0.6, None), (1.6, None))], 110).splitlines()
        marks = [hit.start() for hit in BLOCKS.finditer(line)]
        assert [ticks[at] for at in marks] == ["┴", "┴"]
        assert [labels[at - 1 : at + 2] for at in marks] == ["0.6", "1.6"]

    def test_neighbours_that_touch_can_be_told_apart(self):
        line = chart([camera((0.5, 0.1), (0.6, 0.1))], 100).splitlines()[2]
        assert re.search("█▓", line)

    def test_one_row_each_with_the_id_in_front(self):
        lines = chart(
            [camera((0.6, 0.1), name="one"), RADAR, camera((0.6, 0.1), (0.61, 0.3), name="two")], 100
        ).splitlines()
        assert [line.split(" ")[0] for line in lines[2:]] == ["one", "radar", "two", ""]

    @pytest.mark.parametrize("width", [10, 40, 60, 80, 100, 200])
    def test_it_fits_the_terminal_if_that_is_wide_enough(self, width):
        sensors = [built_in("sentinel2"), built_in("enmap")]
        bars = [line for line in chart(sensors, width).splitlines() if BLOCKS.search(line) or "µm" in line]
        assert max(map(len, bars)) <= max(width, NARROWEST_AXIS + len("sentinel2") + 6)

    def test_every_built_in_sensor_can_be_drawn(self):
        for sensor in (one for folder in shipped().values() for one in folder):
            assert re.search(f"^{re.escape(sensor.id)}  .*(█|▓|not shown|radar)", chart([sensor], 100), re.MULTILINE)


class TestFigure:
    def test_bars_stand_at_their_wavelengths(self):
        (axes,) = draw([row(camera((0.5, 0.1), (1.0, 0.2)))]).axes
        spans = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches[-2:]]
        assert spans == [pytest.approx((0.45, 0.55)), pytest.approx((0.9, 1.1))]

    def test_a_band_of_unknown_width_can_be_seen(self):
        (axes,) = draw([row(camera((0.5, None)))]).axes
        bar = axes.patches[-1]
        left, right = place(bar.get_x()), place(bar.get_x() + bar.get_width())
        assert (left + right) / 2 == pytest.approx(place(0.5), abs=1e-4)
        assert 0.001 < right - left < 0.01

    @pytest.mark.parametrize(("centre", "strongest"), [(0.46, 2), (0.54, 1), (0.66, 0)], ids=["blue", "green", "red"])
    def test_visible_bands_have_their_colour(self, centre, strongest):
        (axes,) = draw([row(camera((centre, 0.03)))]).axes
        colour = axes.patches[-1].get_facecolor()[:3]
        assert max(colour) == colour[strongest]

    def test_a_panchromatic_band_has_none(self):
        (axes,) = draw([row(camera((0.65, 0.4)))]).axes
        assert axes.patches[-1].get_facecolor()[:3] == BROAD

    def test_names_of_sensors_and_bands_stand_there(self):
        shown = texts(draw([row(camera((0.5, 0.1), (0.66, 0.04))), row(RADAR)]))
        assert {"camera", "A camera", "2 bands", "b1", "b2", "radar", row(RADAR).aside} <= set(shown)

    def test_names_do_not_cover_each_other(self):
        figure = draw([row(built_in(name)) for name in ("modis", "sentinel2", "sentinel3-olci", "superdove")])
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        pairs = [(one, two) for at, one in enumerate(boxes) for two in boxes[at + 1 :]]
        assert not [pair for pair in pairs if pair[0].overlaps(pair[1])]

    def test_no_text_leaves_the_picture(self):
        figure = draw([row(built_in(name)) for name in ("viirs", "enmap", "sentinel1", "landsat9")])
        figure.draw_without_rendering()
        for text in figure.axes[0].texts:
            box = text.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.width
            assert box.y1 <= figure.bbox.height

    def test_a_name_is_never_taken_for_a_formula(self, tmp_path):
        odd = camera((0.5, 0.1)).model_copy(update={"name": "cost $x^$"})
        assert plot_sensors([odd], tmp_path / "odd.png").exists()

    @pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
    def test_the_same_sensors_give_the_same_file(self, tmp_path, suffix):
        one, two = (plot_sensors([built_in("naip")], tmp_path / f"{name}.{suffix}") for name in "ab")
        assert one.read_bytes() == two.read_bytes()
