# packages: logrotate gzip xz-utils
# version: logrotate --version 2>&1
# certifies: create, copytruncate, compress with delaycompress, dateext, xz, olddir, shred, a state file on the mount, a writer that goes on appending

# writer NAME: appends numbered lines in bursts until told to end. After SIGHUP it
# opens its log anew, as daemons do when their log was moved away.
writer() {
	bash -c 'ended="" exec=""
		trap "exec >>\"$1\"" HUP
		trap ended=yes TERM
		exec >>"$1"
		echo $BASHPID >"$2.tmp"; mv "$2.tmp" "$2"
		for ((i = 1; ; i++)); do
			echo "line $i of a daemon, which writes and never looks back"
			((i % 50)) || read -rt 0.02 <> <(:) || true
			[ -z "$ended" ] || break
		done
		echo $i >"$2.last"' - "$1" "$2" &
}

# rotate NAME: as its configuration says, due or not.
rotate() {
	logrotate --state "$MOUNT/state" --force "$SCRATCH/$1.conf"
}

# lines NAME COMMAND...: the command must print each line of the writer once, in
# their order.
lines() {
	local log=$1 last
	last=$(cat "$SCRATCH/$log.pid.last")
	shift
	"$@" | cmp - <(seq -f 'line %.0f of a daemon, which writes and never looks back' "$last")
}

another_second() { [ "$(date +%s)" != "$last" ]; }

store() {
	local create truncate i last=none
	mkdir "$MOUNT/log" "$MOUNT/old"
	chmod 755 "$MOUNT/log" "$MOUNT/old"
	cat >create.conf <<-E
		$MOUNT/log/create.log {
			rotate 20
			create 0640 daemon adm
			compress
			delaycompress
			postrotate
				kill -HUP \$(cat $SCRATCH/create.pid)
			endscript
		}
	E
	cat >dated.conf <<-E
		$MOUNT/log/dated.log {
			rotate 20
			create
			dateext
			dateformat -%Y%m%d-%s
			olddir $MOUNT/old
			compress
			compresscmd /usr/bin/xz
			uncompresscmd /usr/bin/unxz
			compressext .xz
		}
	E
	cat >truncate.conf <<-E
		$MOUNT/log/truncate.log {
			rotate 20
			copytruncate
		}
	E
	cat >few.conf <<-E
		$MOUNT/log/few.log {
			rotate 2
			nocreate
			shred
			missingok
		}
	E
	chmod 644 ./*.conf
	writer "$MOUNT/log/create.log" "$SCRATCH/create.pid"
	create=$!
	writer "$MOUNT/log/truncate.log" "$SCRATCH/truncate.pid"
	truncate=$!
	trap 'kill "$create" "$truncate"' EXIT
	until_true [ -s create.pid ]
	until_true [ -s truncate.pid ]
	for i in 1 2 3; do
		until_true [ -s "$MOUNT/log/create.log" ]
		rotate create
		until_true [ -s "$MOUNT/log/truncate.log" ]
		rotate truncate
		head -c 300K /dev/urandom | base64 >"$MOUNT/log/dated.log"
		cat "$MOUNT/log/dated.log" >>dated.all
		until_true another_second # a name of its own
		rotate dated
		last=$(date +%s)
		echo "few $i" >"$MOUNT/log/few.log"
		rotate few
	done
	kill "$create" "$truncate"
	wait "$create" "$truncate"
	trap - EXIT
	[ "$(stat -c '%a %U:%G' "$MOUNT/log/create.log")" = "640 daemon:adm" ]
}

check() {
	cd "$MOUNT/log"
	[ "$(echo create.log*)" = "create.log create.log.1 create.log.2.gz create.log.3.gz" ]
	lines create eval 'zcat create.log.3.gz create.log.2.gz; cat create.log.1 create.log'
	# A copy and a truncation lose what is written between them, on any file
	# system. No line is there twice, none out of order, none in part.
	cat truncate.log.3 truncate.log.2 truncate.log.1 truncate.log >"$SCRATCH/truncated"
	fails grep -Evq '^line [0-9]+ of a daemon, which writes and never looks back$' "$SCRATCH/truncated"
	cut -d' ' -f2 "$SCRATCH/truncated" | sort -nuC
	[ "$(tail -1 "$SCRATCH/truncated" | cut -d' ' -f2)" = "$(cat "$SCRATCH/truncate.pid.last")" ]
	xzcat "$MOUNT"/old/dated.log-*.xz | cmp - "$SCRATCH/dated.all"
	[ "$(cat few.log.1 few.log.2)" = "few 3"$'\n'"few 2" ]
	[ "$(ls few.log*)" = few.log.1$'\n'few.log.2 ]
	grep -q '^"'"$MOUNT/log/create.log"'" ' "$MOUNT/state"
	[ "$(stat -c %a "$MOUNT/state")" = 640 ] || [ "$(stat -c %a "$MOUNT/state")" = 600 ]
	# Goes on over the remount: by the state alone nothing is due.
	logrotate --state "$MOUNT/state" "$SCRATCH/create.conf"
	[ ! -e create.log.4.gz ]
	rotate few
	[ "$(echo few.log*)" = few.log.1\ few.log.2 ]
}
