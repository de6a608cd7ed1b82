# packages: duplicity gnupg
# version: duplicity --version
# certifies: full, incremental, verify --compare-data, restore (all, one file, an older time), collection-status, cleanup, remove-older-than; gpg (symmetric) and --no-encryption

# dup COMMAND...: duplicity with its cache in SCRATCH, encrypted unless PLAIN.
dup() {
	export GNUPGHOME=$SCRATCH/gnupg PASSPHRASE=correct-horse
	mkdir -p "$GNUPGHOME" "$SCRATCH/tmp"
	chmod 700 "$GNUPGHOME"
	# bzip2 of noise would be half of the time.
	duplicity "$@" --archive-dir "$SCRATCH/cache" --tempdir "$SCRATCH/tmp" --volsize $((SIZE_MIB / 4)) --no-print-statistics \
		--gpg-options '--compress-algo=none --s2k-count=65536' ${PLAIN:+--no-encryption} -v 2
}

# no_agent ends the gpg-agent that gpg began in SCRATCH.
no_agent() { GNUPGHOME=$SCRATCH/gnupg gpgconf --kill all 2>/dev/null || true; }

# began prints when the last full backup began, which only its name tells.
began() {
	local full=("$MOUNT"/gpg/duplicity-full.*.manifest.gpg)
	sed -E 's/.*full\.(....)(..)(..)T(..)(..)(..)Z.*/\1-\2-\3T\4:\5:\6+00:00/' <<<"${full[-1]}"
}

store() {
	trap no_agent EXIT
	cp -a "$DATA" data
	dup full data "file://$MOUNT/gpg"
	PLAIN=yes dup full data "file://$MOUNT/plain"
	cp -a data first

	# What changed: a part in a big file, some gone, some new, a mode.
	head -c 70000 /dev/urandom | dd of=data/big/noise-0 bs=1000 seek=100 conv=notrunc status=none
	find data -type f -name '*7' -delete
	mkdir data/added
	cp data/big/text-0 data/added/copy
	chmod 0700 data/added
	dup incremental data "file://$MOUNT/gpg"
	PLAIN=yes dup incremental data "file://$MOUNT/plain"
	dup verify --compare-data "file://$MOUNT/gpg" data

	# A backup that breaks off leaves what cleanup removes.
	touch "$MOUNT/gpg/duplicity-inc.20200101T000000Z.to.20200102T000000Z.vol1.difftar.gpg"
	dup cleanup --force "file://$MOUNT/gpg"
	[ ! -e "$MOUNT"/gpg/duplicity-inc.20200101T000000Z.to.20200102T000000Z.vol1.difftar.gpg ]
}

check() {
	trap no_agent EXIT
	dup verify --compare-data "file://$MOUNT/gpg" data
	PLAIN=yes dup verify --compare-data "file://$MOUNT/plain" data
	rm -rf cache # another machine: everything from the mount
	dup restore "file://$MOUNT/gpg" restored
	diff -r --no-dereference data restored
	PLAIN=yes dup restore "file://$MOUNT/plain" restored.plain
	diff -r --no-dereference data restored.plain
	dup restore --file-to-restore added/copy "file://$MOUNT/gpg" copy
	cmp copy data/added/copy
	dup restore --time "$(began)" "file://$MOUNT/gpg" restored.first
	diff -r --no-dereference first restored.first

	# A second chain; the first one goes.
	dup full data "file://$MOUNT/gpg"
	dup remove-older-than "$(began)" --force "file://$MOUNT/gpg"
	[ "$(find "$MOUNT/gpg" -name '*full*manifest*' | wc -l)" = 1 ]
	[ "$(find "$MOUNT/gpg" -name '*inc*' | wc -l)" = 0 ]
	dup verify --compare-data "file://$MOUNT/gpg" data
}
