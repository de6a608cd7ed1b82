package s3io

import (
	"bytes"
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

// A journal remembers on disk the multipart uploads, the moves and the probes of
// this process, so that after a crash the next mount of the same identity aborts or
// settles them, and no others: never those of another mount, and never by age.
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
	open  map[string]entry // by id
	lines int              // in file, so that it can be cut when nothing is open
}

// entry is an upload, a move or a probe that a journal knows of. The last one of an id
// holds.
type entry struct {
	Key    string `json:"key,omitempty"`
	Upload string `json:"upload,omitempty"`

	Move     string `json:"move,omitempty"` // id of the Move
	From     string `json:"from,omitempty"`
	To       string `json:"to,omitempty"`
	Over     bool   `json:"over,omitempty"`     // there was a marker at To
	Deleting bool   `json:"deleting,omitempty"` // all copies are there

	Probe string `json:"probe,omitempty"` // key that nothing but the probe uses
	Made  bool   `json:"made,omitempty"`  // there may be an object under it

	Ended bool `json:"ended,omitempty"`
}

// id is what tells entries apart.
func (e entry) id() string { return e.Upload + e.Move + e.Probe }

// String says what the entry is of, for errors.
func (e entry) String() string {
	if e.Move != "" {
		return fmt.Sprintf("the rename of %q to %q", e.From, e.To)
	}
	if e.Probe != "" {
		return fmt.Sprintf("the probe %q", e.Probe)
	}
	return fmt.Sprintf("the upload of %q", e.Key)
}

const (
	journalSuffix = ".journal"
	journalLines  = 1000 // a file that is longer is cut as soon as nothing is open
)

// openJournal opens the journal of a bucket's prefix below dir, and creates
// identity and files where they are missing. With an empty dir identity and
// entries end with the process.
func openJournal(dir, bucket, prefix string) (*journal, error) {
	j := &journal{open: map[string]entry{}}
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
		return nil, fmt.Errorf("create the journal: %w", err)
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
	return j.note(entry{Key: key, Upload: uploadID})
}

// note records e durably. It replaces what was noted of the same id.
func (j *journal) note(e entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.appendLocked(e, true); err != nil {
		return fmt.Errorf("record %v: %w; check --state-dir", e, err)
	}
	j.open[e.id()] = e
	return nil
}

// end records that an upload is completed or aborted, a move settled, or a probe
// removed. Of moves alone it must be durable: ending the others again does
// nothing.
func (j *journal) end(id string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, ok := j.open[id]
	if !ok {
		return nil
	}
	delete(j.open, id)
	e.Ended = true
	if err := j.appendLocked(e, e.Move != ""); err != nil {
		return fmt.Errorf("record the end of %v: %w", e, err)
	}
	if len(j.open) > 0 || j.lines < journalLines || j.file == nil {
		return nil
	}
	j.lines = 0
	_, err := j.file.Seek(0, io.SeekStart)
	if err := errors.Join(err, j.file.Truncate(0)); err != nil {
		return fmt.Errorf("cut the journal: %w", err)
	}
	return nil
}

func (j *journal) appendLocked(e entry, durable bool) error {
	if j.file == nil {
		return nil
	}
	j.lines++
	return write(j.file, e, durable)
}

func write(f *os.File, e entry, durable bool) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	// One write, with a newline before it: a torn line before spoils only itself.
	if _, err = fmt.Fprintf(f, "\n%s\n", line); err == nil && durable {
		err = f.Sync()
	}
	return err
}

// eachStale calls f with each thing that ended processes left behind. What f
// returns nil for is never seen again; what it does not, next time. Files of
// live processes are locked and left alone.
func (j *journal) eachStale(f func(entry) error) error {
	if j.dir == "" {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(globEscape(j.dir), "*"+journalSuffix))
	if err != nil {
		return fmt.Errorf("list the journals: %w", err)
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

func oneStale(path string, f func(entry) error) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another mount cleaned up first
	}
	if err != nil {
		return fmt.Errorf("open a journal: %w", err)
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
		return fmt.Errorf("read a journal: %w", err)
	}
	var errs []error
	for _, e := range openEntries(data) {
		err := f(e)
		if err == nil {
			e.Ended = true
			err = write(file, e, true)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a journal: %w", err)
	}
	return nil
}

// openEntries returns what has no end in a journal's bytes. Lines that a crash
// tore are passed over.
func openEntries(data []byte) []entry {
	var order []string
	open := map[string]entry{}
	for line := range bytes.Lines(data) {
		var e entry
		if json.Unmarshal(line, &e) != nil || e.id() == "" {
			continue
		}
		if e.Ended {
			delete(open, e.id())
			continue
		}
		open[e.id()] = e
		order = append(order, e.id())
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

// close ends the journal; a file that nothing is open in is removed.
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
