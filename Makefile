# make demo   set up .venv and embed the example scene
# make test   set up .venv, check style and types, run every test
# make quick  the same without the slow tests
# make docs   write docs/commands.md from --help; docs/sensors.md and the JSON Schema from the sensor files
# make bench  time the main job against the plain loop (minutes)
# make tiny   train the embedded default anew: DATA=folder of imagery, RUN=folder of the run (hours)

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
SCENE := $(sort $(wildcard examples/sentinel2/*.jp2))

.PHONY: demo test quick lint docs bench tiny clean

demo: $(READY)
	mkdir -p demo
	$(BIN)/dofa embed $(SCENE) --sensor sentinel2 -o demo/embedding.tif --overwrite
	$(BIN)/dofa quicklook demo/embedding.tif -o demo/embedding.png --overwrite

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

quick: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow"

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python docs/write_commands.py
	$(BIN)/python docs/write_sensors.py

bench: $(READY)
	$(BIN)/python benchmarks/embed_speed.py

tiny: $(READY)
	$(BIN)/python benchmarks/dofa_tiny/train.py $(DATA) $(RUN)_first
	$(BIN)/python benchmarks/dofa_tiny/train.py $(DATA) $(RUN)_second --after $(RUN)_first
	$(BIN)/python benchmarks/dofa_tiny/train.py $(DATA) $(RUN) --after $(RUN)_second --seed 2
	$(BIN)/python benchmarks/dofa_tiny/publish.py $(RUN)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

clean:
	rm -rf .venv demo dist
