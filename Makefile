# The commands of a checkout. `make` lists them.

.DELETE_ON_ERROR:
.PHONY: help demo demo-recipe test unit lint collect mutants bench bench-restart bench-waits bench-follow bench-gap bench-alerts bench-calls bench-capacity bench-check bench-cost bench-exits bench-fleet bench-logs bench-saturated bench-spin bench-zip check-parity dist fuzz soak screenshots matrix matrix-debian clean setup-demo setup-test setup-fuzz

BIN := .venv/bin
# It is found when a recipe runs, because setup can install it just before. `exec`: a signal that ends
# make must reach the demo, and not a shell between them.
WITH_FPM = PHP_FPM="$$(scripts/php-fpm-path.sh)"

# The tests wait more than they compute, so six processes keep two cores busy. Each process gets one
# test at a time, so no process is left with the long ones (docs/adr/020).
SIDE_BY_SIDE = -n 5 --dist loadgroup --maxschedchunk 1

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: setup-demo  ## supervisord, php-fpm and the listener from supervisord.d/, until Ctrl-C
	@exec env $(WITH_FPM) $(BIN)/python -m demo.run_demo

demo-recipe: setup-demo  ## the same with the recipe of 2015; orphans keep its port
	@exec env $(WITH_FPM) $(BIN)/python -m demo.run_demo --recipe

# One process compiles all tests while mypy uses the other core: each test process would compile them.
test: setup-test  ## linters, types and all tests
	@$(MAKE) --no-print-directory --jobs=2 --output-sync lint collect
	@$(MAKE) --no-print-directory unit
	@exec env $(WITH_FPM) $(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/integration tests/conformance tests/e2e

lint: setup-test  ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

unit: setup-test  ## the pure tests only, in a few seconds
	$(BIN)/python -m pytest -q -n 2 tests/unit

# The processes that run the tests report the errors that this target finds.
collect: setup-test
	-@$(BIN)/python -m pytest -q --collect-only tests >/dev/null

mutants: setup-test  ## count the small faults in pure modules that the unit tests detect (SEED=, COUNT=)
	@$(BIN)/python -m tests.mutants

bench: setup-test  ## measurements, as ratios of one run
	@exec env $(WITH_FPM) $(BIN)/python bench/run.py

bench-restart: setup-test  ## what clients see during restarts of php-fpm
	@exec env $(WITH_FPM) $(BIN)/python bench/restart.py

bench-waits: setup-test  ## the longest wait during a restart, in terms of php-fpm's own start, part by part
	@exec env $(WITH_FPM) $(BIN)/python bench/restart_waits.py

bench-follow: setup-test  ## the CPU time of the log follower, compared with grep -cF
	@exec $(BIN)/python bench/follow.py

bench-gap: setup-test  ## requests that find no unix socket during restarts, without and with the helper
	@exec env $(WITH_FPM) $(BIN)/python bench/gap.py

bench-alerts: setup-test  ## how receivers that hang and many alerts affect other receivers
	@exec $(BIN)/python bench/alerts.py

bench-calls: setup-test  ## count the calls between modules for one event
	@exec $(BIN)/python bench/calls.py

bench-check: setup-test  ## the time of `check` for many programs, compared with supervisor's parser
	@exec $(BIN)/python bench/check.py

bench-saturated: setup-test  ## whether `saturated` is reported before clients are refused, and only then
	@exec env $(WITH_FPM) $(BIN)/python bench/saturated.py

bench-capacity: setup-test  ## the recommended number of workers, compared with what a real memory limit allows
	@exec env $(WITH_FPM) $(BIN)/python bench/capacity.py

check-parity: setup-test  ## compare `check` with `php-fpm -t` for generated configurations (SEED=, COUNT=)
	@exec env $(WITH_FPM) $(BIN)/python -m tests.check_parity $(or $(SEED),1) $(or $(COUNT),500)

dist: setup-test  ## the files of a release in dist/: wheel, sdist, and fpm-listener.pyz
	@rm -rf dist
	@SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct)" $(BIN)/python -m build --no-isolation >/dev/null
	@$(BIN)/python -m release.sdist "$$(git log -1 --format=%ct)" dist/*.tar.gz
	@$(BIN)/python -m release.build_pyz dist/fpm-listener.pyz

fuzz: setup-fuzz  ## every parser of outside input, for FUZZ_SECONDS (600); exit 1 on findings
	@exec $(BIN)/python -m tests.fuzz.run

soak: setup-test  ## 24 simulated hours and SOAK_SECONDS (600) of a real supervisord, with random faults
	@exec env $(WITH_FPM) $(BIN)/python -m tests.soak.run
	KILL_EVERYWHERE=1 $(BIN)/python -m pytest -q tests/integration/daemon/test_killed_anywhere.py

screenshots: setup-test  ## the pictures of the page in docs/images/
	$(BIN)/python -m tests.screenshots

bench-spin: setup-test  ## starts of a program that exits at once, compared with an empty listener
	@exec $(BIN)/python bench/spin.py

bench-cost: setup-test  ## the CPU and memory of an idle listener with ten pools, and its memory after scrapes and alerts
	@exec env $(WITH_FPM) $(BIN)/python bench/cost.py

bench-zip: setup-test  ## the start of the package, of the unpacked zip file, and of the zip file
	@exec $(BIN)/python bench/zip.py

bench-logs: setup-test  ## the CPU and memory of `explain --logs`, compared with grep
	@exec $(BIN)/python bench/logs.py

bench-exits: setup-test  ## exit statuses that are known without XML-RPC
	@exec $(BIN)/python bench/exits.py

bench-fleet: setup-test  ## a thousand hosts in one Prometheus, all rules loaded
	@FLEET_HOSTS=1000 $(BIN)/python -m pytest -q -s tests/e2e/test_fleet.py -k once

matrix: setup-test  ## the tests on each installed Python 3.10 to 3.14, with the newest and the oldest dependencies
	@scripts/matrix.sh

matrix-debian: setup-test  ## unit tests and one image in Debian 13 and forky with their own packages (SUITES=)
	@scripts/matrix-debian.sh

clean:  ## remove all files that these targets made; Debian packages stay
	rm -rf .venv .wheels .matrix .demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz
	find fpm_listener tests bench demo -name __pycache__ -type d -prune -exec rm -rf {} +

setup-demo:
	@scripts/setup.sh demo

setup-test:
	@scripts/setup.sh test

setup-fuzz:
	@scripts/setup.sh fuzz
