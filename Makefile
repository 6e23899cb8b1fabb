# One verb a target. `make demo` and `make test` set up everything they need themselves.
# Another interpreter: PYTHON=python3.12 make test

PYTHON ?= python3
export PYTHON

BIN := .venv/bin

.PHONY: demo test check format slow calibrate bench bench-gpu compare stress bare accessibility
.PHONY: tables docs wheel release bounds audit licences fuzz fuzz-guided soak clean

demo:    ## three audits of deletion requests on real people's records
	@scripts/setup.sh demo
	$(BIN)/forget-audit demo --out forget-audit-demo

test:    ## every test but the slow ones, with coverage
	@scripts/setup.sh test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile --cov --cov-report=term

check:   ## style, types and who may import whom
	@scripts/setup.sh test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format:  ## put code into the house style
	@scripts/setup.sh test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

slow:    ## statistical power and calibration over many seeds
	@scripts/setup.sh test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

calibrate:  ## how often the verdict is right, on bundled data; about an hour on two cores
	@scripts/setup.sh test
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/calibrate.py --plot docs/images/calibration.svg
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/epsilon_null.py --out benchmarks/results

bench:   ## how fast it is, beside other tools and plain loops; about 20 minutes
	@scripts/setup.sh test
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.speed

bench-gpu:  ## batched training on a GPU against one model after the other
	@scripts/setup.sh test
	$(BIN)/python -m benchmarks.speed.gpu

compare: ## every method on four requests, on bundled data
	@scripts/setup.sh test
	OMP_NUM_THREADS=1 $(BIN)/forget-audit bench --seeds 5 --out benchmarks/results
	$(BIN)/python benchmarks/orderings.py --results benchmarks/results | tee benchmarks/results/orderings.txt

stress:  ## methods on forget sets of different hardness, on bundled data
	@scripts/setup.sh test
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/stress.py --out benchmarks/results

bare:    ## reports on a bare Debian 12, with and without libraries and fonts; needs root
	@scripts/setup.sh test
	SITE_PACKAGES=$$(echo .venv/lib/python*/site-packages) scripts/bare_debian.sh

accessibility:  ## axe-core over the reports of the demo in Chromium, light and dark, narrow and wide
	@scripts/setup.sh test
	$(BIN)/forget-audit demo --out forget-audit-demo
	$(BIN)/python -m scripts.accessibility forget-audit-demo/*/report.html

tables:  ## write the generated tables and pages of README and docs
	@scripts/setup.sh test
	$(BIN)/python -m scripts.tables --write
	$(BIN)/python -m scripts.cards --write
	$(BIN)/python -m scripts.licences --write

docs:    ## the documentation as a site, checked: no warnings, no dead links, nothing fetched
	@scripts/setup.sh test
	$(BIN)/python -m scripts.docs build

wheel:   ## sdist, and the wheel made from it
	@scripts/setup.sh test
	scripts/build.sh dist

release: ## sdist, wheel, list of parts (CycloneDX) and checksums, of the last commit
	@scripts/setup.sh test
	scripts/release.sh dist

bounds:  ## tests with the lowest and the highest packages allowed; 7 GB each, from a package index
	scripts/bounds.sh

audit:   ## known weaknesses of what this package needs, where the advisory service can be reached
	@scripts/setup.sh test
	$(BIN)/python -m scripts.advisories

licences:  ## whether all that this package needs may be used commercially
	@scripts/setup.sh test
	$(BIN)/python -m scripts.licences

fuzz:    ## hostile files at every door, 200,000 of them
	@scripts/setup.sh test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --cases 200000

fuzz-guided:  ## the same, led by coverage: 15 seconds a door; Linux on x86-64
	@scripts/setup.sh test
	$(BIN)/python -m pip install --quiet -e ".[fuzz]"
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --guided --seconds 15

soak:    ## hundreds of audits in one process, and many processes at one ledger
	@scripts/setup.sh test
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.soak

clean:   ## remove everything that is made from the sources
	rm -rf .venv build dist site *.egg-info .coverage forget-audit-demo
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
