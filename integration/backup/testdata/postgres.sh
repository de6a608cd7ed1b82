# packages: postgresql
# version: /usr/lib/postgresql/*/bin/postgres --version
# certifies: pg_basebackup (plain, tar, gzip), pg_verifybackup, archive_command (cp; cp, sync and mv), pg_receivewal, restore to a named point and to the end, from base backup and archived WAL

source "$(dirname "${BASH_SOURCE[0]}")/postgres.bash"

# content prints what the tables hold.
content() {
	local t
	for t in accounts branches tellers history; do
		sql "SELECT '$t', count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM pgbench_$t t"
	done
	sql "SELECT * FROM marks ORDER BY 1"
}

archived() { [ "$(stat -c %s "$MOUNT/wal/$1" 2>/dev/null)" = $((1 << 20)) ]; }

# busy: transactions, whose WAL is in the archive then.
busy() {
	work
	local segment
	segment=$(sql "SELECT pg_walfile_name(pg_switch_wal())")
	until_true archived "$segment"
}

# archive_with COMMAND: the server changes to it.
archive_with() {
	sql "ALTER SYSTEM SET archive_command = '$1'"
	sql "SELECT pg_reload_conf()" >/dev/null
	until_true reloaded
}

reloaded() { [ "$(sql "SHOW archive_command")" = "$(sql "SELECT setting FROM pg_file_settings WHERE name = 'archive_command' ORDER BY seqno DESC LIMIT 1")" ]; }

received() { [ "$(stat -c %s "$MOUNT/received/$1" 2>/dev/null)" = $((1 << 20)) ]; }

store() {
	local wal=$MOUNT/wal receiver segment
	install -d -o postgres -m 700 "$wal" "$MOUNT/plain"
	mkdir "$MOUNT/received"
	new_cluster cluster
	serve cluster archive_mode=on wal_level=replica
	# Both say success only when the segment is in S3: cp's close, and sync's fsync.
	archive_with "test ! -f \"$wal/%f\" && cp \"%p\" \"$wal/%f\""
	sql "SELECT pg_create_physical_replication_slot('receiver', true)" >/dev/null
	pg_receivewal -D "$MOUNT/received" -S receiver --synchronous 2>receiver.log &
	receiver=$!
	fill
	sql "CREATE TABLE marks (at text)"
	busy
	content >at_base
	pg_basebackup -D "$MOUNT/tar" -F tar -X fetch -c fast
	pg_basebackup -D "$MOUNT/gzip" -F tar -z -X stream -c fast
	"${postgres[@]}" pg_basebackup -D "$MOUNT/plain" -F plain -X none -c fast 2>notices
	busy
	archive_with "test ! -f \"$wal/%f\" && cp \"%p\" \"$wal/%f.tmp\" && sync \"$wal/%f.tmp\" && mv -n \"$wal/%f.tmp\" \"$wal/%f\" && sync \"$wal\""
	busy
	sql "INSERT INTO marks VALUES ('before')"
	content >at_point
	sql "SELECT pg_create_restore_point('the point')" >/dev/null
	sql "INSERT INTO marks VALUES ('after')"
	segment=$(sql "SELECT pg_walfile_name(pg_current_wal_lsn())")
	busy
	until_true received "$segment"
	content >at_end
	fails cmp -s at_point at_end
	kill -INT $receiver
	wait $receiver
	quit
	fails grep 'archive command failed' server.log
}

# restored DIR CONTENT SETTING...: a server comes up from what is in DIR with
# that content.
restored() {
	local dir=$1 want=$2
	shift 2
	chown -R postgres "$dir"
	chmod 700 "$dir"
	serve "$dir" archive_mode=off "$@"
	until_true promoted
	content | cmp - "$want"
	quit
}

promoted() { [ "$(sql "SELECT pg_is_in_recovery()")" = f ]; }

check() {
	local restore="restore_command=cp \"$MOUNT/wal/%f\" \"%p\""
	# Without any archive: what was there at the time of the backup.
	mkdir from_gzip
	tar -C from_gzip -xzf "$MOUNT/gzip/base.tar.gz"
	tar -C from_gzip/pg_wal -xzf "$MOUNT/gzip/pg_wal.tar.gz"
	cp "$MOUNT/gzip/backup_manifest" from_gzip
	pg_verifybackup -q from_gzip
	restored from_gzip at_base

	mkdir from_tar
	tar -C from_tar -xf "$MOUNT/tar/base.tar"
	pg_verifybackup -q -m "$MOUNT/tar/backup_manifest" from_tar
	touch from_tar/recovery.signal
	restored from_tar at_point "$restore" "recovery_target_name=the point" recovery_target_action=promote

	pg_verifybackup -q -n "$MOUNT/plain"
	cp -a "$MOUNT/plain" from_plain
	pg_verifybackup -q -n from_plain
	touch from_plain/recovery.signal
	restored from_plain at_end "$restore"

	# What was received while it was made is what was archived.
	local segment count=0
	for segment in "$MOUNT"/wal/????????????????????????; do
		[ -e "$MOUNT/received/${segment##*/}" ] || continue
		cmp "$segment" "$MOUNT/received/${segment##*/}"
		count=$((count + 1))
	done
	[ $count -gt 3 ]
}
