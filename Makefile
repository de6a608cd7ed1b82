# Everything a developer or packager runs. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export PATH := /usr/local/go/bin:$(PATH)

PREFIX ?= /usr/local
DESTDIR ?=
FUZZTIME ?= 30s
SOAKTIME ?= 10m

.DEFAULT_GOAL := build
.PHONY: build demo test race lint cover integration oracle oracle-go fuzz soak certify bench servers deps clean help install

build: ## Build bin/kmsfs
	go build -trimpath -o bin/kmsfs ./cmd/kmsfs

demo: ## Watch kmsfs work on real files; installs what is missing, needs no AWS account
	@start=$$SECONDS; scripts/deps demo; $(MAKE) --no-print-directory build; \
	echo "set up and built in $$((SECONDS - start)) s (much longer the first time on a machine)"; \
	start=$$SECONDS; bin/kmsfs demo; \
	echo "the demo took $$((SECONDS - start)) s"

test: ## Run what CI runs, but the third-party servers: from a fresh machine to the demo
	@.ci/run --no-servers

race: deps ## Run the unit tests with the race detector
	go test -race -timeout 10m $$(go list ./... | grep -v /integration)

lint: deps ## Format, vet, staticcheck, tidy, cross builds
	@scripts/lint

cover: deps ## Show how much of each function the unit tests run
	go test -coverprofile=cover.out -timeout 10m $$(go list ./... | grep -v /integration)
	go tool cover -func=cover.out

integration: deps servers ## Run the end-to-end tests, also on MinIO and versitygw
	go test -race -count=1 -timeout 30m ./integration/...

oracle: deps ## Let AWS's Encryption SDK for JavaScript open what a mount sealed, and the other way
	go test -race -count=1 -run TestJavaScript ./integration/oracle

oracle-go: deps ## The same with AWS's Encryption SDK for Go; building that takes a minute or two
	nice go -C integration/oracle/goesdk build -o $(CURDIR)/.bin/goesdk .
	nice go -C integration/oracle/goesdk vet .
	go test -count=1 -tags goesdk -run TestGo ./integration/oracle

servers: deps ## Build the third-party servers of the integration tests into .bin
	@scripts/servers

fuzz: deps ## Fuzz every target for FUZZTIME (30s)
	@scripts/fuzz $(FUZZTIME)

soak: deps ## Random programs, crashes and load for SOAKTIME (10m) each, real outages, and what is large: hours, and 45 GB below TMPDIR
	KMSFS_TEST_MODE='sse envelope' KMSFS_TEST_MODEL_TIME=$(SOAKTIME) go test -v -count=1 -timeout 90m -run TestModel ./integration/posix
	KMSFS_TEST_LARGE_MIB=1024 go test -count=1 -timeout 30m -run TestRequests ./integration
	KMSFS_TEST_CRASH_TIME=$(SOAKTIME) go test -count=1 -timeout 90m -run TestRandomMoments ./integration/crash
	for mode in sse envelope both; do \
		KMSFS_TEST_MODE=$$mode go test -count=1 -timeout 60m -run 'TestEveryRequest|TestRecovery' ./integration/crash; \
		KMSFS_TEST_MODE=$$mode KMSFS_TEST_OUTAGE=60s go test -count=1 -timeout 30m ./integration/faults; \
	done
	KMSFS_TEST_MODE='sse envelope' KMSFS_TEST_LOAD_TIME=$(SOAKTIME) KMSFS_TEST_LOAD_FILES=100000 KMSFS_TEST_LOAD_OPEN=10000 KMSFS_TEST_LOAD_GIB=100 \
		go test -v -count=1 -timeout 180m ./integration/load
	KMSFS_TEST_MODE='sse envelope both' KMSFS_TEST_BACKUP_MIB=5120 go test -v -count=1 -timeout 12h -run TestBackup ./integration/backup

certify: deps servers ## Run the backup programs in every mode on every server; writes docs/COMPATIBILITY.log and the table made from it
	rm -f docs/COMPATIBILITY.log
	KMSFS_TEST_BACKUP_LOG=$(CURDIR)/docs/COMPATIBILITY.log KMSFS_TEST_MODE='sse envelope both' \
		go test -count=1 -timeout 300m -run TestBackup ./integration/backup ./integration/thirdparty
	KMSFS_TEST_UPDATE=1 go test -count=1 -run TestTable ./integration/backup

bench: deps servers ## Measure against the SDK alone on MinIO, all files on tmpfs
	@dir=$$(mktemp -d /dev/shm/kmsfs-bench-XXXXXX); trap 'rm -rf "$$dir"' EXIT; \
	TMPDIR=$$dir go test -run '^$$' -bench . -benchtime 1x -timeout 30m ./integration/bench

install: build ## Install the binary, the mount helper and the systemd unit below PREFIX
	DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) sh packaging/install.sh bin/kmsfs

deps: ## Install what building and testing need and this machine lacks
	@scripts/deps

clean: ## Remove what was built
	rm -rf bin .bin cover.out integration/oracle/js/node_modules

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
