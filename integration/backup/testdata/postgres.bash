# A server of PostgreSQL without a port, which ends with the script.

PATH=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -1):$PATH
export PGHOST=$SCRATCH PGUSER=postgres PGDATABASE=postgres
postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups) # it refuses to be root

# new_cluster DIR: with what the socket in SCRATCH needs.
new_cluster() {
	chown postgres "$SCRATCH"
	"${postgres[@]}" initdb -A trust -D "$1" --no-sync --wal-segsize=1 -k >"$SCRATCH/initdb.log"
}

# serve DIR SETTING...: serves a cluster until quit. Nothing but the mount waits
# for a disk.
serve() {
	local dir=$1 settings=() setting
	shift
	for setting in "$@"; do settings+=(-c "$setting"); done
	# A child of this shell, not pg_ctl's, which would outlive it.
	"${postgres[@]}" postgres -D "$dir" -c fsync=off -c shared_buffers=16MB -c listen_addresses= \
		-c unix_socket_directories="$SCRATCH" "${settings[@]}" >>"$SCRATCH/server.log" 2>&1 &
	server=$!
	trap 'kill -INT $server; wait $server; tail -50 "$SCRATCH/server.log"' EXIT
	until_true pg_isready -q
}

quit() {
	kill -INT "$server"
	wait "$server"
	trap - EXIT
}

sql() { psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

# fill makes pgbench's tables, SIZE_MIB in all.
fill() { pgbench -i -q -s $(((SIZE_MIB + 15) / 16)) >"$SCRATCH/pgbench.log" 2>&1; }

# work runs some hundred transactions.
work() { pgbench -n -c 2 -j 2 -t $((SIZE_MIB * 20)) >"$SCRATCH/pgbench.log" 2>&1; }
