package s3io

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A journal remembers the multipart uploads of this process on disk, so that
// after a crash the next mount of the same identity aborts them, and no
// others: never those of another mount, and never by age.
//
// Below the state directory every bucket and prefix has a directory with the
// file "identity" and one file NAME.journal per process, of one JSON record per
// line. A process holds a lock on its file as long as it lives; a file that
// can be locked belongs to a process that ended.
type journal struct {
	dir string // "" keeps nothing on disk
	id  string // of the mount, a UUID

	mu    sync.Mutex
	file  *os.File
	path  string
	open  map[string]string // upload id to key
	lines int               // in file, so that it can be cut when nothing is open
}

// entry is an upload that a journal knows of.
type entry struct {
	Key    string `json:"key"`
	Upload string `json:"upload"`
	Ended  bool   `json:"ended,omitempty"`
}

const (
	journalSuffix = ".journal"
	journalLines  = 1000 // a file that is longer is cut as soon as no upload is open
)

// openJournal opens the journal of a bucket's prefix below dir, and creates
// identity and files where they are missing. With an empty dir identity and
// entries end with the process.
func openJournal(dir, bucket, prefix string) (*journal, error) {
	j := &journal{open: map[string]string{}}
	if dir == "" {
		j.id = newUUID()
		return j, nil
	}
	name := sha256.Sum256([]byte(bucket + "\x00" + prefix))
	j.dir = filepath.Join(dir, hex.EncodeToString(name[:16]))
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the state directory: %w", err)
	}
	id, err := readIdentity(filepath.Join(j.dir, "identity"))
	if err != nil {
		return nil, err
	}
	j.id = id
	if err := j.create(); err != nil {
		return nil, fmt.Errorf("create the upload journal: %w", err)
	}
	return j, nil
}

// create makes this process's file. It gets its final name only when it is
// locked: nobody else ever sees it unlocked while the process lives.
func (j *journal) create() error {
	f, err := os.CreateTemp(j.dir, "journal-*.tmp")
	if err != nil {
		return err
	}
	j.file, j.path = f, f.Name()+journalSuffix
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	if err := os.Rename(f.Name(), j.path); err != nil {
		return errors.Join(err, os.Remove(f.Name()), f.Close())
	}
	return syncDir(j.dir)
}

// identity returns the UUID of the mount, stable as long as the state
// directory is.
func (j *journal) identity() string { return j.id }

// process returns what this process is called among those of its identity.
func (j *journal) process() string {
	if j.dir == "" {
		return j.id
	}
	return strings.TrimSuffix(filepath.Base(j.path), journalSuffix)
}

// lives reports whether the process of that name has not ended.
func (j *journal) lives(process string) bool {
	if process == j.process() {
		return true
	}
	if j.dir == "" {
		return false
	}
	file, err := os.Open(filepath.Join(j.dir, process+journalSuffix))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer file.Close()
	return unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

// begin records an upload durably.
func (j *journal) begin(key, uploadID string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.appendLocked(entry{Key: key, Upload: uploadID}); err != nil {
		return fmt.Errorf("record the upload of %q: %w", key, err)
	}
	if j.file != nil {
		if err := j.file.Sync(); err != nil {
			return fmt.Errorf("record the upload of %q: %w", key, err)
		}
	}
	j.open[uploadID] = key
	return nil
}

// end records that an upload is completed or aborted. It need not be durable:
// aborting such an upload again does nothing.
func (j *journal) end(uploadID string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	key, ok := j.open[uploadID]
	if !ok {
		return nil
	}
	delete(j.open, uploadID)
	if len(j.open) == 0 && j.lines >= journalLines && j.file != nil {
		j.lines = 0
		_, err := j.file.Seek(0, io.SeekStart)
		if err := errors.Join(err, j.file.Truncate(0)); err != nil {
			return fmt.Errorf("cut the upload journal: %w", err)
		}
		return nil
	}
	if err := j.appendLocked(entry{Key: key, Upload: uploadID, Ended: true}); err != nil {
		return fmt.Errorf("record the end of the upload of %q: %w", key, err)
	}
	return nil
}

func (j *journal) appendLocked(e entry) error {
	if j.file == nil {
		return nil
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	j.lines++
	// One write, with a newline before it: a torn line before spoils only itself.
	_, err = fmt.Fprintf(j.file, "\n%s\n", line)
	return err
}

// eachStale calls f with what each ended process left behind, and removes its
// file when f returns nil. Files of live processes are locked and left alone.
func (j *journal) eachStale(f func([]entry) error) error {
	if j.dir == "" {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(globEscape(j.dir), "*"+journalSuffix))
	if err != nil {
		return fmt.Errorf("list the upload journals: %w", err)
	}
	var errs []error
	for _, path := range paths {
		if path == j.path {
			continue
		}
		if err := oneStale(path, f); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func oneStale(path string, f func([]entry) error) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another mount cleaned up first
	}
	if err != nil {
		return fmt.Errorf("open an upload journal: %w", err)
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // its process lives
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read an upload journal: %w", err)
	}
	if err := f(openEntries(data)); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an upload journal: %w", err)
	}
	return nil
}

// openEntries returns the uploads in a journal's bytes that have no end there.
// Lines that a crash tore are passed over.
func openEntries(data []byte) []entry {
	var order []string
	open := map[string]entry{}
	for line := range bytes.Lines(data) {
		var e entry
		if json.Unmarshal(line, &e) != nil || e.Upload == "" {
			continue
		}
		if e.Ended {
			delete(open, e.Upload)
			continue
		}
		open[e.Upload] = e
		order = append(order, e.Upload)
	}
	var left []entry
	for _, id := range order {
		if e, ok := open[id]; ok {
			left = append(left, e)
			delete(open, id)
		}
	}
	return left
}

// close ends the journal; a file without open uploads is removed.
func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	var err error
	if len(j.open) == 0 {
		err = os.Remove(j.path)
	}
	err = errors.Join(err, j.file.Close())
	j.file = nil
	return err
}

// readIdentity returns the UUID kept in path, and makes one where there is
// none; of several processes that do so at once, one wins.
func readIdentity(path string) (string, error) {
	for range 2 {
		data, err := os.ReadFile(path)
		if err == nil {
			if id := string(bytes.TrimSpace(data)); len(id) == uuidLen {
				return id, nil
			}
			return "", fmt.Errorf("read the mount's identity: %s does not hold a UUID", path)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read the mount's identity: %w", err)
		}
		if err := writeIdentity(path, newUUID()); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("keep the mount's identity: %w", err)
		}
	}
	return "", fmt.Errorf("read the mount's identity: %s vanished", path)
}

func writeIdentity(path, id string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "identity-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	_, werr := f.WriteString(id + "\n")
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename it never replaces
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// globEscape returns path as a pattern that matches only itself.
func globEscape(path string) string {
	var b bytes.Buffer
	for _, r := range path {
		if r == '*' || r == '?' || r == '[' || r == '\\' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

const uuidLen = 36

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // documented never to return an error
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
