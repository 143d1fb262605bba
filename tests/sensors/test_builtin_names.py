"""Built-in sensors beside names of real files and usual values: bands, products and instruments are told by them."""

from __future__ import annotations

import re

import pytest

from dofa_cli.sensors import registry
from dofa_cli.sensors.match import Label
from dofa_cli.sensors.names import BandNames
from dofa_cli.sensors.products import Evidence, identify_product
from dofa_cli.sensors.recognise import Traces, weigh


@pytest.mark.parametrize(
    ("file", "sensor", "band"),
    [
        ("T33UUU_20170216T102101_B8A_20m.jp2", "sentinel2", "B8A"),
        ("LE07_L2SP_044034_20190101_20200829_02_T1_SR_B4.TIF", "landsat7", "B4"),
        ("LE07_L1TP_044034_20190101_20200829_02_T1_B6_VCID_2.TIF", "landsat7", "B6"),
        ("LT05_L2SP_044034_19950101_20200829_02_T1_ST_B6.TIF", "landsat5", "B6"),
        ("HLS.L30.T33UUU.2022001T100000.v2.0.B04.tif", "hls-l30", "B04"),
        ("HLS.S30.T33UUU.2022001T100000.v2.0.B8A.tif", "hls-s30", "B8A"),
        ("Oa17_reflectance.nc", "sentinel3-olci", "Oa17"),
        ("S7_BT_in.nc", "sentinel3-slstr", "S7"),
        ("OR_ABI-L1b-RadC-M6C13_G16_s20200011501.nc", "goes-abi", "C13"),
        ("HS_H08_20150707_0000_B01_FLDK_R10_S0110.DAT", "himawari-ahi", "B01"),
        ("EO1H1430552007177110PF_B031_L1T.TIF", "hyperion", "B031"),
        ("CBERS_4_AWFI_20201123_154_117_L4_BAND13.tif", "cbers4-wfi", "B13"),
        ("CBERS_4A_WPM_20201123_154_117_L4_BAND0.tif", "cbers04a-wpm", "B0"),
        ("s1a-iw-grd-vh-20170613.tiff", "sentinel1", "VH"),
        ("sur_refl_b07_1.tif", "modis", "B07"),
        ("VNP09GA_SurfReflect_M11_1.tif", "viirs", "M11"),
    ],
)
def test_names_of_files_tell_the_band(file, sensor, band):
    assert BandNames(registry.built_in(sensor)).by_file_name(file) == band


@pytest.mark.parametrize(
    ("name", "sensor", "product"),
    [
        ("LO09_L2SR_044034_20220101_20220829_02_T1_SR_B4.TIF", "landsat9", "c2-l2"),
        ("LT05_L1TP_044034_19950101_20160829_02_T1_B4.TIF", "landsat5", "c2-l1"),
        ("LT05_L1TP_044034_19950101_20160829_01_T1_B4.TIF", "landsat5", "c1-l1"),
        ("HLS.S30.T33UUU.2022001T100000.v2.0.B8A.tif", "hls-s30", "sr"),
        ("MYD09GA.A2020001.h18v04.061.hdf", "modis", "sr"),
        ("VNP02IMG.A2020001.nc", "viirs", "l1b"),
        ("AST_07XT_00301012020.hdf", "aster", "ast07"),
        ("S3A_OL_1_EFR____20200101T000000.SEN3/Oa01_radiance.nc", "sentinel3-olci", "l1b"),
        ("20200101_100000_00_2400_3B_AnalyticMS_SR_8b.tif", "superdove", "sr"),
        ("20200101_100000_00_2400_3B_AnalyticMS_8b.tif", "superdove", "analytic"),
        ("20200101_100000_ssc1_u0001_visual.tif", "skysat", "visual"),
        ("DESIS-HSI-L2A-DT0001-SPECTRAL_IMAGE.tif", "desis", "l2a"),
        ("EMIT_L2A_RFL_001_20220903T163129.nc", "emit", "l2a"),
        ("ang20170328t202059_rfl_v2p9_img", "aviris-ng", "l2"),
        ("ang20170328t202059_rdn_v2p9_img", "aviris-ng", "l1"),
        ("f130503t01p00r10_rfl_v1.img", "aviris", "l2"),
        ("NISAR_L2_PR_GCOV_001.h5", "nisar-l", "gcov"),
        ("wyvern_dragonette-002_20240101.tiff", "dragonette2", "l1b"),
    ],
)
def test_names_of_files_tell_the_product(name, sensor, product):
    named = [one.id for one in registry.built_in(sensor).products if one.pattern and re.search(one.pattern, name)]
    assert named == [product]
    assert any(
        "named like its product" in clue
        for clue in weigh(Traces((Label(name, 1, 1),), name), registry.built_in(sensor)).evidence
    )


@pytest.mark.parametrize(
    ("sensor", "low", "high", "eight_bit", "product"),
    [
        ("landsat7", 0.02, 0.4, False, "reflectance"),
        ("hls-l30", 200, 4000, False, "sr"),
        ("modis", 200, 4000, False, "sr"),
        ("superdove", 200, 4000, False, "sr"),
        ("superdove", 3, 250, True, "visual"),
        ("worldview3", 150, 1800, False, "dn"),
        ("worldview3", 3, 250, True, "dn"),
        ("pleiades", 150, 1800, False, "dn"),
        ("spot5", 3, 250, True, "dn"),
        ("gaofen2", 3, 250, True, "display"),
        ("gaofen2", 150, 900, False, "l1a"),
        ("aerial-rgb", 3, 250, True, "ortho"),
        ("rededge-mx", 0.01, 0.6, False, "reflectance"),
        ("rededge-mx", 8000, 40000, False, "reflectance-32768"),
        ("emit", 0.01, 0.6, False, "l2a"),
        ("desis", 200, 4000, False, "l2a"),
        ("prisma", 900, 30000, False, "dn"),
        ("aviris", 1000, 7000, False, "l1"),
        ("landsat7", 3, 250, True, "c1-l1"),
        ("radarsat2", -25, -3, False, "sigma0-db"),
        ("radarsat2", 20, 900, False, "grd"),
        ("nisar-l", 0.001, 0.5, False, "gcov"),
    ],
)
def test_values_alone_tell_the_product(sensor, low, high, eight_bit, product):
    found = identify_product(registry.built_in(sensor), Evidence("scene.tif", eight_bit, low, high), None)
    assert (found.product.id, found.how) == (product, "by its values")


@pytest.mark.parametrize(
    ("written", "sensor"),
    [
        ("GF1_WFV3", "gaofen1-wfv3"),
        ("WV03", "worldview3"),
        ("PSB.SD", "superdove"),
        ("Sentinel-3 OLCI", "sentinel3-olci"),
        ("Landsat 4", "landsat5"),
        ("HLSS30", "hls-s30"),
        ("tandem-x", "terrasar-x"),
        ("RedEdge MX", "rededge-mx"),
    ],
)
def test_names_that_people_write_are_understood(written, sensor):
    assert registry.sensor(written).id == sensor
