# packages: rclone
# version: rclone version
# certifies: copy, sync, move, check --download, copyto, rcat, cat
export RCLONE_CONFIG=/dev/null RCLONE_LINKS=true RCLONE_CREATE_EMPTY_SRC_DIRS=true

store() {
	rclone copy "$DATA" "$MOUNT/copy"
	rclone copy "$DATA" "$MOUNT/copy" --use-json-log -v 2>again # nothing to do
	fails grep '"msg":"Copied' again
	cp -a "$DATA" tree
	rclone sync tree "$MOUNT/sync"
	find tree -maxdepth 1 -type f -size -64k -delete
	cp -a "$DATA" tree/more
	rclone sync --track-renames --multi-thread-streams 4 --multi-thread-cutoff 1M tree "$MOUNT/sync"
	rclone move "$MOUNT/sync/more" "$MOUNT/moved"
	rclone rcat "$MOUNT/streamed" <"$DATA/big/text-0"
	rm -r tree/more
}

check() {
	rclone check --download "$DATA" "$MOUNT/copy"
	rclone check --download tree "$MOUNT/sync"
	rclone check --download "$DATA" "$MOUNT/moved"
	rclone cat "$MOUNT/streamed" | cmp - "$DATA/big/text-0"
	rclone copy "$MOUNT/copy" restored
	diff -r --no-dereference "$DATA" restored
}
