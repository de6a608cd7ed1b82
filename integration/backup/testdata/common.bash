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
