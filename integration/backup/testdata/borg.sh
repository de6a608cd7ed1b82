# packages: borgbackup
# version: borg --version
# certifies: init with encryption, create, second create, check --verify-data, prune, compact, extract, locks: two at once exclude each other, break-lock after a kill
export BORG_REPO=$MOUNT/repository BORG_PASSPHRASE=test BORG_BASE_DIR=$SCRATCH BORG_CHECK_I_KNOW_WHAT_I_AM_DOING=no

lock=$MOUNT/repository/lock.exclusive

# held: has a borg hold the lock until let_go.
held() {
	rm -f "$SCRATCH/pipe" && mkfifo "$SCRATCH/pipe"
	borg create ::held - <"$SCRATCH/pipe" &
	holder=$!
	exec 9>"$SCRATCH/pipe"
	until_true test -d "$lock"
}

# known_times DIR: borg knows no times before 1970 and after 2038, and changes them.
known_times() { find "$1" \( ! -newermt @0 -o -newermt @2147483646 \) -exec touch -hd @1000000000 {} +; }

extracted() { # ARCHIVE DIR
	mkdir "$SCRATCH/extracted" && cd "$SCRATCH/extracted"
	borg extract "::$1"
	same "$2" "$SCRATCH/extracted$2"
	cd "$SCRATCH" && rm -r "$SCRATCH/extracted"
}

store() {
	borg init --encryption repokey
	cp -a "$DATA" "$SCRATCH/tree"
	known_times "$SCRATCH/tree"
	borg create --compression lz4 ::one "$SCRATCH/tree"
	change
	known_times "$SCRATCH/changed"
	borg create --compression lz4 ::two "$SCRATCH/changed"
	# The lock is a directory that is renamed into place: onto another that is not empty that fails.
	mkdir "$MOUNT/mine" "$MOUNT/theirs"
	touch "$MOUNT/mine/a" "$MOUNT/theirs/b"
	fails python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$MOUNT/mine" "$MOUNT/theirs" 2>"$SCRATCH/refused"
	grep -q 'Directory not empty' "$SCRATCH/refused"
	[ "$(cd "$MOUNT" && find mine theirs -type f | sort | tr '\n' ' ')" = 'mine/a theirs/b ' ]
	# One that holds the lock shuts the others out; then each of two at once has its turn.
	held
	fails borg --lock-wait 1 create ::refused "$DATA/small" 2>"$SCRATCH/refused"
	grep -q 'Failed to create/acquire the lock' "$SCRATCH/refused"
	echo end >&9
	exec 9>&-
	wait $holder
	borg --lock-wait 60 create ::first "$DATA/small" &
	first=$!
	borg --lock-wait 60 create ::second "$DATA/odd" &
	wait $! $first
	wait $first
	[ "$(borg list --short | sort | tr '\n' ' ')" = 'first held one second two ' ]
	# Killed: its lock stays.
	held
	kill -KILL $holder
	exec 9>&-
	fails wait $holder
	[ "$(find "$lock" -type f | wc -l)" = 1 ]
}

check() {
	[ "$(find "$lock" -type f | wc -l)" = 1 ]
	# Another host cannot know that it is stale.
	fails env BORG_HOST_ID=another borg --lock-wait 1 list 2>"$SCRATCH/refused"
	grep -q 'Failed to create/acquire the lock' "$SCRATCH/refused"
	BORG_HOST_ID=another borg break-lock
	[ ! -d "$lock" ]
	[ "$(borg list --short | sort | tr '\n' ' ')" = 'first held one second two ' ]
	borg check --verify-data
	extracted one "$SCRATCH/tree"
	before=$(du -s --apparent-size "$BORG_REPO/data" | cut -f1)
	borg delete ::first second held
	borg prune --keep-last 1
	borg compact
	[ "$(du -s --apparent-size "$BORG_REPO/data" | cut -f1)" -lt "$before" ]
	[ "$(borg list --short)" = two ]
	borg check --verify-data
	extracted two "$SCRATCH/changed"
	# A repository that lost a segment is not called whole.
	rm "$(find "$BORG_REPO/data" -type f -size +100k -print -quit)"
	fails borg check
}
