# Veneer: everything there is to build, run and test. Tests, images and the demo need root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

ARCH := $(subst aarch64,arm64,$(subst x86_64,x64,$(shell uname -m)))
# The Deno that setup fetches. `make build` also honours DENORT_BIN, the runtime that is put into the binary.
OWN_DENO := $(CURDIR)/tools/deno/node_modules/@deno/linux-$(ARCH)-glibc/deno
DENO ?= $(OWN_DENO)
# Where `make test-engines` keeps the engines that it fetches: outside the work tree, for all clones.
ENGINES ?= /var/cache/veneer/engines
PREFIX ?= /usr/local
DESTDIR ?=
# The command that the demo runs: `make demo VENEER=dist/veneer` runs it with the binary.
VENEER ?= $(DENO) run --quiet --allow-all --no-check --frozen $(CURDIR)/main.ts

SOURCES := main.ts deno.json deno.lock $(shell find deps drivers ffi lib -name '*.ts')
WORKERS := $(shell find drivers lib -name '*_worker.ts')
empty :=
space := $(empty) $(empty)
bin := $(DESTDIR)$(PREFIX)/bin
completions := $(DESTDIR)$(PREFIX)/share
manual := $(DESTDIR)$(PREFIX)/share/man/man1/veneer.1
units := $(DESTDIR)$(PREFIX)/lib/systemd/system

# The binary as a unit names it: systemd splits at blanks outside of quotes.
program := $(if $(findstring $(space),$(PREFIX)),"$(PREFIX)/bin/veneer",$(PREFIX)/bin/veneer)

export DENO

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: ## fetch Deno and install what the program, the demo and the tests need
	@tools/setup

demo: ## show layers being made, mounted, changed and diffed, on a loopback image
	@tools/setup demo
	@VENEER="$(VENEER)" tools/isolated $(DENO) run --quiet --allow-all --no-check --frozen tools/demo.ts

base.tar: ## make a small tar to try commands with
	@tools/setup demo
	@$(DENO) run --quiet --allow-all --no-check --frozen tools/demo.ts base.tar

images: root setup ## make loopback images and mount them below images/mnt: ext4, xfs, btrfs, with quotas
	@$(DENO) run --quiet --allow-all --no-check tests/runner/images.ts make images

test: root setup ## run all tests, here and under user-mode Linux
	@tools/isolated $(DENO) run --quiet --allow-all --no-check tests/runner/run.ts

test-quick: root setup ## run what takes less than 90 s: ext4 only, no guest, engine or kill
	@tools/isolated $(DENO) run --quiet --allow-all --no-check tests/runner/run.ts quick

test-long: root setup ## the same with more rounds of what is random or concurrent
	@VENEER_TEST_LONG=1 tools/isolated $(DENO) run --quiet --allow-all --no-check tests/runner/run.ts

test-engines: root setup ## run the services with newer engines, which are fetched once into $(ENGINES)
	@$(DENO) run --quiet --allow-all --no-check --frozen tools/engines.ts $(ENGINES)
	@VENEER_ENGINES=$(ENGINES) tools/isolated $(OWN_DENO) run --quiet --allow-all --no-check tests/runner/run.ts engines

smoke: root setup ## run the tests that are about the binary, and of its services, on dist/veneer
	@VENEER=$(CURDIR)/dist/veneer tools/isolated $(OWN_DENO) test --quiet --allow-all --no-check --frozen tests/cli/program_test.ts tests/cli/program_files_test.ts tests/services/calls_test.ts tests/services/docker_calls_test.ts

bench: root setup ## measure against GNU tar and other tools, as ratios
	@tools/isolated $(DENO) run --quiet --allow-all --no-check bench/main.ts

bench-quick: root setup ## the same in under three minutes, once each, for a look
	@VENEER_BENCH_QUICK=1 tools/isolated $(DENO) run --quiet --allow-all --no-check bench/main.ts overlay2 growth subvolumes ext4 btrfs

build: dist/veneer ## make the binary dist/veneer

# DENO may be another one than the project's own, which bundles. New objects get 2 MiB at most before V8 looks which are
# still used: it would take up to 64 MiB for each thread, and a service has several.
dist/veneer: $(SOURCES) tools/bundle.ts $(wildcard tools/guard/*)
	@DENO= tools/setup build
	@$(OWN_DENO) run --quiet --allow-all --no-check --frozen tools/bundle.ts dist/js
	$(DENO) compile --quiet --no-check --no-config --no-code-cache --allow-all --v8-flags=--max-semi-space-size=2 $(WORKERS:%.ts=--include dist/js/%.js) --output dist/veneer dist/js/main.js
	@tools/guard/build dist/veneer

docs: ## write the manual page and the pages below docs/ that tables of the program make
	@tools/setup demo
	@$(DENO) run --quiet --allow-all --no-check --frozen tools/docs.ts

captures: root setup ## write docs/terminal.md from a real session in a terminal
	@tools/isolated $(DENO) run --quiet --allow-all --no-check --frozen tools/captures.ts

install: build ## install the binary, its manual page, completions and systemd units below $(DESTDIR)$(PREFIX)
	install -D -m 755 dist/veneer "$(bin)/veneer"
	install -D -m 644 docs/veneer.1 "$(manual)"
	install -d "$(units)"
	dist/veneer config systemd | sed 's|^ExecStart=[^ ]*|ExecStart=$(program)|' >"$(units)/veneer-containerd.service"
	dist/veneer config systemd --for docker | sed 's|^ExecStart=[^ ]*|ExecStart=$(program)|' >"$(units)/veneer-docker.service"
	install -d "$(completions)/bash-completion/completions" "$(completions)/zsh/site-functions" "$(completions)/fish/vendor_completions.d"
	dist/veneer completions bash >"$(completions)/bash-completion/completions/veneer"
	dist/veneer completions zsh >"$(completions)/zsh/site-functions/_veneer"
	dist/veneer completions fish >"$(completions)/fish/vendor_completions.d/veneer.fish"

deb: build ## make a Debian package of that, dist/veneer_*.deb
	@$(OWN_DENO) run --quiet --allow-all --no-check --frozen tools/deb.ts

uninstall: ## remove what install put below $(DESTDIR)$(PREFIX); stores and /etc/veneer stay
	rm -f "$(bin)/veneer" "$(manual)" "$(units)/veneer-containerd.service" "$(units)/veneer-docker.service" \
	  "$(completions)/bash-completion/completions/veneer" "$(completions)/zsh/site-functions/_veneer" \
	  "$(completions)/fish/vendor_completions.d/veneer.fish"

clean: ## unmount and remove the images, remove dist
	@[ ! -d images ] || $(DENO) run --quiet --allow-all --no-check tests/runner/images.ts clean images
	rm -rf dist

root:
	@[ "$$(id -u)" = 0 ] || { echo "this needs root, for mounts and loop devices: run it with sudo" >&2; exit 1; }

.PHONY: help setup demo images test test-quick test-long test-engines smoke bench bench-quick build docs captures install deb uninstall clean root
