# packages: restic
# version: restic version
# certifies: init, backup, incremental backup, check --read-data, forget and prune, restore, a stale lock found and removed, a live one respected; a mount as the source
export RESTIC_REPOSITORY=$MOUNT/repository RESTIC_PASSWORD=test RESTIC_CACHE_DIR=$SCRATCH/cache

# locks: those that are there, not what restic is writing still.
locks() { find "$RESTIC_REPOSITORY/locks" -type f ! -name '*-tmp-*'; }

# held: has a backup hold its lock. Its input does not end before let_go.
held() {
	rm -f "$SCRATCH/pipe" && mkfifo "$SCRATCH/pipe"
	restic backup -q --stdin <"$SCRATCH/pipe" &
	holder=$!
	exec 9>"$SCRATCH/pipe"
	until_true locked
}

locked() { [ "$(locks | wc -l)" = 1 ]; }

# let_go: the input of the holder ends.
let_go() { echo end >&9; exec 9>&-; wait $holder; }

store() {
	cp -a "$DATA" "$MOUNT/source"
	restic init
	restic backup --host one --json "$DATA" | tail -1 | grep -o '"snapshot_id":"[^"]*"' | cut -d'"' -f4 >"$SCRATCH/id"
	change
	restic backup --host two --json "$SCRATCH/changed" | tail -1 >"$SCRATCH/summary"
	grep -q '"message_type":"summary"' "$SCRATCH/summary"
	fails grep -q '"data_added":0,' "$SCRATCH/summary"
	restic backup --host two --json "$SCRATCH/changed" | tail -1 | grep '"files_new":0,"files_changed":0,'
	# A live lock: what wants the repository for itself is refused, and unlock leaves it alone.
	held
	fails restic prune 2>"$SCRATCH/refused"
	grep -q 'already locked' "$SCRATCH/refused"
	restic unlock
	locked
	let_go
	[ -z "$(locks)" ]
	# Killed: the lock stays, and is found over the remount.
	held
	kill -KILL $holder
	exec 9>&-
	fails wait $holder
	locked
}

check() {
	fails restic prune 2>"$SCRATCH/refused"
	grep -q 'already locked' "$SCRATCH/refused"
	restic unlock
	[ -z "$(locks)" ]
	restic check --read-data
	restic restore latest --host one --target "$SCRATCH/one" --verify
	same "$DATA" "$SCRATCH/one$DATA"
	rm -r "$SCRATCH/one"
	# What only the forgotten snapshot had is gone, and the rest is whole.
	before=$(du -s --apparent-size "$RESTIC_REPOSITORY/data" | cut -f1)
	restic forget --prune "$(cat "$SCRATCH/id")"
	[ "$(du -s --apparent-size "$RESTIC_REPOSITORY/data" | cut -f1)" -lt "$before" ]
	restic check --read-data
	restic restore latest --host two --target "$SCRATCH/two" --verify
	same "$SCRATCH/changed" "$SCRATCH/two$SCRATCH/changed"
	rm -r "$SCRATCH/two"
	# A repository that lost a file is not called whole. The largest: restic would look for directories again and again.
	rm "$(find "$RESTIC_REPOSITORY/data" -type f -printf '%s %p\n' | sort -n | tail -1 | cut -d' ' -f2-)"
	fails restic check
	# A mount is backed up as any directory.
	restic -r "$SCRATCH/local" init
	restic -r "$SCRATCH/local" backup "$MOUNT/source"
	restic -r "$SCRATCH/local" restore latest --target "$SCRATCH/three" --verify
	same "$DATA" "$SCRATCH/three$MOUNT/source"
}
