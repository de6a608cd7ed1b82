# packages: coreutils util-linux
# Blocks are written, cut, freed and copied anywhere in files of several parts.
mkdir blocks; cd blocks
cp "$BLOBS/9M" dd
dd if="$BLOBS/100K" of=dd bs=1K seek=4000 conv=notrunc status=none
dd if="$BLOBS/100K" of=dd bs=1K seek=1 conv=notrunc,fsync status=none
dd if="$BLOBS/100K" of=dd bs=1K seek=9200 conv=notrunc status=none # over the end
dd if="$BLOBS/1M" of=dd bs=64K skip=3 seek=100 count=4 conv=notrunc oflag=append status=none

cp "$BLOBS/1M" truncated
for size in 700000 8M 5M +3 1000000 %4096; do
	truncate -s $size truncated
	stat -c '%s' truncated
	sha256sum truncated
done
: >grown; truncate -s 3M grown; echo end >>grown

fallocate -l 2M allocated; stat -c %s allocated
fallocate -l 3M -n allocated; stat -c %s allocated
cp "$BLOBS/9M" punched
fallocate --punch-hole -o 1000000 -l 3000000 punched
fallocate --punch-hole -o 9000000 -l 3000000 punched
fallocate --zero-range -o 5000000 -l 100000 punched
stat -c %s punched
fallocate --zero-range -o 9437000 -l 1000 punched
stat -c %s punched

truncate -s 6M holes
dd if="$BLOBS/100K" of=holes bs=1K seek=3000 conv=notrunc status=none
cp --sparse=always holes copied
cp --sparse=never --reflink=never holes filled
cmp holes copied; cmp holes filled
cp --reflink=auto "$BLOBS/9M" source; cp source again; cmp source again

dd if="$BLOBS/9M" of=direct bs=1M oflag=direct status=none
dd if=direct of=direct2 bs=512K iflag=direct oflag=direct status=none
cmp direct "$BLOBS/9M"; cmp direct2 "$BLOBS/9M"
dd if="$BLOBS/1M" of=direct bs=4K seek=500 skip=1 count=3 oflag=direct conv=notrunc status=none
dd if=direct bs=4K skip=499 count=5 iflag=direct status=none | sha256sum
