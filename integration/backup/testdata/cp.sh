# packages: coreutils util-linux
# version: cp --version
# certifies: cp --sparse, -a, --reflink=auto, -u, --backup; install; mv into and out of a mount; truncate; fallocate; ln -s

blob=$SCRATCH/blob # of 8 MiB

# sparse FILE: data at its begin and in it, and holes between and at its end.
sparse() {
	truncate -s $((SIZE_MIB * 1024 * 1024 + 4097)) "$1"
	local at
	for at in 0 $((SIZE_MIB * 128)) $((SIZE_MIB * 256)); do
		head -c 4096 "$blob" | dd of="$1" bs=4k seek="$at" conv=notrunc status=none
	done
}

store() {
	cd "$MOUNT"
	local how
	head -c 8M /dev/urandom >"$blob"
	sparse "$SCRATCH/sparse"
	for how in always auto never; do
		cp --sparse="$how" "$SCRATCH/sparse" "sparse.$how"
		cp --sparse="$how" "sparse.$how" "again.$how"
		cp --sparse="$how" "again.$how" "$SCRATCH/back.$how"
		cmp "$SCRATCH/sparse" "$SCRATCH/back.$how"
	done
	sparse holes

	cp -a "$DATA" tree
	same "$DATA" tree
	cp -a tree "$SCRATCH/out"
	same "$DATA" "$SCRATCH/out"
	cp -a tree tree2
	mkdir reflink
	cp -R --reflink=auto --preserve=all tree/. reflink/
	fails cp --reflink=always holes cloned 2>/dev/null
	[ ! -s cloned ] # cp leaves it so, anywhere
	rm -f cloned
	cp -au "$DATA/." tree2/ # nothing is newer

	echo one >backed
	echo two | cp --backup=numbered /dev/stdin backed
	echo three | cp --backup=simple --suffix=.orig /dev/stdin backed

	install -d -m 2750 -o 1000 -g 1001 installed/dir
	install -m 0751 -o 1000 -g 1001 -p "$blob" installed/dir/blob
	install -C -m 0751 -o 1000 -g 1001 "$blob" installed/dir/blob
	install -m 0600 -D "$blob" installed/new/dirs/blob

	# From another file system mv copies and removes.
	mv "$SCRATCH/out" moved
	[ ! -e "$SCRATCH/out" ]
	same "$DATA" moved
	mv tree2 "$SCRATCH/tree2"
	[ ! -e tree2 ]
	same "$DATA" "$SCRATCH/tree2"
	mv -f "$SCRATCH/back.never" sparse.never
	mv -n sparse.auto sparse.always
	mv --backup=existing holes backed
	mv moved moved2
	cp -a "$blob" linked
	fails ln linked hard 2>/dev/null

	cp "$blob" cut
	truncate -s 5000001 cut
	cp "$blob" grown
	truncate -s +3M grown
	truncate -s '<1M' linked
	fallocate -l 3MiB allocated
	cp "$blob" punched
	fallocate -p -o 1MiB -l 2MiB punched
	fallocate -z -o 4MiB -l 1MiB punched
	cp punched dug
	fallocate -d dug
	cp "$blob" kept
	fallocate -n -l 20MiB kept
	shred -n 1 --remove=unlink "$SCRATCH/back.auto"
	sync -f .
}

check() {
	cd "$MOUNT"
	local f
	for f in sparse.always sparse.auto sparse.never again.always again.auto again.never backed; do
		cmp "$SCRATCH/sparse" "$f"
	done
	[ ! -e holes ]
	for f in tree reflink moved2 "$SCRATCH/tree2"; do same "$DATA" "$f"; done
	[ "$(cat backed.~1~) $(cat backed.orig) $(cat backed.~2~)" = "one two three" ]
	[ "$(stat -c '%a %u:%g' installed/dir)" = "2750 1000:1001" ]
	[ "$(stat -c '%a %u:%g %Y' installed/dir/blob)" = "751 1000:1001 $(stat -c %Y "$blob")" ]
	[ "$(stat -c %a installed/new/dirs/blob)" = 600 ]
	for f in installed/dir/blob installed/new/dirs/blob kept; do cmp "$blob" "$f"; done
	head -c 5000001 "$blob" | cmp - cut
	{ cat "$blob" && head -c 3M /dev/zero; } | cmp - grown
	head -c 1M "$blob" | cmp - linked
	head -c 3M /dev/zero | cmp - allocated
	{
		head -c 1M "$blob" && head -c 2M /dev/zero && dd if="$blob" bs=1M skip=3 count=1 status=none &&
			head -c 1M /dev/zero && tail -c +5242881 "$blob"
	} >"$SCRATCH/punched"
	cmp "$SCRATCH/punched" punched
	cmp "$SCRATCH/punched" dug
}
