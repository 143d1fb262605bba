"""Which scenes a user means: folders, patterns, lists and catalogues."""

from __future__ import annotations

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dofa_cli.errors import DamagedRaster, OptionError, SceneError, SceneNotFound
from dofa_cli.pipelines.many.json_stream import members
from dofa_cli.pipelines.many.listing import Listing, means_many
from dofa_cli.pipelines.many.scene_item import name_of, scene_at


@pytest.fixture
def folder(tmp_path):
    """Make empty files below a folder, and folders where a name ends in a slash."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
        return tmp_path

    return make


def names(*inputs, **options):
    return [item.name for item in Listing(tuple(map(str, inputs)), **options)]


def test_a_folder_gives_its_rasters_and_those_below_in_order(folder):
    where = folder("b.tif", "a.jp2", "deep/er/c.tif", "notes.txt", "a.jp2.aux.xml", ".hidden/d.tif", ".e.tif")
    found = list(Listing((str(where),)))
    assert [item.name for item in found] == ["a", "b", "c"]
    assert [item.number for item in found] == [1, 2, 3]
    assert found[2].parent == "er"


def test_band_files_of_one_scene_are_one_scene(folder):
    where = folder("x_2020_B02.tif", "x_2020_B03.tif", "x_2020_SCL.tif", "y_2021_B02.tif", "y_2021_B03.tif", "z.tif")
    found = {item.name: [Path(path).name for path in item.paths] for item in Listing((str(where),))}
    assert found == {
        "x_2020": ["x_2020_B02.tif", "x_2020_B03.tif"],
        "y_2021": ["y_2021_B02.tif", "y_2021_B03.tif"],
        "z": ["z.tif"],
    }


def test_files_called_after_bands_alone_are_named_after_their_folder(folder):
    where = folder("july/B02.tif", "july/B03.tif")
    (item,) = Listing((str(where),))
    assert item.name == "july"
    assert len(item.paths) == 2


def test_a_single_band_file_is_a_scene_of_its_own(folder):
    assert names(folder("north_VV.tif", "south_VH.tif")) == ["north_VV", "south_VH"]


def test_landsat_files_in_one_folder_go_by_their_metadata_files(folder):
    scene = "LC08_L1TP_193023_2020{}_02_T1"
    files = [
        f"{scene}_{end}".format(day)
        for day in ("0101", "0117")
        for end in ("B4.TIF", "B5.TIF", "QA_PIXEL.TIF", "MTL.txt")
    ]
    found = list(Listing((str(folder(*files)),)))
    assert [item.name for item in found] == [scene.format("0101"), scene.format("0117")]
    assert all(item.paths[0].endswith("_MTL.txt") for item in found)


def test_product_folders_are_one_scene_each(folder):
    where = folder("S2A_X.SAFE/GRANULE/a_B02.jp2", "S2A_X.SAFE/manifest.safe", "S2A_Y.SAFE/GRANULE/b_B02.jp2", "c.tif")
    assert names(where) == ["c", "S2A_X", "S2A_Y"]


def test_a_folder_of_outputs_is_not_looked_into(folder):
    where = folder("a.tif", "out/a_patch.tif")
    assert names(where, outputs=where / "out") == ["a"]
    assert names(f"{where}/**/*.tif", outputs=where / "out") == ["a"]


def test_scenes_beside_their_outputs_are_refused(folder):
    where = folder("a.tif")
    with pytest.raises(OptionError, match="would take for scenes"):
        names(where, outputs=where)
    with pytest.raises(OptionError, match=r"\*.tif' matches lies in the folder of the outputs"):
        names(f"{where}/*.tif", outputs=where)


def test_outputs_in_the_current_folder_leave_the_folders_below_it(folder, monkeypatch):
    monkeypatch.chdir(folder("scenes/a.tif", "a_patch.tif"))
    assert names("scenes/*.tif", outputs=Path()) == ["a"]
    assert names("**/*.tif", outputs=Path()) == ["a"]


def test_scenes_named_twice_come_once(folder):
    where = folder("a.tif", "b.tif")
    assert names(where / "b.tif", f"{where}/*.tif", where) == ["b", "a"]


def test_a_text_list_names_a_scene_a_line(folder, monkeypatch):
    where = folder("lists/near.tif", "far.tif")
    monkeypatch.chdir(where)
    text = "# scenes\nnear.tif\n\nfar.tif\nhttps://example.org/x_B02.tif?key=1; https://example.org/x_B03.tif\n"
    (where / "lists/all.txt").write_text(text)
    found = list(Listing(("lists/all.txt",)))
    assert [item.name for item in found] == ["near", "far", "x"]
    assert found[0].paths == ("lists/near.tif",)
    assert found[1].paths == ("far.tif",)
    assert found[2].paths == ("https://example.org/x_B02.tif?key=1", "https://example.org/x_B03.tif")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("column", ["scene", "path"])
def test_tables_say_more_of_each_scene(tmp_path, ending, column):
    rows = {
        column: ["/a.tif", "/b.tif"],
        "output": ["one.tif", ""],
        "sensor": ["naip", None],
        "datetime": [None, "2020-07-01"],
    }
    path = tmp_path / f"list.{ending}"
    if ending == "csv":
        lines = [",".join(rows), *(",".join(value or "" for value in row) for row in zip(*rows.values(), strict=True))]
        path.write_text("\n".join(lines))
    else:
        pq.write_table(pa.table(rows), path)
    first, second = Listing((str(path),))
    assert (first.output, first.sensor, first.taken) == ("one.tif", "naip", None)
    assert (second.output, second.sensor, second.taken) == (None, None, "2020-07-01")


def test_a_table_without_scenes_is_refused_with_its_columns(tmp_path):
    (tmp_path / "list.csv").write_text("file,sensor\na.tif,naip\n")
    with pytest.raises(SceneError, match="no column 'scene' or 'path', but file, sensor"):
        names(tmp_path / "list.csv")


def test_a_damaged_table_is_refused(tmp_path):
    (tmp_path / "list.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DamagedRaster, match="cannot be read"):
        names(tmp_path / "list.parquet")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("none/*.tif", "No file matches"),
        ("none.tif", "No such file"),
        ("none.csv", "No such list"),
        (".", "No scene in"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, monkeypatch, named, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SceneNotFound, match=message):
        names(named)


def test_an_empty_list_is_an_error(tmp_path):
    (tmp_path / "list.txt").write_text("# nothing yet\n")
    with pytest.raises(SceneNotFound, match="lists no scene"):
        names(tmp_path / "list.txt")


def item(name, **assets):
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "properties": {"datetime": "2021-05-06T10:00:00Z"},
        "assets": {key: {"href": href, "type": "image/tiff; application=geotiff"} for key, href in assets.items()},
    }


def collection(*items, **more):
    return {"type": "FeatureCollection", "features": list(items), **more}


def test_items_of_a_collection_are_scenes_in_files_of_their_own(tmp_path):
    path = tmp_path / "here" / "page.json"
    path.parent.mkdir()
    path.write_text(json.dumps(collection(item("a", red="data/red.tif"), item("b/2", red="https://example.org/r.tif"))))
    first, second = Listing((str(path),), items=tmp_path / "items")
    assert (first.name, second.name, first.taken) == ("a", "b_2", "2021-05-06T10:00:00Z")
    assert json.loads(Path(first.paths[0]).read_text())["assets"]["red"]["href"] == str(path.parent / "data/red.tif")
    assert json.loads(Path(second.paths[0]).read_text())["assets"]["red"]["href"] == "https://example.org/r.tif"


def test_items_of_one_id_in_several_collections_are_all_scenes(tmp_path):
    for name in ("l1c", "l2a"):
        body = item("T33UUU", red=f"{name}.tif") | {"collection": f"sentinel-2-{name}"}
        (tmp_path / f"{name}.json").write_text(json.dumps(collection(body)))
    first, second = Listing((str(tmp_path / "l1c.json"), str(tmp_path / "l2a.json")), items=tmp_path / "items")
    assert (first.name, second.name) == ("T33UUU", "T33UUU")
    hrefs = [json.loads(Path(one.paths[0]).read_text())["assets"]["red"]["href"] for one in (first, second)]
    assert hrefs == [str(tmp_path / "l1c.tif"), str(tmp_path / "l2a.tif")]


def test_files_of_items_are_written_once(tmp_path):
    path = tmp_path / "page.json"
    path.write_text(json.dumps(collection(item("a", red="red.tif"))))
    listing = Listing((str(path),), items=tmp_path / "items")
    before = [Path(one.paths[0]).stat().st_mtime_ns for one in listing]
    assert [Path(one.paths[0]).stat().st_mtime_ns for one in listing] == before


def test_further_pages_are_said_to_be_left_out(tmp_path):
    path = tmp_path / "page.json"
    links = [{"rel": "next", "href": "https://example.org/?page=2"}]
    path.write_text(json.dumps(collection(item("a", red="red.tif"), links=links)))
    said = []
    assert names(path, items=tmp_path / "items", say=said.append) == ["a"]
    assert len(said) == 1
    assert "next pages are left out" in said[0]


def test_a_single_item_is_one_scene_at_its_own_place(tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps(item("a", red="red.tif")))
    (found,) = Listing((str(path),), items=tmp_path / "items")
    assert found.paths == (str(path),)
    assert not (tmp_path / "items").exists()


@pytest.mark.parametrize(
    "text", ['{"type": "FeatureCollection", "features": [{"geometry": 1}]}', '{"features": [', "[]"]
)
def test_json_that_lists_no_items_is_refused(tmp_path, text):
    (tmp_path / "x.geojson").write_text(text)
    with pytest.raises(DamagedRaster):
        names(tmp_path / "x.geojson", items=tmp_path / "items")


@pytest.fixture
def server():
    """Serve one body to every request."""
    body = json.dumps(collection(item("far", red="red.tif"))).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path.startswith("/search") else 404)
            self.end_headers()
            self.wfile.write(body if self.path.startswith("/search") else b"")

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_a_page_of_search_results_is_read_from_its_address(tmp_path, server):
    (found,) = Listing((f"{server}/search?limit=1",), items=tmp_path / "items")
    assert json.loads(Path(found.paths[0]).read_text())["assets"]["red"]["href"] == f"{server}/red.tif"
    with pytest.raises(SceneNotFound, match="404"):
        names(f"{server}/collections/x/items", items=tmp_path / "items")


class Recorded(io.StringIO):
    """Text that knows how much of it was asked for."""

    def __init__(self, text):
        super().__init__(text)
        self.asked = 0

    def read(self, size=-1):
        self.asked += size
        return super().read(size)


def test_a_long_collection_is_read_piece_by_piece():
    text = Recorded(json.dumps(collection(*(item(f"i{n}", red="x" * 1000) for n in range(2000)))))
    found = members(text, apart="features")
    next(found)
    next(found)
    assert text.asked < 600_000 < len(text.getvalue())
    assert sum(key == "features" for key, _ in found) == 1999


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    whole=st.dictionaries(st.text(), json_values, max_size=5),
    features=st.lists(json_values, max_size=5),
    indent=st.none() | st.integers(0, 3),
)
def test_pieces_put_together_are_the_whole(whole, features, indent):
    text = json.dumps(whole | {"features": features}, indent=indent)
    found = list(members(io.StringIO(text), apart="features"))
    assert [value for key, value in found if key == "features"] == features
    assert {key: value for key, value in found if key != "features"} == {
        key: value for key, value in whole.items() if key != "features"
    }


@given(cut=st.integers(0, 60))
def test_a_cut_object_is_an_error(cut):
    text = json.dumps(collection(item("a", red="r.tif")))[: -1 - cut]
    with pytest.raises(ValueError, match=r"\w"):
        list(members(io.StringIO(text), apart="features"))


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (["a/S2A_MSIL1C_X.SAFE"], "S2A_MSIL1C_X"),
        (["a/S2A_MSIL1C_X.SAFE/"], "S2A_MSIL1C_X"),
        (["a/LC08_X.tar.gz"], "LC08_X"),
        (["https://example.org/some.scene.tif?token=a/b.c"], "some.scene"),
        (["/vsis3/bucket/x.tif"], "x"),
        (["a/x_B02.tif", "a/x_B03.tif"], "x"),
        (["a/x_red_2.tif", "a/x_green_2.tif"], "x"),
        (["/july/B02.tif", "/july/B03.tif"], "july"),
    ],
)
def test_scenes_are_named_after_their_files(paths, name):
    assert name_of(tuple(paths)) == name


def test_inputs_mean_many_scenes_where_the_output_is_a_folder(tmp_path):
    assert means_many(["a.tif", "b.tif"], f"{tmp_path}/new/")
    assert means_many(["a.tif"], str(tmp_path))
    assert not means_many(["a.tif", "b.tif"], None)
    assert not means_many(["a.tif", "b.tif"], "out.tif")
    assert not means_many(["https://example.org/a.tif?x=[1]"], None)


def test_inputs_mean_many_scenes_where_one_is_a_list_or_a_folder_or_a_pattern(tmp_path, folder):
    where = folder("scenes/a.tif", "X.SAFE/manifest.safe", "list.txt")
    (where / "page.json").write_text(json.dumps(collection(item("a", red="r.tif"))))
    (where / "item.json").write_text(json.dumps(item("a", red="r.tif")))
    assert means_many([f"{where}/scenes/*.tif"], None)
    assert means_many([f"{where}/scenes"], None)
    assert means_many([f"{where}/list.txt"], None)
    assert means_many([f"{where}/page.json"], None)
    assert not means_many([f"{where}/item.json"], None)
    assert not means_many([f"{where}/X.SAFE"], None)
    assert not means_many([f"{where}/scenes/a.tif"], None)


def test_a_listing_can_be_gone_through_again(folder):
    listing = Listing((str(folder("a.tif", "b.tif")),))
    assert list(listing) == list(listing)
    assert scene_at("x.tif").shown == "x.tif"
    assert scene_at("x_B1.tif", "x_B2.tif").shown == "x_B1.tif and 1 more"
