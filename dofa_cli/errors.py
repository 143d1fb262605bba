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
    ├── TrainingError           80
    │   ├── Diverged            81   a loss that is no number
    │   └── BelowThreshold      82   an evaluation under --fail-under
    └── RunError                90
        ├── RunDiffers          91   unfinished parts of other options, inputs or another version
        ├── OutputLocked        92   another run writes the same output
        ├── Interrupted         93   stopped by a signal; the same command continues
        ├── SomeFailed          94   some scenes or shards failed, the others are done
        └── WorkersLost         95   no worker is left, or the scheduler does not answer

Ctrl-C outside a run that can be continued exits with 130, as shells expect.
"""

from __future__ import annotations

from typing import ClassVar

INTERRUPTED = 130


class DofaError(Exception):
    """Names the thing, the value and the next step; the command line prints it and exits with ``exit_code``."""

    exit_code: ClassVar[int] = 1

    def __init_subclass__(cls, *, exit_code: int) -> None:
        """Give a kind of error its exit code."""
        cls.exit_code = exit_code


class OptionError(DofaError, exit_code=2):
    """Options contradict each other or do not suit the scene."""


class SceneError(DofaError, exit_code=10):
    """Something about the input scene."""


class SceneNotFound(SceneError, exit_code=11):
    """No such file or address."""


class NotARaster(SceneError, exit_code=12):
    """GDAL does not recognise the file."""


class DamagedRaster(SceneError, exit_code=13):
    """The header opens but pixels cannot be read."""


class NoBands(SceneError, exit_code=14):
    """No raster band, or several variables of which one must be named."""


class BandMismatch(SceneError, exit_code=15):
    """The bands of the file and of the sensor do not fit."""


class ScaleMismatch(SceneError, exit_code=16):
    """Pixel values do not lie on the scale that the product says."""


class GridError(SceneError, exit_code=17):
    """No affine grid, or files that cannot be aligned."""


class AreaError(SceneError, exit_code=18):
    """The area of interest cannot be read or misses the scene."""


class SensorError(DofaError, exit_code=20):
    """Something about the sensor."""


class UnknownSensor(SensorError, exit_code=21):
    """No sensor of that name."""


class BadSensorFile(SensorError, exit_code=22):
    """A sensor file that breaks the schema."""


class BadWavelengths(SensorError, exit_code=23):
    """Wavelengths that cannot be micrometres, or of the wrong number."""


class WeightsError(DofaError, exit_code=30):
    """Something about the weights."""


class NoWeights(WeightsError, exit_code=31):
    """No weights named, or they are not here and cannot be fetched."""


class UnknownWeights(WeightsError, exit_code=32):
    """No checkpoint of that name."""


class DamagedWeights(WeightsError, exit_code=33):
    """A truncated file, or a checksum that differs."""


class WrongWeights(WeightsError, exit_code=34):
    """Names, shapes or kernel layout are not those of the model."""


class UnsafeWeights(WeightsError, exit_code=35):
    """A pickle that would run code when loaded."""


class UntrustedWeights(WeightsError, exit_code=36):
    """Published shapes with an unknown hash: the kernel layout cannot be told."""


class OutputError(DofaError, exit_code=40):
    """Something about the output."""


class OutputExists(OutputError, exit_code=41):
    """The output is there already."""


class OutputUnwritable(OutputError, exit_code=42):
    """The output's folder is missing or read-only."""


class NoSpace(OutputError, exit_code=43):
    """The disk is, or would be, full."""


class NotAResult(OutputError, exit_code=44):
    """A file that this program did not write, where one is needed."""


class DeviceError(DofaError, exit_code=50):
    """Something about the processor or graphics card."""


class OutOfMemory(DeviceError, exit_code=51):
    """The device has too little memory for even one window."""


class LabelError(DofaError, exit_code=60):
    """Something about labels."""


class LabelsUnreadable(LabelError, exit_code=61):
    """No such file, or none that holds labels."""


class UnknownField(LabelError, exit_code=62):
    """No such class field or column."""


class LabelsMiss(LabelError, exit_code=63):
    """Labels that do not touch the scene, or whose place is unknown."""


class TooFewLabels(LabelError, exit_code=64):
    """One class only, or too few labels to train or to test with."""


class HeadError(DofaError, exit_code=70):
    """Something about a head file."""


class DamagedHead(HeadError, exit_code=71):
    """A truncated file, or one that is no head."""


class WrongHead(HeadError, exit_code=72):
    """Made for other weights, other bands or another task."""


class UnsafeHead(HeadError, exit_code=73):
    """A pickle that would run code when loaded."""


class TrainingError(DofaError, exit_code=80):
    """Something about a training run."""


class Diverged(TrainingError, exit_code=81):
    """The loss or its gradient is no number."""


class BelowThreshold(TrainingError, exit_code=82):
    """An evaluation that falls below the threshold asked for."""


class RunError(DofaError, exit_code=90):
    """Something about the course of a run."""


class RunDiffers(RunError, exit_code=91):
    """Unfinished parts beside the output belong to other options, other inputs or another version."""


class OutputLocked(RunError, exit_code=92):
    """Another run writes the same output."""


class Interrupted(RunError, exit_code=93):
    """Stopped by a signal between two shards; the same command continues."""


class SomeFailed(RunError, exit_code=94):
    """Some scenes or shards failed; the others are done."""


class WorkersLost(RunError, exit_code=95):
    """No worker is left, or the scheduler does not answer."""
