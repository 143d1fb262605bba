"""Which band of a file is which band of the sensor, and when it is better not to say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dofa_cli.errors import BandMismatch
from dofa_cli.sensors.custom import from_wavelengths
from dofa_cli.sensors.match import Choice, Label, choose_bands
from dofa_cli.sensors.names import wavelength_in
from dofa_cli.sensors.registry import sensor

TRAINED = ("B04", "B03", "B02", "B05", "B06", "B07", "B08", "B11", "B12")
ALL = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


def stack(*texts: str | None, colours: Sequence[str | None] = (), pixel: float = 10) -> list[Label]:
    """The bands of one file, by what they are called (None: nothing)."""
    count = len(texts)
    colours = colours or (None,) * count
    return [
        Label("scene.tif", n, count, text, colour, pixel)
        for n, (text, colour) in enumerate(zip(texts, colours, strict=True), 1)
    ]


def unnamed(count: int) -> list[Label]:
    return stack(*(None,) * count)


def files(*names: str, pixels: Sequence[float] = ()) -> list[Label]:
    """Files of one unnamed band each."""
    sizes = pixels or (10,) * len(names)
    return [Label(name, n, 1, pixel_size=size) for n, (name, size) in enumerate(zip(names, sizes, strict=True), 1)]


def chosen(
    labels: Sequence[Label], instrument: str = "sentinel2", request: str | None = None, family: str = "dofa_v1"
) -> dict[str, int]:
    """Positions in the file by band id, in the order of use."""
    choice = choose_bands(labels, sensor(instrument), request, family)
    return {band.id: position for band, position in zip(choice.bands, choice.positions, strict=True)}


def notes(labels: Sequence[Label], request: str | None = None) -> tuple[str, ...]:
    return choose_bands(labels, sensor("sentinel2"), request, "dofa_v1").notes


class TestDescriptions:
    @pytest.mark.parametrize(
        ("text", "band"),
        [
            ("B4", "B04"),
            ("B04", "B04"),
            ("b04", "B04"),
            ("band4", "B04"),
            ("Band 4", "B04"),
            ("red", "B04"),
            ("RED", "B04"),
            ("B1 443nm", "B01"),
            ("blue:490", "B02"),
            ("B8A", "B8A"),
            ("b8", "B08"),
            ("nir", "B08"),
            ("swir16", "B11"),
            ("SWIR 2", "B12"),
            ("Red edge 1", "B05"),
            ("SR_B4", "B04"),
            ("B04 (665 nm)", "B04"),
            ("B5, central wavelength 705 nm", "B05"),
            ("665 nm", "B04"),
            ("0.665 µm", "B04"),
            ("0.74 micrometers", "B06"),
            ("band 1 (442.7 Nanometers)", "B01"),
            ("Vegetation red edge (705 nm)", "B05"),
        ],
    )
    def test_of_sentinel_2(self, text, band):
        assert chosen(stack("something else", text)) == {band: 1}

    @pytest.mark.parametrize(
        ("instrument", "text", "band"),
        [
            ("enmap", "band 1 (418.24 Nanometers)", "B001"),
            ("enmap", "B050", "B050"),
            ("landsat8", "SR_B4", "B4"),
            ("landsat8", "B04", "B4"),
            ("landsat8", "nir", "B5"),
            ("sentinel1", "VV_db", "VV"),
            ("sentinel1", "Sigma0_VH", "VH"),
            ("naip", "Infrared", "N"),
        ],
    )
    def test_of_other_sensors(self, instrument, text, band):
        assert band in chosen(stack("something else", text), instrument)

    @pytest.mark.parametrize("text", ["gray", "1", "mean", "Vegetation red edge", "1100 nm", "B14"])
    def test_that_name_no_band_are_not_bent_into_one(self, text):
        with pytest.raises(BandMismatch):
            chosen(stack(text, "something else"))

    def test_bands_are_taken_in_the_order_of_training_and_not_of_the_file(self):
        labels = stack(*reversed(TRAINED))
        assert chosen(labels) == {band: 8 - position for position, band in enumerate(TRAINED)}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("418.24 Nanometers", 0.41824),
            ("665nm", 0.665),
            ("0.665 um", 0.665),
            ("2.19 micrometres", 2.19),
            ("B04", None),
            ("10 m", None),
        ],
    )
    def test_a_wavelength_counts_only_with_its_unit(self, text, expected):
        assert wavelength_in(text) == (None if expected is None else pytest.approx(expected))

    def test_that_only_number_the_band_say_nothing(self):
        with pytest.raises(BandMismatch, match="9 bands"):
            choose_bands(stack(*(f"Band {n}" for n in range(1, 10))), sensor("sentinel2"), None, "dofa_v1")


class TestFileNames:
    def test_it_goes_before_a_description_that_only_numbers_the_band(self):
        label = Label("T33UUU_20170216T102101_B02.jp2", 1, 1, "Band 1")
        assert [b.id for b in choose_bands([label], sensor("sentinel2"), None, "dofa_v1").bands] == ["B02"]

    @pytest.mark.parametrize(
        ("instrument", "name", "band"),
        [
            ("sentinel2", "T33UUU_20170216T102101_B02.jp2", "B02"),
            ("sentinel2", "T33UUU_20170216T102101_B8A_20m.jp2", "B8A"),
            ("sentinel2", "scene_B4.tif", "B04"),
            ("sentinel2", "B08.tif", "B08"),
            ("sentinel2", "red.tif", "B04"),
            ("sentinel1", "scene_VV.tif", "VV"),
            ("sentinel1", "s1a-iw-grd-vh-20170216t051642-20170216t051707-015309-0191c4-002.tiff", "VH"),
            ("landsat8", "LC08_L2SP_044034_20190101_20200829_02_T1_SR_B4.TIF", "B4"),
            ("landsat8", "LC08_L2SP_044034_20190101_20200829_02_T1_ST_B10.TIF", "B10"),
            ("landsat9", "LC09_L1TP_044034_20220101_20220101_02_T1_B11.TIF", "B11"),
        ],
    )
    def test_of_single_band_files(self, instrument, name, band):
        assert chosen(files(name), instrument) == {band: 0}

    def test_the_name_of_a_stack_says_nothing_of_its_bands(self):
        labels = [Label("scene_B04.tif", n, 2) for n in (1, 2)]
        with pytest.raises(BandMismatch):
            chosen(labels)

    def test_several_files_are_put_in_order(self):
        names = [f"T33UUU_20170216T102101_{band}.jp2" for band in sorted(TRAINED)]
        assert list(chosen(files(*names))) == list(TRAINED)

    def test_several_files_without_names_are_not_counted_off(self):
        with pytest.raises(BandMismatch):
            chosen(files("one.tif", "two.tif"), "sentinel1")

    def test_the_finest_pixel_wins_where_two_files_hold_a_band(self):
        labels = files("x_B02_60m.jp2", "x_B02_10m.jp2", "x_B02_20m.jp2", pixels=(60, 10, 20))
        assert chosen(labels) == {"B02": 1}

    def test_two_equally_fine_ones_belong_to_two_scenes(self):
        with pytest.raises(BandMismatch, match=r"B02 stands in a_B02\.tif .* and b_B02\.tif .*one scene at a time"):
            chosen(files("a_B02.tif", "b_B02.tif"))

    def test_a_stack_in_the_usual_order_may_state_its_wavelengths_a_little_differently(self):
        mine = from_wavelengths((0.65, 0.55, 0.47, 0.84))
        labels = [Label("x.tif", n, 4, text) for n, text in enumerate(("R 650nm", "G 560nm", "B 480nm", "N 830nm"), 1)]
        assert choose_bands(labels, mine, None, "dofa_v1").positions == (0, 1, 2, 3)
        labels[2] = Label("x.tif", 3, 4, "B 600nm")
        assert len(choose_bands(labels, mine, None, "dofa_v1").positions) < 4


class TestUnnamedStacks:
    @pytest.mark.parametrize(
        ("instrument", "count"),
        [("sentinel2", 3), ("sentinel2", 4), ("sentinel2", 10), ("sentinel2", 12), ("sentinel2", 13), ("sentinel1", 2)],
    )
    @pytest.mark.parametrize("request_", [None, "all", "trained"])
    def test_of_a_length_with_several_orders_are_refused(self, instrument, count, request_):
        with pytest.raises(BandMismatch, match="Say which is which"):
            chosen(unnamed(count), instrument, request_)

    @pytest.mark.parametrize("count", [1, 2, 5, 14])
    def test_of_a_length_without_an_order_are_refused(self, count):
        with pytest.raises(BandMismatch, match="Say which is which"):
            chosen(unnamed(count))

    @pytest.mark.parametrize(("instrument", "count"), [("naip", 4), ("landsat8", 7), ("enmap", 224), ("enmap", 202)])
    def test_of_a_length_with_one_order_are_taken(self, instrument, count):
        entry = sensor(instrument)
        (order,) = [order for order in entry.stack_orders if len(order) == count]
        found = chosen(unnamed(count), instrument)
        assert list(found) == [band for band in entry.default_bands("dofa_v1") if band in order]
        assert all(order[position] == band for band, position in found.items())

    def test_colours_name_what_count_leaves_open(self):
        labels = stack(None, None, None, colours=("blue", "green", "red"))
        assert chosen(labels, request="rgb") == {"B04": 2, "B03": 1, "B02": 0}

    def test_colours_go_before_the_usual_order(self):
        labels = stack(None, None, None, colours=("blue", "green", "red"))
        assert chosen(labels, "naip") == {"R": 2, "G": 1, "B": 0}

    def test_colours_of_some_bands_only_leave_it_to_the_usual_order(self):
        labels = stack(None, None, None, None, colours=("red", "green", "blue", None))
        assert chosen(labels, "naip") == {"R": 0, "G": 1, "B": 2}

    def test_wavelengths_by_hand_are_in_file_order(self):
        choice = choose_bands(unnamed(2), from_wavelengths((0.665, 0.56)), None, "dofa_v1")
        assert choice.positions == (0, 1)


class TestRequests:
    def test_a_preset(self):
        assert chosen(stack(*ALL), request="rgb") == {"B04": 3, "B03": 2, "B02": 1}

    def test_all(self):
        assert list(chosen(stack(*ALL), request="all")) == list(ALL)

    def test_all_of_a_file_that_lacks_some(self):
        labels = stack("B04", "B03", "B09")
        choice = choose_bands(labels, sensor("sentinel2"), "all", "dofa_v1")
        assert [band.id for band in choice.bands] == ["B03", "B04", "B09"]
        assert any("not in the file" in note for note in choice.notes)

    def test_a_list_gives_the_order(self):
        assert chosen(stack(*ALL), request="B8A, nir ,B4") == {"B8A": 8, "B08": 7, "B04": 3}

    def test_a_list_names_an_unnamed_stack_of_that_length_in_file_order(self):
        assert chosen(unnamed(3), request="B02,B04,B08") == {"B02": 0, "B04": 1, "B08": 2}

    def test_a_list_of_another_length_than_an_unnamed_stack_is_refused(self):
        with pytest.raises(BandMismatch, match="Say which is which"):
            chosen(unnamed(5), request="B02,B04")

    @pytest.mark.parametrize("labels", [unnamed(3), stack("x", "y", "z"), stack("B01", "B05", "B06")])
    def test_numbers_assign_bands_of_the_file_whatever_they_are_called(self, labels):
        assert chosen(labels, request="B04=3,B03=2") == {"B04": 2, "B03": 1}

    @pytest.mark.parametrize("number", [0, 4, 99])
    def test_numbers_beyond_the_file_are_refused(self, number):
        with pytest.raises(BandMismatch, match=f"B04={number}: the file has 3 bands"):
            chosen(stack("B04", "B03", "B02"), request=f"B04={number}")

    def test_numbers_for_some_bands_only_are_refused(self):
        with pytest.raises(BandMismatch, match="numbers some bands only"):
            chosen(stack("B02", "B03", "B04"), request="B04=1,B03")

    @pytest.mark.parametrize("request_", ["B99", "B04,violet", "B04=x", "B04=-1", "B04=²", "rbg"])
    def test_what_is_no_band_is_refused_with_the_bands_and_presets(self, request_):
        with pytest.raises(BandMismatch, match=r"not a band of sentinel2. It has B01, .*B12; presets: rgb, trained"):
            chosen(stack(*ALL), request=request_)

    @pytest.mark.parametrize("request_", ["B04,B04", "B04,red", ",", "B04=1,B4=2"])
    def test_a_band_twice_or_none_at_all_is_refused(self, request_):
        with pytest.raises(BandMismatch, match="a band twice or none"):
            chosen(stack(*ALL), request=request_)

    @pytest.mark.parametrize(("request_", "missing"), [("rgb", "B04, B03"), ("B8A,B02", "B8A")])
    def test_what_the_file_lacks_is_named(self, request_, missing):
        with pytest.raises(BandMismatch, match=f"The file has no {missing}. Found: B02, B05"):
            chosen(stack("B02", "B05"), request=request_)


class TestDefaults:
    def test_bands_beside_the_default_are_left_out_with_a_line(self):
        assert list(chosen(stack(*ALL))) == list(TRAINED)
        assert notes(stack(*ALL)) == ("4 bands of the file left out",)

    def test_default_bands_that_the_file_lacks_are_told(self):
        assert list(chosen(stack("B02", "B03", "B04", "B08"))) == ["B04", "B03", "B02", "B08"]
        assert notes(stack("B02", "B03", "B04", "B08")) == ("not in the file: B05, B06, B07, B11, B12",)

    def test_without_any_default_band_the_others_are_taken(self):
        assert list(chosen(stack("B09", "B01"))) == ["B01", "B09"]

    def test_nothing_is_said_where_all_fits(self):
        assert notes(stack(*TRAINED)) == ()

    def test_landsat_leaves_pan_cirrus_and_thermal_out(self):
        found = chosen(stack(*(f"B{n}" for n in range(1, 12))), "landsat8")
        assert list(found) == [f"B{n}" for n in range(1, 8)]


class TestMessages:
    def refusal(self, labels: Sequence[Label], instrument: str = "sentinel2") -> str:
        with pytest.raises(BandMismatch) as refused:
            chosen(labels, instrument)
        return str(refused.value)

    def test_it_shows_what_the_file_has_what_the_sensor_has_and_the_option(self):
        text = self.refusal(stack("alpha", "beta"))
        assert text.startswith("The file has 2 bands (1 'alpha', 2 'beta'); sentinel2 has B01, B02, ")
        assert "--bands NAME,NAME" in text
        assert "--bands NAME=NUMBER" in text
        assert "--wavelengths" in text

    def test_one_band_is_said_in_the_singular(self):
        assert self.refusal(stack("alpha")).startswith("The file has 1 band (1 'alpha')")

    def test_long_lists_are_cut(self):
        text = self.refusal(unnamed(50), "enmap")
        assert "13, 14, …)" in text
        assert "224 bands, B001 to B224" in text


def test_a_choice_holds_one_position_a_band():
    choice = choose_bands(stack(*ALL), sensor("sentinel2"), None, "dofa_v2")
    assert isinstance(choice, Choice)
    assert len(choice.bands) == len(choice.positions) == len(set(choice.positions)) == 9
