"""Every error a user can meet, each with an exit code of its own.

::

    DofaError                    1
    ├── OptionError              2   options that contradict each other or the scene
    ├── SceneError              10
    │   ├── SceneNotFound       11   no such file or address
    │   ├── NotARaster          12   GDAL does not open it
    │   ├── DamagedRaster       13   opens, but pixels cannot be read
    │   ├── NoBands             14   no raster band, or several variables to choose from
    │   ├── BandMismatch        15   bands of the file and of the sensor do not fit
    │   ├── ScaleMismatch       16   pixel values are not on the scale that the product says
    │   ├── GridError           17   no affine grid, or files that cannot be aligned
    │   └── AreaError           18   an area of interest that cannot be read or misses the scene
    ├── SensorError             20
    │   ├── UnknownSensor       21
    │   ├── BadSensorFile       22
    │   └── BadWavelengths      23
    ├── WeightsError            30
    │   ├── NoWeights           31   none named, or not here and no network
    │   ├── UnknownWeights      32
    │   ├── DamagedWeights      33   truncated, or the checksum differs
    │   ├── WrongWeights        34   other names, shapes or kernel layout than the model's
    │   ├── UnsafeWeights       35   a pickle that would run code
    │   └── UntrustedWeights    36   layout cannot be told; needs --trust-weights
    ├── OutputError             40
    │   ├── OutputExists        41
    │   ├── OutputUnwritable    42
    │   ├── NoSpace             43   the disk is, or would be, full
    │   └── NotAResult          44   a file that this program did not write, where one is needed
    ├── DeviceError             50
    │   └── OutOfMemory         51
    ├── LabelError              60
    │   ├── LabelsUnreadable    61   no such file, or none that holds labels
    │   ├── UnknownField        62   no such class field or column
    │   ├── LabelsMiss          63   labels that do not touch the scene, or whose CRS is unknown
    │   └── TooFewLabels        64   one class only, or too few labels to train or to test with
    ├── HeadError               70
    │   ├── DamagedHead         71   truncated, or no head file at all
    │   ├── WrongHead           72   made for other weights, bands or another task
    │   └── UnsafeHead          73   a pickle that would run code
    └── TrainingError           80
        ├── Diverged            81   a loss that is no number
        └── BelowThreshold      82   an evaluation under --fail-under

An interrupted run (Ctrl-C) exits with 130, as shells expect.
"""

from __future__ import annotations

INTERRUPTED = 130


class DofaError(Exception):
    """Names the thing, the value and the next step; the command line prints it and exits with ``exit_code``."""

    exit_code = 1


class OptionError(DofaError):
    """Options contradict each other or do not suit the scene."""

    exit_code = 2


class SceneError(DofaError):
    """Something about the input scene."""

    exit_code = 10


class SceneNotFound(SceneError):
    """No such file or address."""

    exit_code = 11


class NotARaster(SceneError):
    """GDAL does not recognise the file."""

    exit_code = 12


class DamagedRaster(SceneError):
    """The header opens but pixels cannot be read."""

    exit_code = 13


class NoBands(SceneError):
    """No raster band, or several variables of which one must be named."""

    exit_code = 14


class BandMismatch(SceneError):
    """The bands of the file and of the sensor do not fit."""

    exit_code = 15


class ScaleMismatch(SceneError):
    """Pixel values do not lie on the scale that the product says."""

    exit_code = 16


class GridError(SceneError):
    """No affine grid, or files that cannot be aligned."""

    exit_code = 17


class AreaError(SceneError):
    """The area of interest cannot be read or misses the scene."""

    exit_code = 18


class SensorError(DofaError):
    """Something about the sensor."""

    exit_code = 20


class UnknownSensor(SensorError):
    """No sensor of that name."""

    exit_code = 21


class BadSensorFile(SensorError):
    """A sensor file that breaks the schema."""

    exit_code = 22


class BadWavelengths(SensorError):
    """Wavelengths that cannot be micrometres, or of the wrong number."""

    exit_code = 23


class WeightsError(DofaError):
    """Something about the weights."""

    exit_code = 30


class NoWeights(WeightsError):
    """No weights named, or they are not here and cannot be fetched."""

    exit_code = 31


class UnknownWeights(WeightsError):
    """No checkpoint of that name."""

    exit_code = 32


class DamagedWeights(WeightsError):
    """A truncated file, or a checksum that differs."""

    exit_code = 33


class WrongWeights(WeightsError):
    """Names, shapes or kernel layout are not those of the model."""

    exit_code = 34


class UnsafeWeights(WeightsError):
    """A pickle that would run code when loaded."""

    exit_code = 35


class UntrustedWeights(WeightsError):
    """Published shapes with an unknown hash: the kernel layout cannot be told."""

    exit_code = 36


class OutputError(DofaError):
    """Something about the output."""

    exit_code = 40


class OutputExists(OutputError):
    """The output is there already."""

    exit_code = 41


class OutputUnwritable(OutputError):
    """The output's folder is missing or read-only."""

    exit_code = 42


class NoSpace(OutputError):
    """The disk is, or would be, full."""

    exit_code = 43


class NotAResult(OutputError):
    """A file that this program did not write, where one is needed."""

    exit_code = 44


class DeviceError(DofaError):
    """Something about the processor or graphics card."""

    exit_code = 50


class OutOfMemory(DeviceError):
    """The device has too little memory for even one window."""

    exit_code = 51


class LabelError(DofaError):
    """Something about labels."""

    exit_code = 60


class LabelsUnreadable(LabelError):
    """No such file, or none that holds labels."""

    exit_code = 61


class UnknownField(LabelError):
    """No such class field or column."""

    exit_code = 62


class LabelsMiss(LabelError):
    """Labels that do not touch the scene, or whose place is unknown."""

    exit_code = 63


class TooFewLabels(LabelError):
    """One class only, or too few labels to train or to test with."""

    exit_code = 64


class HeadError(DofaError):
    """Something about a head file."""

    exit_code = 70


class DamagedHead(HeadError):
    """A truncated file, or one that is no head."""

    exit_code = 71


class WrongHead(HeadError):
    """Made for other weights, other bands or another task."""

    exit_code = 72


class UnsafeHead(HeadError):
    """A pickle that would run code when loaded."""

    exit_code = 73


class TrainingError(DofaError):
    """Something about a training run."""

    exit_code = 80


class Diverged(TrainingError):
    """The loss or its gradient is no number."""

    exit_code = 81


class BelowThreshold(TrainingError):
    """An evaluation that falls below the threshold asked for."""

    exit_code = 82
