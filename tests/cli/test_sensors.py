"""``dofa sensors``: data on stdout, warnings on stderr, exit codes of the error tree; a user's folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dofa_cli.cli.main import app
from dofa_cli.sensors import registry

MINE = """
id = "mine"
name = "My camera"
kind = "optical"
status = "given"
aliases = ["Kite Cam"]
sources = ["its maker"]
note = "Flown on a kite."
presets = { rgb = ["R"] }
default = { dofa_v1 = "rgb" }
bands = [
    { id = "R", center_um = 0.66, fwhm_um = 0.03, gsd_m = 0.1, source = "data sheet" },
    { id = "N", center_um = 0.84, fwhm_um = 0.05, gsd_m = 0.2, status = "nominal", source = "a guess" },
]
products = [{ id = "dn", quantity = "dn", level = "raw", nodata = nan, note = "counts" }]
"""
CHILD = """
id = "child"
name = "My other camera"
extends = "mine"
status = "nominal"
bands = [{ id = "R", center_um = 0.65 }]
"""
BROKEN = 'id = "broken"\nname = "Broken"\nextends = "mine"\nbands = [{ id = "R", center_um = 660 }]\n'


@pytest.fixture(autouse=True)
def user(tmp_path, monkeypatch):
    """The user's folder of sensors, empty, and an empty working folder."""
    folder = tmp_path / "config" / "dofa" / "sensors"
    work = tmp_path / "work"
    for made in (folder, work):
        made.mkdir(parents=True)
    monkeypatch.setattr(registry, "user_folder", lambda: folder)
    monkeypatch.delenv("DOFA_SENSOR_PATH", raising=False)
    monkeypatch.chdir(work)
    return folder


@pytest.fixture
def mine(user):
    return placed(user, "mine", MINE)


