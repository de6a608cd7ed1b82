# packages: tar gzip
# version: tar --version
# certifies: --verify while writing, --compare after a remount, --listed-incremental full, incremental and restored, -r on an archive of the mount, -z
tar() { command tar --numeric-owner --xattrs "$@"; }

store() {
	change
	mv "$SCRATCH/changed" "$SCRATCH/after"
	cp -a "$DATA" "$SCRATCH/tree"
	cd "$SCRATCH"
	# Written, and read again by tar itself.
	tar --create --verify --file "$MOUNT/verified.tar" tree
	tar -czf "$MOUNT/zipped.tar.gz" tree
	gzip -t "$MOUNT/zipped.tar.gz"
	# A full archive, then the changes; the list of what was seen is on the mount, too.
	tar --listed-incremental="$MOUNT/list" -cf "$MOUNT/full.tar" tree
	rsync -aX --delete after/ tree/
	tar --listed-incremental="$MOUNT/list" -cf "$MOUNT/changes.tar" tree
	tar -tf "$MOUNT/changes.tar" >changes
	grep -qx tree/big/new changes
	fails grep -qx tree/big/text-0 changes
	# Archives are continued where they lie, by files small and large.
	tar -cf "$MOUNT/grown.tar" -C tree/small renamed
	tar -rf "$MOUNT/grown.tar" -C "$DATA" big/text-0
	tar -rf "$MOUNT/grown.tar" -C "$DATA" odd deep
}

check() {
	mkdir "$SCRATCH/zipped" "$SCRATCH/restored" "$SCRATCH/grown"
	tar -xpf "$MOUNT/zipped.tar.gz" -C "$SCRATCH/zipped"
	same "$DATA" "$SCRATCH/zipped/tree"
	tar --compare --file "$MOUNT/verified.tar" -C "$SCRATCH/zipped"
	rm -r "$SCRATCH/zipped"
	# The incremental restore removes what was gone.
	tar --listed-incremental=/dev/null -xpf "$MOUNT/full.tar" -C "$SCRATCH/restored"
	same "$DATA" "$SCRATCH/restored/tree"
	tar --listed-incremental=/dev/null -xpf "$MOUNT/changes.tar" -C "$SCRATCH/restored"
	same "$SCRATCH/tree" "$SCRATCH/restored/tree"
	tar -rf "$MOUNT/grown.tar" -C "$DATA" empty\ directory
	tar -xpf "$MOUNT/grown.tar" -C "$SCRATCH/grown"
	same "$SCRATCH/tree/small/renamed" "$SCRATCH/grown/renamed"
	for d in odd deep empty\ directory; do same "$DATA/$d" "$SCRATCH/grown/$d"; done
	cmp "$DATA/big/text-0" "$SCRATCH/grown/big/text-0"
	# An archive that is cut says so.
	head -c 1000000 "$MOUNT/verified.tar" >"$MOUNT/cut.tar"
	fails tar -tf "$MOUNT/cut.tar"
}
