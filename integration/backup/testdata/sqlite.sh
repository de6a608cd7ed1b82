# packages: sqlite3
# version: sqlite3 --version
# certifies: .backup, VACUUM INTO, .dump, .restore; live databases in WAL and DELETE mode whose writer is killed, then PRAGMA integrity_check

# rows prints what a database holds, in one form.
rows() { sqlite3 "$1" "SELECT id, length(body), hex(substr(body, 1, 8)) FROM t ORDER BY id" | sha256sum; }

whole() {
	local said
	said=$(sqlite3 "$1" "PRAGMA integrity_check")
	[ "$said" = ok ] || {
		echo "$1: $said" >&2
		return 1
	}
}

# killed NAME JOURNAL: a writer that commits and notes each commit, locally,
# when it is over; killed in the middle of a transaction.
killed() {
	local db=$MOUNT/$1 noted=$SCRATCH/$1.noted pid
	sqlite3 "$db" "PRAGMA page_size = 8192; PRAGMA journal_mode = $2; CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB);" >"$SCRATCH/$1.mode"
	[ "$(cat "$SCRATCH/$1.mode")" = "$2" ]
	mkfifo "$SCRATCH/$1.fifo"
	sqlite3 -cmd "PRAGMA cache_size = 20" -cmd "PRAGMA synchronous = FULL" "$db" <"$SCRATCH/$1.fifo" >"$noted" 2>"$SCRATCH/$1.err" &
	pid=$!
	exec 7>"$SCRATCH/$1.fifo"
	local i
	for i in 1 2 3 4 5 6 7 8; do
		echo "BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
			INSERT INTO t SELECT $i * 1000 + i, randomblob(2500) FROM n; COMMIT;
			SELECT count(*) FROM t;"
	done >&7
	# More than its cache, so that it spills into the files before its end.
	echo "BEGIN; UPDATE t SET body = zeroblob(2500); DELETE FROM t WHERE id % 3 = 0; SELECT 'spilled';" >&7
	until_true grep -q spilled "$noted"
	kill -KILL "$pid"
	exec 7>&-
	wait "$pid" || true
	grep -qx 160 "$noted"
}

# survived NAME: what was committed is there, and nothing else.
survived() {
	whole "$MOUNT/$1"
	[ "$(sqlite3 "$MOUNT/$1" "SELECT count(*), min(length(body)), sum(hex(body) = hex(zeroblob(2500))) FROM t")" = "160|2500|0" ]
}

store() {
	sqlite3 live.db "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $((SIZE_MIB * 128)))
		INSERT INTO t SELECT i, randomblob(4000 + i % 4000) FROM n; CREATE INDEX x ON t (length(body));" >/dev/null

	sqlite3 live.db ".backup $MOUNT/backup.db"
	sqlite3 live.db "VACUUM INTO '$MOUNT/vacuumed.db'"
	sqlite3 live.db .dump | gzip -1 >"$MOUNT/dump.sql.gz"
	sqlite3 "$MOUNT/backup.db" "VACUUM" # in place, on the mount
	sqlite3 live.db "UPDATE t SET body = randomblob(3000) WHERE id % 50 = 0"
	sqlite3 live.db ".backup $MOUNT/second.db"
	sqlite3 live.db ".backup $MOUNT/backup.db" # over what is there
	whole "$MOUNT/backup.db"
	rows live.db >rows
	sqlite3 "$MOUNT/vacuumed.db" "PRAGMA quick_check" | grep -qx ok

	killed wal.db wal
	killed delete.db delete
	killed truncate.db truncate
	killed persist.db persist
	[ -s "$MOUNT/wal.db-wal" ]
	[ -s "$MOUNT/delete.db-journal" ] # hot: the next to open it rolls back
	cp -a "$MOUNT/wal.db" "$MOUNT/wal.db-wal" "$MOUNT/delete.db" "$MOUNT/delete.db-journal" .
	survived truncate.db # on the same mount; the others are for the next one
}

check() {
	local f
	for f in backup second vacuumed; do whole "$MOUNT/$f.db"; done
	rows "$MOUNT/backup.db" | cmp - rows
	rows "$MOUNT/second.db" | cmp - rows
	zcat "$MOUNT/dump.sql.gz" | sqlite3 dumped.db
	[ "$(rows dumped.db)" = "$(rows "$MOUNT/vacuumed.db")" ]
	sqlite3 restored.db ".restore $MOUNT/second.db"
	rows restored.db | cmp - rows

	for f in wal.db wal.db-wal delete.db delete.db-journal; do cmp "$f" "$MOUNT/$f"; done
	for f in wal delete truncate persist; do survived "$f.db"; done
	sqlite3 "$MOUNT/delete.db" "INSERT INTO t VALUES (1, 'goes on'); SELECT count(*) FROM t" | grep -qx 161
}
