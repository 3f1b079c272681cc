# What the README names. Each target first installs the Debian packages it needs where it may, else names them.
SHELL := /bin/sh
CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
OUT := $(or $(CARGO_TARGET_DIR),target)
# Seconds for each target of `make fuzz`.
FUZZ_SECONDS ?= 30
# Seconds of `make soak`, and its first seed.
SOAK_SECONDS ?= 60
SOAK_FROM ?= 1000

.PHONY: help demo test lint bench fuzz soak build install uninstall

help:
	@echo "make demo      the lab of examples/proxmox-ui.kdl: a cluster in namespaces, its holder killed, under a minute, no root"
	@echo "make test      format, lints, every test, licences: what CI runs, no root"
	@echo "make bench     hactl against keepalived in the same namespaces, in one run (QUICK=1: fewer rounds; ROWS=cut,move,hard,footprint: a part)"
	@echo "make fuzz      packet decoder, router, configuration and control socket, FUZZ_SECONDS=30 each; wants a nightly toolchain"
	@echo "make soak      simulated bad days of drawn clusters for SOAK_SECONDS=60 seconds, from seed SOAK_FROM on"
	@echo "make install   binary and systemd unit under PREFIX=/usr/local (DESTDIR honoured)"

demo:
	@tools/needs build net
	$(CARGO) build --locked --profile demo -p hactl
	$(OUT)/demo/hactl lab examples/proxmox-ui.kdl --script examples/lab/failover.script

test:
	@tools/needs build net peers
	@$(MAKE) --no-print-directory lint
	$(CARGO) test --locked --workspace --no-run
	tools/in-namespaces $(CARGO) test --locked --offline --workspace --no-fail-fast

lint:
	@tools/needs build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

bench:
	@tools/needs build net keepalived
	$(CARGO) build --locked --release -p hactl
	$(CARGO) bench --locked -p hactl --bench failover --no-run
	QUICK=$(QUICK) JSON=$(JSON) ROWS='$(ROWS)' tools/in-namespaces $(CARGO) bench --locked --offline -p hactl --bench failover

# libFuzzer itself rather than cargo-fuzz: nothing to install beside a nightly toolchain.
fuzz:
	@tools/needs build cxx
	FUZZ_SECONDS=$(FUZZ_SECONDS) tools/fuzz packet router kdl control

soak:
	@tools/needs build
	$(CARGO) run --locked --release -q -p hactl-model --example soak -- $(SOAK_SECONDS) $(SOAK_FROM)

build:
	@tools/needs build
	$(CARGO) build --locked --release -p hactl

install: build
	install -D -m 0755 $(OUT)/release/hactl $(DESTDIR)$(PREFIX)/sbin/hactl
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@sbindir@|$(PREFIX)/sbin|' systemd/hactl.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/hactl.service
	@echo "installed; put the cluster's file at /etc/hactl/ha.kdl, then: systemctl daemon-reload && systemctl enable --now hactl"

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/hactl $(DESTDIR)$(PREFIX)/lib/systemd/system/hactl.service
