package backup

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/integration/harness"
)

// bigFile is the largest of DATA's files.
const bigFile = 1 << 30

// odd are names that programs quote, in a directory of their own.
var odd = []string{
	" leading", "trailing ", "-dash", "a+b&c=d", "a%20b", "quote\"'", "#?*[x]", "tilde~", "ünïcödé", "u\u0308n", "日本語", "...", ".hidden",
	strings.Repeat("long", 50),
}

// makeData makes a tree of size MiB, the same each time: half of it large files
// of noise, 30% large files of text, 20% small files, hundreds of them.
func makeData(t *testing.T, size int) string {
	t.Helper()
	root := openDir(t)
	total := int64(size) << 20
	bigFiles(t, root, "noise", total*5/10, func(b []byte, source *rand.ChaCha8, _ int64) { source.Read(b) })
	bigFiles(t, root, "text", total*3/10, text)
	count := min(100+4*size, 3000)
	mean := int(total * 2 / 10 / int64(count))
	for i := range count {
		path := fmt.Sprintf("small/%02d/%d.dat", i%17, i)
		switch {
		case i < len(odd):
			path = "odd/" + odd[i]
		case i < len(odd)+12:
			path = "deep/" + strings.Repeat("er/", i-len(odd)) + "file"
		}
		writeSmall(t, filepath.Join(root, path), i, mean*(i%7)/3)
	}
	harness.Must(t, os.MkdirAll(filepath.Join(root, "empty directory"), 0o750))
	harness.Must(t, os.Mkdir(filepath.Join(root, "shared"), 0o755))
	harness.Must(t, os.Chmod(filepath.Join(root, "shared"), 0o775|fs.ModeSetgid|fs.ModeSticky))
	for link, target := range map[string]string{
		"link": "small/00", "odd/dangling": "nowhere", "deep/up": "../big/noise-0", "deep/absolute": "/dev/null", "deep/long": strings.Repeat("x/../", 100),
	} {
		harness.Must(t, os.Symlink(target, filepath.Join(root, link)))
	}
	setTimes(t, root)
	return root
}

// bigFiles makes files of total bytes in all, which fill fills.
func bigFiles(t *testing.T, root, name string, total int64, fill func(b []byte, source *rand.ChaCha8, at int64)) {
	t.Helper()
	harness.Must(t, os.MkdirAll(filepath.Join(root, "big"), 0o755))
	block := make([]byte, 1<<20)
	for i := int64(0); i*bigFile < total; i++ {
		source := rand.NewChaCha8([32]byte{byte(i), name[0]})
		f, err := os.Create(filepath.Join(root, fmt.Sprintf("big/%s-%d", name, i)))
		harness.Must(t, err)
		for at, end := int64(0), min(bigFile, total-i*bigFile); at < end; at += int64(len(block)) {
			part := block[:min(int64(len(block)), end-at)]
			fill(part, source, at)
			_, err := f.Write(part)
			harness.Must(t, err)
		}
		harness.Must(t, f.Close())
	}
}

// text fills b with lines as of a log, which compressors shorten.
func text(b []byte, source *rand.ChaCha8, at int64) {
	for len(b) > 0 {
		b = b[copy(b, fmt.Sprintf("%012d host daemon[%d]: request of client %d answered in %d ms\n", at, source.Uint64()%100, source.Uint64()%1000, source.Uint64()%10_000)):]
		at++
	}
}

// writeSmall makes the i-th small file: some are text, some executable, some
// have extended attributes, each has another owner.
func writeSmall(t *testing.T, path string, i, size int) {
	t.Helper()
	body := harness.Random(uint64(i), size)
	if i%3 == 0 {
		body = bytes.Repeat([]byte("a line of text\n"), size/15+1)[:size]
	}
	harness.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	harness.Write(t, path, body)
	harness.Must(t, os.Chown(path, 1000+i%50, 2000+i%20))
	harness.Must(t, os.Chmod(path, []fs.FileMode{0o644, 0o600, 0o755, 0o440, 0o664, 0o755 | fs.ModeSetuid}[i%6]))
	if i%5 == 0 {
		harness.Must(t, syscall.Setxattr(path, "user.number", fmt.Append(nil, "number ", i), 0))
		harness.Must(t, syscall.Setxattr(path, "user.bytes", []byte{0, 255, '\n', byte(i)}, 0))
	}
}

// setTimes gives each file and directory another time: fractions of seconds,
// and times before 1970 and after 2038 among them.
func setTimes(t *testing.T, root string) {
	t.Helper()
	var paths []string
	harness.Must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type() != fs.ModeSymlink {
			paths = append(paths, path)
		}
		return err
	}))
	for i, path := range paths {
		stamp := time.Unix(1_500_000_000+int64(i)*100_003, 123_456_789)
		switch i % 41 {
		case 7:
			stamp = time.Unix(-1_000_000_000-int64(i), 0)
		case 8:
			stamp = time.Unix(4_000_000_000+int64(i), 999_999_999)
		}
		harness.Must(t, os.Chtimes(path, stamp, stamp))
	}
}
