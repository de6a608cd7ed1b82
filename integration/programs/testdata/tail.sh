# packages: coreutils procps
# A log that grows: its writer opens it anew for each line, or keeps it open
# and syncs; the reader keeps it open. Then it is rotated.
mkdir tail; cd tail
until_seen() { # until the reader has shown the line
	until grep -q "^$1\$" "$2"; do sleep 0.05; done
}
: >log
tail -n +1 -s 0.05 -F log >"$SCRATCH/seen" 2>"$SCRATCH/says" &
reader=$!
trap 'kill $reader' EXIT
for i in 1 2 3 4 5; do
	echo "line $i" >>log
	until_seen "line $i" "$SCRATCH/seen"
done
exec 5>>log
for i in 6 7; do
	echo "line $i" >&5
	sync log
	until_seen "line $i" "$SCRATCH/seen"
done
exec 5>&-
mv log log.1
echo 'a new log' >log
until_seen 'a new log' "$SCRATCH/seen"
echo 'the end' >>log
until_seen 'the end' "$SCRATCH/seen"
cat "$SCRATCH/seen"
