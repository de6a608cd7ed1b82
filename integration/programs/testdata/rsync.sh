# packages: rsync
# A second rsync finds nothing to do, by its list and by its statistics; large
# files are changed in place and continued.
mkdir rsync; cd rsync
run() { rsync --numeric-ids --itemize-changes "$@"; }
run -aHAX "$BLOBS/tree/" mirror/
echo '== the second time'
run -aHAX --stats "$BLOBS/tree/" mirror/ | grep -E '^[<>ch.*]|files transferred|Literal'
run -aHAXc "$BLOBS/tree/" mirror/
run -aHAXn mirror/ "$BLOBS/tree/"
cp -a "$BLOBS/tree" "$SCRATCH/source"
echo 'grown' >>"$SCRATCH/source/a/small"
chmod 600 "$SCRATCH/source/b/blob"
rm "$SCRATCH/source/empty"
run -aHAX --delete "$SCRATCH/source/" mirror/
run -aHAX --delete "$SCRATCH/source/" mirror/

echo '== large files'
cp "$BLOBS/9M" "$SCRATCH/large"
run -a "$SCRATCH/large" .
printf 'in the middle' | dd of="$SCRATCH/large" bs=1 seek=5000000 conv=notrunc status=none
touch -d 2021-01-01 "$SCRATCH/large"
run -a --inplace --no-whole-file "$SCRATCH/large" .
cmp large "$SCRATCH/large"
cat "$BLOBS/100K" >>"$SCRATCH/large"
touch -d 2021-01-02 "$SCRATCH/large"
run -a --append-verify "$SCRATCH/large" .
cmp large "$SCRATCH/large"
truncate -s 6M "$SCRATCH/large"
run -a --inplace --no-whole-file "$SCRATCH/large" .
cmp large "$SCRATCH/large"
run -a --sparse "$SCRATCH/large" sparse
cmp sparse "$SCRATCH/large"
