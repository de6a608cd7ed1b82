# packages: gzip zstd coreutils
# version: zstd --version
# certifies: dumps through gzip and zstd into cat, tee, split and dd (conv=fsync, conv=notrunc, oflag=sync, direct, append), appends by several shells

# dump prints SIZE_MIB MiB as mysqldump would: the same ones each time.
dump() {
	awk -v n=$((SIZE_MIB * 4096)) 'BEGIN {
		srand(7)
		for (i = 0; i < n; i++)
			printf "INSERT INTO t VALUES (%09d,%.12f,%.12f,%c%0193d%c);\n", i, rand(), rand(), 39, rand() * 1e9, 39
	}'
}

store() {
	cd "$MOUNT"
	dump >"$SCRATCH/dump"
	local bytes
	bytes=$(stat -c %s "$SCRATCH/dump")

	dump | cat >plain
	dump | gzip -1 >gzip.gz
	dump | zstd -q -T2 | cat >zstd.zst
	dump | zstd -q | tee tee.zst >tee2.zst
	dump | tee -a teed | gzip -1 | cat >teed.gz
	dump | split -b 1M -a 4 --additional-suffix=.part - split.
	dump | split -b 2M -a 4 --filter='gzip -1 >"$FILE.gz"' - filter.
	dump | dd of=fsync bs=64k iflag=fullblock conv=fsync status=none
	dump | dd of=fdatasync bs=1M iflag=fullblock conv=fdatasync status=none
	head -c 1M "$SCRATCH/dump" | dd of=sync bs=256k iflag=fullblock oflag=sync status=none
	dd if="$SCRATCH/dump" of=direct bs=1M oflag=direct status=none
	dd if="$SCRATCH/dump" of=short bs=100000 conv=fsync status=none # no power of two, an odd end
	dump | dd of=seek bs=64k iflag=fullblock seek=16 status=none

	# A tape's way: one file, written in slices, the last of them first.
	local at=$((bytes / 65536))
	for (( ; at >= 0; at -= 32)); do
		dd if="$SCRATCH/dump" of=slices bs=64k skip=$((at > 31 ? at - 31 : 0)) seek=$((at > 31 ? at - 31 : 0)) \
			count=32 conv=notrunc status=none
	done
	# A block is replaced in what is finished, and put back.
	cp plain patched
	dd if=/dev/urandom of=patched bs=4k seek=100 count=3 conv=notrunc,fsync status=none
	fails cmp -s patched plain
	dd if="$SCRATCH/dump" of=patched bs=4k skip=100 seek=100 count=3 conv=notrunc status=none

	# Several shells one after the other, then at the same time.
	split -n l/16 -a 2 "$SCRATCH/dump" "$SCRATCH/lines."
	local f
	for f in "$SCRATCH"/lines.*; do
		bash -c 'cat "$1" >>appended' - "$f"
		dd if="$f" of=appended.dd bs=64k oflag=append conv=notrunc status=none
	done
	(
		for f in "$SCRATCH"/lines.*; do
			for _ in 1 2; do # what is one write with O_APPEND stays together
				dd if="$f" of=together bs=4k count=1 oflag=append conv=notrunc status=none &
			done
		done
		wait
	)
	sha256sum "$SCRATCH/dump" | sed 's/ .*/  -/' >"$SCRATCH/sum"
	sha256sum -- * >"$SCRATCH/sums"
	cp "$SCRATCH/sums" SHA256SUMS
	rm "$SCRATCH"/lines.*
}

check() {
	cd "$MOUNT"
	sha256sum --quiet -c "$SCRATCH/sums"
	sha256sum --quiet -c SHA256SUMS
	local f
	for f in plain teed fsync fdatasync direct short slices patched appended appended.dd; do
		cmp "$SCRATCH/dump" "$f"
	done
	for f in gzip.gz teed.gz; do zcat "$f" | cmp - "$SCRATCH/dump"; done
	for f in zstd.zst tee.zst tee2.zst; do zstd -dcq "$f" | cmp - "$SCRATCH/dump"; done
	cat split.*.part | sha256sum -c --quiet "$SCRATCH/sum"
	zcat filter.*.gz | sha256sum -c --quiet "$SCRATCH/sum"
	cmp -n 1048576 sync "$SCRATCH/dump"
	[ "$(stat -c %s sync)" = 1048576 ]
	dd if=seek bs=64k skip=16 status=none | cmp - "$SCRATCH/dump"
	cmp -n 1048576 seek /dev/zero
	# Each block of the appends at the same time is there twice and whole.
	split -n l/16 -a 2 --filter='head -c 4096 | sha256sum' "$SCRATCH/dump" | sort >"$SCRATCH/want"
	split -b 4096 --filter=sha256sum together | sort | uniq -c | awk '$1 == 2 { print $2 "  -" }' | cmp - "$SCRATCH/want"
	[ "$(stat -c %s together)" = $((32 * 4096)) ]
}
