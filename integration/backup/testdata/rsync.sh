# packages: rsync
# version: rsync --version
# certifies: -aHAX --delete, a second run that transfers nothing, --inplace, --append-verify, --partial after a kill, -n -c -i after a remount; hard links and ACLs in the source
tree=$MOUNT/tree

# transferred TEXT COMMAND...: rsync transfers so many files.
transferred() {
	local want=$1
	shift
	rsync --stats --numeric-ids "$@" >"$SCRATCH/stats"
	grep -q "^Number of regular files transferred: $want\$" "$SCRATCH/stats" || {
		cat "$SCRATCH/stats" >&2
		return 1
	}
}

arrives() { [ -n "$(find "$MOUNT" -maxdepth 1 -name '.cut.*' -size +0)" ]; }

# acl FILE, capability FILE: sets an attribute that a mount does not have.
acl() {
	python3 - "$1" <<-'P'
		import os, struct, sys
		entries = [(1, 6, -1), (2, 6, 1234), (4, 4, -1), (16, 6, -1), (32, 4, -1)] # user::rw-, user:1234:rw-, group::r--, mask::rw-, other::r--
		os.setxattr(sys.argv[1], 'system.posix_acl_access', struct.pack('<I', 2) + b''.join(struct.pack('<HHi', *e) for e in entries))
	P
}
capability() {
	python3 -c 'import os, sys; os.setxattr(sys.argv[1], "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))' "$1"
}

# not_kept DIR ERROR: rsync -aHAX says that it cannot keep all of DIR, and ends
# with 23.
not_kept() {
	local status=0
	rsync -aHAX "$SCRATCH/$1/" "$MOUNT/$1/" 2>"$SCRATCH/said" || status=$?
	cat "$SCRATCH/said"
	[ $status = 23 ]
	grep -q "$2" "$SCRATCH/said"
}

store() {
	rsync -aHAX --delete --numeric-ids "$DATA/" "$tree/"
	transferred 0 -aHAX --delete "$DATA/" "$tree/"
	change
	transferred '[1-9][0-9]*' -aHAX --delete "$SCRATCH/changed/" "$tree/"
	[ ! -e "$tree/small/00" ]
	[ ! -e "$tree/small/01" ]
	transferred 0 -aHAX --delete "$SCRATCH/changed/" "$tree/"

	# A large file that changed in its middle is changed there; one that grew is continued.
	printf 'changed again' | dd of="$SCRATCH/changed/big/noise-0" bs=1 seek=2000000 conv=notrunc status=none
	touch -d 2021-01-01 "$SCRATCH/changed/big/noise-0" # its size is the same, and the second may be
	transferred 1 -aHAX --inplace --no-whole-file "$SCRATCH/changed/" "$tree/"
	sent=$(sed -n 's/^Literal data: \([0-9,]*\) bytes$/\1/p' "$SCRATCH/stats" | tr -d ,)
	[ "$sent" -gt 0 ]
	[ "$sent" -lt 200000 ]
	cmp "$SCRATCH/changed/big/noise-0" "$tree/big/noise-0"
	head -c 700000 /dev/urandom >>"$SCRATCH/changed/big/text-0"
	transferred 1 -aHAX --append-verify "$SCRATCH/changed/" "$tree/"
	grep -q '^Literal data: 700,000 bytes$' "$SCRATCH/stats"
	cmp "$SCRATCH/changed/big/text-0" "$tree/big/text-0"

	# Killed: what had come stays as a partial file, and is continued.
	rsync -a --partial --partial-dir=.part --bwlimit=1m "$DATA/big/noise-0" "$MOUNT/cut" &
	copying=$!
	until_true arrives
	kill -TERM $copying
	fails wait $copying
	until_true test -s "$MOUNT/.part/cut"
	until_true fails arrives
	[ ! -e "$MOUNT/cut" ]
	rsync -a --partial-dir=.part "$DATA/big/noise-0" "$MOUNT/cut"
	cmp "$DATA/big/noise-0" "$MOUNT/cut"
	[ ! -e "$MOUNT/.part" ]

	# What a mount cannot keep is said; without -H hard links become copies.
	mkdir "$SCRATCH/linked" "$SCRATCH/acls" "$SCRATCH/capabilities"
	cp "$DATA/big/text-0" "$SCRATCH/linked/a"
	ln "$SCRATCH/linked/a" "$SCRATCH/linked/b"
	rsync -a "$SCRATCH/linked/" "$MOUNT/copied/"
	diff -r "$SCRATCH/linked" "$MOUNT/copied"
	not_kept linked 'link .* failed: Operation not permitted'
	[ "$(ls "$MOUNT/linked" | wc -l)" = 1 ] # rsync has no other way with -H
	echo acl >"$SCRATCH/acls/file"
	acl "$SCRATCH/acls/file"
	not_kept acls 'Operation not supported'
	cmp "$SCRATCH/acls/file" "$MOUNT/acls/file"
	echo capability >"$SCRATCH/capabilities/file"
	capability "$SCRATCH/capabilities/file"
	not_kept capabilities 'Operation not supported'
	cmp "$SCRATCH/capabilities/file" "$MOUNT/capabilities/file"
}

check() {
	[ -z "$(rsync -aHAXnci --delete --numeric-ids "$SCRATCH/changed/" "$tree/")" ]
	[ -z "$(rsync -aHAXnci --delete --numeric-ids "$tree/" "$SCRATCH/changed/")" ]
	transferred 0 -aHAX --delete "$SCRATCH/changed/" "$tree/"
	diff -r "$SCRATCH/linked" "$MOUNT/copied"
	# Back from the mount.
	rsync -aHAX --numeric-ids "$tree/" "$SCRATCH/restored/"
	same "$SCRATCH/changed" "$SCRATCH/restored"
	transferred '[1-9][0-9]*' -aHAX --delete "$DATA/" "$tree/"
	same "$DATA" "$tree"
}