def placed(folder: Path, name: str, content: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(content, encoding="utf-8")
    return path


def dofa(*arguments):
    return CliRunner().invoke(app, ["sensors", *map(str, arguments)])


def refused(code: int, *arguments) -> str:
    """Run a command that fails with one line on stderr and nothing on stdout."""
    done = dofa(*arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "Traceback" not in done.output
    return line


def facts(text: str) -> dict[str, str]:
    """Return the lines ``name   text`` of a page, up to the first empty line."""
    lines = text.split("\n\n", maxsplit=1)[0].splitlines()
    return {line[:18].strip(): line[18:] for line in lines if line[:18].strip()}


def cells(text: str, band: str) -> list[str]:
    (line,) = [line for line in text.split("\n\n")[1].splitlines() if line.split()[:1] == [band]]
    return line.split()


class TestList:
    @pytest.mark.usefixtures("mine")
    def test_one_row_a_sensor(self):
        head, *rows = dofa("list").stdout.splitlines()
        assert head.split() == ["ID", "NAME", "KIND", "BANDS", "RANGE", "GSD", "STATUS", "LAYER"]
        assert [row.split()[0] for row in rows] == [one.id for one in registry.sensors()]
        (row,) = [row for row in rows if row.startswith("mine ")]
        assert row.split("  ")[0] == "mine"
        assert row.split() == [
            "mine",
            "My",
            "camera",
            "optical",
            "2",
            "0.66–0.84",
            "µm",
            "0.1–0.2",
            "m",
            "given",
            "user",
        ]

    def test_radar_has_gigahertz(self):
        assert "5.405 GHz" in dofa("list", "sentinel1").stdout

    @pytest.mark.parametrize("kind", ["optical", "hyperspectral", "sar"])
    def test_of_one_kind(self, kind):
        listed = json.loads(dofa("list", "--kind", kind, "--json").stdout)
        assert [one["id"] for one in listed] == [one.id for one in registry.sensors() if one.kind == kind]

    @pytest.mark.parametrize(
        "words", [["mine"], ["KITE-cam"], ["y cam"], ["my", "kite"]], ids=["id", "alias", "part of a name", "two words"]
    )
    @pytest.mark.usefixtures("mine")
    def test_by_words_of_any_name(self, words):
        assert [one["id"] for one in json.loads(dofa("list", *words, "--json").stdout)] == ["mine"]

    def test_json_has_numbers_and_the_file(self, mine):
        (one,) = json.loads(dofa("list", "mine", "--json").stdout)
        assert one == {
            "id": "mine",
            "name": "My camera",
            "kind": "optical",
            "bands": 2,
            "range_um": [0.66, 0.84],
            "range_ghz": None,
            "gsd_m": [0.1, 0.2],
            "products": ["dn"],
            "status": "given",
            "aliases": ["Kite Cam"],
            "layer": "user",
            "path": str(mine),
            "hides": [],
        }

    def test_a_sensor_in_the_place_of_another_says_so(self, user):
        placed(user, "sentinel2", MINE.replace('"mine"', '"sentinel2"'))
        (row,) = [row for row in dofa("list").stdout.splitlines() if row.startswith("sentinel2 ")]
        assert row.endswith("user (hides 1)")

    def test_broken_files_are_named_on_stderr_and_left_out(self, mine):
        broken = placed(mine.parent, "broken", BROKEN)
        done = dofa("list")
        assert done.exit_code == 0
        assert f"Warning: {broken} is not a valid sensor file: band R, center_um: 660 looks like" in done.stderr
        assert "broken" not in done.stdout

    def test_a_misspelt_word_gets_a_suggestion(self):
        assert "No sensor 'sentinle2'. Did you mean 'sentinel2'" in refused(21, "list", "sentinle2")

    def test_nothing_of_that_kind(self):
        line = refused(21, "list", "enmap", "--kind", "sar")
        assert "No sensor of kind sar matches 'enmap'. `dofa sensors list` shows all." in line

    def test_no_sensor_at_all(self, monkeypatch):
        monkeypatch.setattr(registry, "layers", lambda: ())
        assert "No sensor is known." in refused(21, "list")

    def test_unknown_kind(self):
        assert "--kind 'radar' is not one of optical, hyperspectral, sar." in refused(2, "list", "--kind", "radar")

    def test_it_loads_nothing_heavy(self):
        heavy = {"numpy", "rasterio", "torch", "pandas", "matplotlib", "dask"}
        code = (
            "import sys\nfrom dofa_cli.cli.main import app\ntry: app(['sensors', 'list'])\nexcept SystemExit: pass\n"
            f"print(*({heavy} & set(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert "sentinel2" in done.stdout
        assert done.stderr.splitlines()[-1] == ""


class TestShow:
    def test_where_it_is_and_what_it_is(self, mine):
        shown = facts(dofa("show", "kite cam").stdout)
        assert (shown["id"], shown["name"], shown["kind"]) == ("mine", "My camera", "optical")
        assert (shown["layer"], shown["file"]) == ("user", str(mine))
        assert (shown["also called"], shown["note"], shown["sources"]) == ("Kite Cam", "Flown on a kite.", "its maker")
        assert shown["presets"] == "rgb: R"

    @pytest.mark.usefixtures("mine")
    def test_default_bands_of_each_family(self):
        text = dofa("show", "mine").stdout
        assert "rgb (dofa_v1): R\n" in text
        assert "all bands (dofa_v2): R, N\n" in text

    @pytest.mark.usefixtures("mine")
    def test_centre_width_pixel_wavelengths_and_status_of_each_band(self):
        text = dofa("show", "mine").stdout
        assert cells(text, "R") == ["R", "0.66", "0.03", "0.1", "0.66", "0.66", "given"]
        assert cells(text, "N") == ["N", "0.84", "0.05", "0.2", "0.84", "0.84", "nominal"]
        assert "data sheet (R)" in text
        assert "a guess (N)" in text

    def test_what_the_weights_saw_stands_beside_physics(self):
        text = dofa("show", "sentinel1").stdout
        assert cells(text, "VV")[:6] == ["VV", "VV", "5.405", "10", "3.75", "5.405"]

    @pytest.mark.usefixtures("mine")
    def test_products(self):
        *_, products = dofa("show", "mine").stdout.split("\n\n")
        head, row, note = products.splitlines()
        assert head.split()[:7] == ["PRODUCT", "QUANTITY", "LEVEL", "TYPE", "SCALE", "OFFSET", "NODATA"]
        assert row.split() == ["dn", "dn", "raw", "1", "0", "nan", "values"]
        assert note.split() == ["dn", "counts"]

    def test_statistics_with_the_rule_from_each_product_s_values(self):
        text = dofa("show", "sentinel2").stdout
        assert "sentinel2-8bit" in text
        # 1 + 254·DN/3558, and DN // 32: the published rules of training
        assert "clip(0.0713884·x + 1, 1, 255) for B04, B03, B02" in text
        assert "clip(⌊0.03125·x⌋, 0, 255) for B05, B06, B07, B08, B11, B12" in text
        assert [line.split() for line in text.splitlines() if line.startswith("B12 ")][-1] == [
            "B12",
            "56.66529",
            "42.55887",
        ]

    def test_a_sensor_that_extends_another_names_the_file_of_each_number(self, mine):
        placed(mine.parent, "child", CHILD)
        text = dofa("show", "child").stdout
        assert facts(text)["extends"] == str(mine)
        assert facts(text)["inherits"] == "kind, sources, default, presets, products from mine"
        assert " ".join(cells(text, "R")[7:]) == "centre child; FWHM, GSD mine"
        assert " ".join(cells(text, "N")[7:]) == "mine"

    def test_what_it_hides(self, user):
        hidden = registry.entry("naip").file.path
        placed(user, "naip", MINE.replace('"mine"', '"naip"'))
        assert facts(dofa("show", "naip").stdout)["hides"] == str(hidden)

    def test_many_bands_are_cut_short_unless_all_are_asked_for(self):
        short, whole = dofa("show", "enmap").stdout, dofa("show", "enmap", "--all").stdout
        assert "B006" in short
        assert "B007" not in short.split("\n\n")[1]
        assert "… 212 more; --all shows them" in short
        assert all(cells(whole, band.id) for band in registry.sensor("enmap").bands)

    def test_json_has_all_bands_and_origins(self, mine):
        child = placed(mine.parent, "child", CHILD)
        shown = json.loads(dofa("show", "child", "--json").stdout)
        red, infrared = shown["bands"]
        assert (red["center_um"], red["fwhm_um"], red["status"]) == (0.65, 0.03, "nominal")
        assert red["model"] == {"dofa_v1": 0.65, "dofa_v2": 0.65}
        assert (red["origin"]["center_um"], red["origin"]["fwhm_um"]) == (str(child), str(mine))
        assert infrared["status"] == "nominal"
        assert shown["origin"]["kind"] == str(mine)
        assert shown["lineage"] == [str(child), str(mine)]
        assert shown["default_bands"] == {"dofa_v1": ["R"], "dofa_v2": ["R", "N"]}
        assert shown["products"][0]["nodata"] == "nan"
        assert len(json.loads(dofa("show", "enmap", "--json").stdout)["bands"]) == 224

    def test_json_of_statistics_has_the_rules(self):
        (stats,) = json.loads(dofa("show", "naip", "--json").stdout)["statistics"]
        assert stats["training_scale"] == "display-8bit"
        assert stats["rules"] == [{"products": ["ortho"], "bands": stats["bands"], "formula": "clip(x, 0, 255)"}]

    def test_a_file_need_not_be_in_any_folder(self, tmp_path):
        path = placed(tmp_path / "elsewhere", "mine", MINE)
        shown = facts(dofa("show", path).stdout)
        assert (shown["layer"], shown["file"]) == ("file", str(path))

    def test_every_built_in_sensor_can_be_shown(self):
        for one in registry.sensors():
            done = dofa("show", one.id)
            assert (done.exit_code, facts(done.stdout)["id"]) == (0, one.id)

    def test_unknown(self):
        assert "Did you mean 'enmap'" in refused(21, "show", "enmapp")

    def test_broken(self, mine):
        placed(mine.parent, "broken", BROKEN)
        assert "band R, center_um: 660 looks like nanometres" in refused(22, "show", "broken")


class TestPath:
    def test_of_an_alias(self, mine):
        assert dofa("path", "kitecam").stdout == f"{mine}\n"

    def test_in_the_project_it_is_a_whole_path(self, tmp_path):
        path = placed(tmp_path / "work" / ".dofa" / "sensors", "mine", MINE)
        assert dofa("path", "mine").stdout == f"{path}\n"

    def test_unknown(self):
        assert "No sensor 'mine'" in refused(21, "path", "mine")


class TestRemove:
    def test_a_sensor_of_the_user(self, mine):
        done = dofa("remove", "mine")
        assert (done.exit_code, done.stdout) == (0, f"{mine}\n")
        assert not mine.exists()
        assert "No sensor is called 'mine' now." in done.stderr

    def test_the_project_s_goes_first_and_the_user_s_answers_then(self, mine, tmp_path):
        project = placed(tmp_path / "work" / ".dofa" / "sensors", "mine", MINE)
        done = dofa("remove", "mine")
        assert not project.exists()
        assert f"'mine' is now mine (user), {mine}." in done.stderr
        assert mine.exists()

    def test_the_built_in_one_answers_again(self, user):
        placed(user, "naip", MINE.replace('"mine"', '"naip"'))
        assert "'naip' is now naip (built-in)" in dofa("remove", "naip").stderr

    def test_a_file_that_is_no_valid_sensor_can_go(self, mine):
        broken = placed(mine.parent, "broken", BROKEN)
        assert dofa("remove", "broken").exit_code == 0
        assert not broken.exists()

    def test_sensors_that_needed_it_are_named(self, mine):
        child = placed(mine.parent, "child", CHILD)
        done = dofa("remove", "mine")
        assert f"Warning: {child} extends 'mine', which is no sensor." in done.stderr

    def test_never_a_built_in_one(self):
        path = registry.entry("naip").file.path
        line = refused(2, "remove", "naip")
        assert f"'naip' is built in, {path}: only files in " in line
        assert path.exists()

    def test_never_one_of_the_search_path(self, tmp_path, monkeypatch):
        path = placed(tmp_path / "shared", "mine", MINE)
        monkeypatch.setenv("DOFA_SENSOR_PATH", str(path.parent))
        assert "of the layer '$DOFA_SENSOR_PATH'" in refused(2, "remove", "mine")
        assert path.exists()

    def test_never_one_of_a_package(self, tmp_path, monkeypatch):
        path = placed(tmp_path / "package", "mine", MINE)
        monkeypatch.setattr(registry, "_package_layers", lambda: (registry.Layer("package cameras", path.parent),))
        assert "of the layer 'package cameras'" in refused(2, "remove", "mine")
        assert path.exists()

    def test_never_by_alias_or_path(self, mine):
        assert "'kitecam' is another name of 'mine'" in refused(2, "remove", "kitecam")
        assert "takes the id" in refused(2, "remove", mine)
        assert mine.exists()

    @pytest.mark.parametrize("name", ["nothing-like-it", "", "../../mine.tom", "/etc/passwd"])
    def test_unknown(self, mine, name):
        refused(21, "remove", name)
        assert mine.exists()


class TestCheck:
    def test_one_line_a_file(self, mine):
        broken = placed(mine.parent, "broken", BROKEN)
        done = dofa("check", mine, broken, "nowhere.toml", "notes.txt")
        good, bad, absent, other = done.stdout.splitlines()
        assert good == f"{mine}: ok"
        assert bad.startswith(f"{broken}: not a valid sensor file: band R, center_um: 660 looks like nanometres")
        assert absent == "nowhere.toml: No sensor file nowhere.toml."
        assert other == "notes.txt: not a .toml file"
        assert done.exit_code == 22
        assert done.stderr.splitlines()[-1] == "Error: 3 of 4 files cannot be used as a sensor."

    def test_all_well(self, mine):
        done = dofa("check", mine)
        assert (done.exit_code, done.stdout, done.stderr) == (0, f"{mine}: ok\n", "")

    def test_what_is_no_toml(self, user):
        path = placed(user, "prose", "just words")
        done = dofa("check", path)
        assert done.exit_code == 22
        assert done.stdout.startswith(f"{path}: not a readable TOML file: ")
        assert len(done.stdout.splitlines()) == 1

    def test_a_warning_does_not_fail(self, user):
        path = placed(user, "mine", MINE.replace("fwhm_um = 0.03, ", ""))
        done = dofa("check", path)
        assert (done.exit_code, done.stdout) == (0, f"{path}: ok\n")
        assert done.stderr == f"Warning: {path}: no fwhm_um: R\n"


class TestPlot:
    @pytest.mark.usefixtures("mine")
    def test_in_the_terminal(self):
        text = dofa("plot", "mine", "sentinel1").stdout
        assert "µm" in text.splitlines()[0]
        assert "█" in next(line for line in text.splitlines() if line.startswith("mine "))
        assert "radar at 5.405 GHz: no place on this axis" in text

    @pytest.mark.parametrize("suffix", ["png", "svg", "PDF"])
    @pytest.mark.usefixtures("mine")
    def test_to_a_file(self, suffix, tmp_path):
        path = tmp_path / f"bands.{suffix}"
        assert dofa("plot", "mine", "-o", path).stdout == f"{path}\n"
        magic = {"png": b"\x89PNG", "svg": b"<?xml", "PDF": b"%PDF"}[suffix]
        assert path.read_bytes().startswith(magic)

    @pytest.mark.usefixtures("mine")
    def test_an_existing_file_stays_unless_it_may_go(self, tmp_path):
        path = tmp_path / "bands.png"
        path.write_bytes(b"dear to me")
        assert "exists already. Add --overwrite" in refused(41, "plot", "mine", "-o", path)
        assert path.read_bytes() == b"dear to me"
        assert dofa("plot", "mine", "-o", path, "--overwrite").exit_code == 0
        assert path.read_bytes().startswith(b"\x89PNG")

    @pytest.mark.usefixtures("mine")
    def test_another_suffix(self):
        assert "A picture is a .png, .svg or .pdf file, not 'bands.gif'." in refused(
            2, "plot", "mine", "-o", "bands.gif"
        )

    @pytest.mark.usefixtures("mine")
    def test_a_folder_that_is_not_there(self, tmp_path):
        assert "Cannot write" in refused(42, "plot", "mine", "-o", tmp_path / "nowhere" / "bands.png")

    def test_unknown(self, tmp_path):
        refused(21, "plot", "naip", "nothing-like-it", "-o", tmp_path / "bands.png")
        assert not (tmp_path / "bands.png").exists()
