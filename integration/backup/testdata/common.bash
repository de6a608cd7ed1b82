# What all scripts may use.

# fails COMMAND...: the command must fail. "! COMMAND" would not end a script.
fails() {
	if "$@"; then
		echo "this should have failed: $*" >&2
		return 1
	fi
}

# same FROM TO: the trees differ in nothing, by content, attributes, extended
# attributes and times.
same() {
	local differences
	differences=$(rsync -naHXci --delete --numeric-ids "$1/" "$2/")
	[ -z "$differences" ] || {
		printf '%s and %s differ:\n%s\n' "$1" "$2" "$differences" >&2
		return 1
	}
}

# until_true COMMAND...: waits for it, 20 seconds at most.
until_true() {
	local end=$((SECONDS + 20))
	until "$@"; do
		[ $SECONDS -lt $end ] || {
			echo "never true: $*" >&2
			return 1
		}
		read -rt 0.05 <> <(:) || true
	done
}

# change: makes SCRATCH/changed, which is DATA with files that are new, changed,
# gone and renamed.
change() {
	cp -a "$DATA" "$SCRATCH/changed"
	head -c 3000000 /dev/urandom >"$SCRATCH/changed/big/new"
	printf 'in the middle' | dd of="$SCRATCH/changed/big/noise-0" bs=1 seek=1000000 conv=notrunc status=none
	rm -r "$SCRATCH/changed/small/00"
	mv "$SCRATCH/changed/small/01" "$SCRATCH/changed/small/renamed"
}
