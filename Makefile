# Two commands: `make run` runs the main job, `make test` passes the tests. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# `make testbeds test` also tests what needs EnOSlib.
.PHONY: run test test-computing test-waiting testbeds docs reference lint install install-test apt-extras sbom audit clean

run: $(VENV)/.installed
	$(BIN)/estran run examples/visual-inspection/experiment.yaml

test: export ESTRAN_TESTBEDS := $(CURDIR)/$(VENV)/testbeds
test: $(VENV)/.installed-test apt-extras
	$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint test-waiting test-computing
	$(BIN)/pytest -m alone

# What waits leaves processors idle, and what computes takes those only: it gives way, and what it shows does not depend on time.
test-computing:
	nice -n 19 $(BIN)/pytest -n 2 --dist loadscope -m 'not waiting and not alone'

test-waiting:
	$(BIN)/pytest -n 2 --dist loadscope -m waiting

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/pip pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[examples,optimize]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test]'
	# Asks for an older rich than Estran, without need; what else it needs is in the extra.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps 'roc-validator>=0.13,<0.14'
	touch $@

# The site, into site/; its index.html opens from there.
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(VENV)/.installed-test
	$(BIN)/mkdocs build --strict --quiet

# Pages of the reference that follow from code and schema.
reference: $(VENV)/.installed-test
	$(BIN)/python docs/generate.py

# EnOSlib, apart from all else: without it, tests that need it are skipped with the reason.
testbeds: $(VENV)/testbeds
$(VENV)/testbeds: $(VENV)/.installed-test
	ESTRAN_TESTBEDS=$(CURDIR)/$@ $(BIN)/estran testbeds install --with iotlab,chameleon,vagrant

# What is installed: as CycloneDX, and by licence; the GPL in other extras than those that may have it is an error.
sbom: $(VENV)/audit
	$(VENV)/audit/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --mc-type application \
		--output-file sbom.json $(BIN)/python
	$(BIN)/python .ci/licences.py

# Known holes in what is installed. Needs an index that tells of them; AUDIT=--where-possible passes without one, and says so.
audit: $(VENV)/audit
	$(BIN)/python .ci/audit.py $(VENV)/audit/bin/pip-audit $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') $(AUDIT)

$(VENV)/audit: $(VENV)/.installed-test
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7,<8' 'pip-audit>=2.9,<3'

# Programs that some tests need; without root those tests are skipped with the reason.
apt-extras:
	@sh tests/apt-extras.sh

clean:
	-$(BIN)/estran clean
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
