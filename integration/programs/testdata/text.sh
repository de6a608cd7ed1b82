# packages: coreutils
# Pipes of small tools, files that are their own input, two writers of one file.
mkdir text; cd text
seq 20000 -1 1 >numbers
sort -n -o numbers numbers
shuf --random-source="$BLOBS/1M" numbers -o numbers
sort -S 64K -T . -n -o numbers numbers
split -n l/7 numbers piece.
cat piece.* | cmp - numbers
split -b 1000K "$BLOBS/9M" blob.
cat blob.* >whole
cmp whole "$BLOBS/9M"
rm blob.* piece.*
tr 1 l <numbers | tee teed copied | wc -lc
uniq -w 1 teed | head -5
cat numbers teed >>copied
(echo one; /bin/echo two; (echo three)) >children
install -m 640 -D numbers deep/er/installed
mv whole deep/whole
ln -s ../numbers deep/link
sha256sum <deep/link

writer() { for i in $(seq 150); do echo "writer $1 wrote line $i"; done >>"$2"; }
writer 1 appended & one=$!
writer 2 appended & two=$!
wait $one
wait $two
sort -o sorted appended; rm appended
wc -l sorted
reopening() { for i in $(seq 15); do echo "writer $1 opened for line $i" >>"$2"; done; }
reopening 1 appended & one=$!
reopening 2 appended & two=$!
wait $one
wait $two
sort -o opened appended; rm appended
wc -l opened
