# packages: postgresql gzip zstd
# version: /usr/lib/postgresql/*/bin/pg_dump --version
# certifies: pg_dump (custom; directory, parallel; tar; plain through gzip), pg_dumpall through zstd, pg_restore (parallel, one table, its list), psql

source "$(dirname "${BASH_SOURCE[0]}")/postgres.bash"

# plain prints a database as SQL, without the token that is another each time.
plain() { pg_dump "$1" | sed -E '/^\\(un)?restrict /d'; }

store() {
	new_cluster cluster
	serve cluster
	fill
	work
	sql "CREATE TABLE odd (id serial PRIMARY KEY, bytes bytea, words text, at timestamptz, many int[], doc jsonb);
		INSERT INTO odd (bytes, words, at, many, doc)
			SELECT decode(md5(i::text), 'hex') || '\\x00ff0a5c', E'tab\t\\\\N\n ünïcödé ' || i, to_timestamp(i * 1e6), ARRAY[i, NULL, -i],
				jsonb_build_object('key', i, 'nothing', NULL) FROM generate_series(1, 2000) i;
		CREATE VIEW few AS SELECT * FROM odd WHERE id < 10;
		SELECT lo_from_bytea(0, convert_to(repeat('large object ', 100000), 'UTF8'));" >large
	plain postgres >before
	pg_dump -Fc -f "$MOUNT/custom"
	pg_dump -Fc -Z 0 >"$MOUNT/custom.0" # sets the places of its tables in its head at the end
	pg_dump -Fd -j 2 -f "$MOUNT/directory"
	pg_dump -Ft -f "$MOUNT/tar"
	pg_dump | gzip -1 >"$MOUNT/plain.gz"
	pg_dumpall | zstd -q | tee "$MOUNT/all.zst" >/dev/null
	pg_restore -l "$MOUNT/custom" >list
	quit
}

# same_as_before DATABASE: it was restored whole.
same_as_before() { plain "$1" | cmp - before; }

check() {
	serve cluster
	local how
	for how in custom custom.0 directory tar; do
		createdb "$how"
		case $how in
		custom* | directory) pg_restore -j 2 -e -d "$how" "$MOUNT/$how" ;;
		*) pg_restore -e -d "$how" <"$MOUNT/$how" ;;
		esac
		same_as_before "$how"
	done
	createdb plain
	zcat "$MOUNT/plain.gz" | psql -Xq -v ON_ERROR_STOP=1 plain >/dev/null
	same_as_before plain
	pg_restore -l "$MOUNT/custom" | cmp - list
	createdb table
	pg_restore -t odd -d table "$MOUNT/custom"
	[ "$(PGDATABASE=table sql "SELECT count(*) FROM odd")" = 2000 ]
	quit
	new_cluster another
	serve another
	zstd -dcq "$MOUNT/all.zst" | sed '/^CREATE ROLE postgres;$/d' | psql -Xq -v ON_ERROR_STOP=1 >/dev/null
	same_as_before postgres
	quit
}
