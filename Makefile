# Everything a newcomer needs: `make benchmark` and `make test` do their own set-up.
PYTHON ?= python3
BIN := .venv/bin
# xdist's two workers share the cores; torch's own threads would fight them
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: benchmark test lint types slow stage-code clean

.venv: .venv/installed

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group dev
	$(BIN)/python -c "import torchvision"
	touch $@

benchmark: .venv
	$(BIN)/dbtssl benchmark

test: lint types
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

slow: .venv
	$(BIN)/python -m pytest -m slow

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv
	$(BIN)/mypy

# after the code behind a stage changed: raise its version if a result can be another one, then record its hash
stage-code: .venv
	$(BIN)/python -m dbtssl.testing.stage_code --confirm

clean:
	rm -rf .venv runs dist .mypy_cache .ruff_cache .pytest_cache
