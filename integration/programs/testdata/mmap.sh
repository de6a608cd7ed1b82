# packages: python3
# Stores into shared mappings, by one process and by two.
mkdir mmap; cd mmap
cp "$BLOBS/9M" file
cp "$BLOBS/1M" two
python3 - <<'PY'
import mmap, os
with open("file", "r+b") as f:
    m = mmap.mmap(f.fileno(), 0)
    for at in (0, 4095, 1 << 20, 5 << 20, len(m) - 9):
        m[at:at + 9] = b"by a map!"
    m.flush()
    m[100:103] = b"end"
    f.seek(4 << 20)
    f.write(b"by write")
    f.flush()
    print(m[4 << 20:(4 << 20) + 8])
    m.close()
with open("file", "rb") as f:
    print(f.read(9), os.fstat(f.fileno()).st_size)

# A file that is grown and mapped, as databases do.
fd = os.open("grown", os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 300000)
m = mmap.mmap(fd, 300000)
m[299990:] = b"0123456789"
os.close(fd)  # the mapping stays
m[:5] = b"first"
m.close()

# A child stores into its own mapping of the same file.
if os.fork() == 0:
    with open("two", "r+b") as f:
        m = mmap.mmap(f.fileno(), 0)
        m[500000:500005] = b"child"
        m.flush()
    os._exit(0)
with open("two", "r+b") as f:
    m = mmap.mmap(f.fileno(), 0)
    assert os.wait()[1] == 0
    print(m[500000:500005])
    m[600000:600006] = b"parent"
    m.close()
PY
{ cmp -l file "$BLOBS/9M" || true; } | wc -l
sha256sum file two grown
