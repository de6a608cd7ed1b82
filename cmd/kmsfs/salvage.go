package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/fs"
	"github.com/kmsfs/kmsfs/s3io"
)

// salvageSetting is the setting that says where what cannot be saved goes.
const salvageSetting = "salvage-dir"

// Bounds of salvage.
const (
	askTimeout   = 15 * time.Second // how long KMS may take to give a data key
	baseTimeout  = 20 * time.Second // how long what was not changed may take to be read
	maxBase      = 1 << 30          // bytes of it that are read
	escapedNames = 120              // bytes of the path in the name of a file
	keptAtOnce   = 16               // files that are open, and in memory with a frame or two
)

// salvage keeps what a mount cannot save, as envelope files in a directory of this
// machine.
type salvage struct {
	dir     string
	source  source
	log     *slog.Logger
	keys    *crypto.Keyring // nil where none can be had
	why     error           // why not
	own     bool            // keys is closed with the salvage
	asked   chan struct{}   // closed when the first question to KMS is answered
	cancel  context.CancelFunc
	turns   chan struct{} // of those who keep something
	mu      sync.Mutex    // guards the fields below
	refused error         // why KMS has given no data key; nil if it has
	adrift  time.Time     // when S3 was last found not to answer
}

// errNoKMSKey is why nothing can be kept where S3 encrypts under keys of its own.
var errNoKMSKey = errors.New("there is no KMS key of your own to encrypt it under: name one with --sse-kms-key-id or --" + envelopeKey)

// newSalvage prepares for what the mount of c cannot save, by a data key that is kept
// from now on: that of envelope mode, or one that is asked for in the background.
func newSalvage(ctx context.Context, c *config, b *s3io.Bucket, log *slog.Logger) *salvage {
	s := &salvage{dir: c.run.salvageDir, source: c.source, log: log, asked: make(chan struct{}), cancel: func() {},
		turns: make(chan struct{}, keptAtOnce)}
	switch {
	case c.s3.ReadOnly:
		s.why = errors.New("the mount is read-only")
	case c.s3.Envelope != nil:
		s.keys = b.Keyring()
	default:
		s.keys, s.why = ownKeyring(ctx, c, b.Key(), log)
		s.own = s.keys != nil
	}
	if !s.own {
		close(s.asked)
		return s
	}
	ctx, s.cancel = context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	go func() { // ends with close
		defer close(s.asked)
		if err := s.ask(ctx); err != nil {
			s.log.Info("what cannot be saved will not be kept", "why", s.denied(err))
		}
	}()
	return s
}

// ownKeyring returns a keyring under the KMS key that S3 encrypts under.
func ownKeyring(ctx context.Context, c *config, key string, log *slog.Logger) (*crypto.Keyring, error) {
	if arnField(key, 2) != "kms" || c.given["sse-kms-key-id"] == "" {
		return nil, errNoKMSKey
	}
	clients, err := s3io.KMSClients(ctx, c.s3)
	if err != nil {
		return nil, err
	}
	bucket := c.source.bucket
	if !strings.HasPrefix(bucket, "arn:") {
		bucket = "arn:" + partition(key) + ":s3:::" + bucket
	}
	return crypto.NewKeyring(clients, crypto.KeyringOptions{
		Keys: []crypto.Key{{ARN: key, Region: regionOf(key)}}, Bucket: bucket, Context: c.context,
		WriteOnly: true, Reserve: true, Warn: func(text string) { log.Info(text) },
	})
}

// ask makes sure that there is a data key.
func (s *salvage) ask(ctx context.Context) error {
	if s.keys == nil {
		return s.why
	}
	_, err := s.keys.SealReserve(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = err
	return err
}

// denied adds to err what can be done about it.
func (s *salvage) denied(err error) error {
	if crypto.AccessDenied(err) {
		return fmt.Errorf("%w; that S3 may use the key (kms:ViaService) is not enough to keep what cannot be saved", err)
	}
	return err
}

// wait waits for the first answer of KMS, but not for long.
func (s *salvage) wait(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	select {
	case <-s.asked:
	case <-ctx.Done():
	}
}

// possible says why nothing could be kept now, nil if it could.
func (s *salvage) possible(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := s.ask(ctx); err != nil {
		return s.denied(err)
	}
	return s.makeDir()
}

func (s *salvage) makeDir() error {
	if s.dir == "" {
		return fmt.Errorf("there is no directory for it; name one with --%s", salvageSetting)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("%w; name another directory with --%s", err, salvageSetting)
	}
	return nil
}

// close wipes the data key, if it is the salvage's own.
func (s *salvage) close() {
	s.cancel()
	<-s.asked
	if s.own {
		s.keys.Close()
	}
}

// manifest describes what was kept. It lies beside the file, as NAME.json.
type manifest struct {
	File    string        `json:"file"`
	Bucket  string        `json:"bucket"`
	Key     string        `json:"key"`  // of the object that it belongs to; "" if it has no place any more
	Path    string        `json:"path"` // below the mount point
	Size    int64         `json:"size"` // of the file
	Time    time.Time     `json:"time"`
	Reason  string        `json:"reason"`
	KMSKey  string        `json:"kms_key"`
	Whole   bool          `json:"whole"`             // the content is that of the file
	Kept    []s3io.Extent `json:"kept,omitempty"`    // else: the runs of the file that it is, one behind the other
	Over    []s3io.Extent `json:"over,omitempty"`    // what is as the object has it that "etag" and "version" name
	Lost    []s3io.Extent `json:"lost,omitempty"`    // what is nowhere
	ETag    string        `json:"etag,omitempty"`    // of the object that the file replaces
	Version string        `json:"version,omitempty"` // of that object
}

// keep is fs.Options.Keep.
func (s *salvage) keep(ctx context.Context, u fs.Unsaved) (where string, err error) {
	if err := s.possible(ctx); err != nil {
		return "", err
	}
	select { // an outage makes thousands fail at once
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	m := manifest{
		Bucket: s.source.bucket, Path: u.Path, Time: time.Now().UTC(), Reason: u.Reason.Error(),
		ETag: u.Base.ETag, Version: u.Base.VersionID,
	}
	if u.Key != "" {
		m.Key = s.source.prefix() + u.Key
	}
	f, err := createSealed(ctx, s.dir, s.keys)
	if err != nil {
		return "", err
	}
	defer f.discard()
	r, err := s.content(ctx, u, f)
	if err == nil {
		err = f.finish()
	}
	if err != nil {
		return "", fmt.Errorf("write to %s: %w", s.dir, err)
	}
	m.Size, m.Whole, m.Over, m.Lost, m.KMSKey = r.Size, r.Whole(), r.Over, r.Lost, f.key
	kind := ".sealed"
	if !m.Whole {
		m.Kept, kind = r.Kept, ".changes.sealed"
	}
	name := filepath.Join(s.dir, escapedPath(u.Path)+m.Time.Format(".20060102T150405Z.")+strings.ToLower(f.random)+kind)
	m.File = filepath.Base(name)
	if err = s.describe(name+".json", m); err != nil {
		return "", err
	}
	if err = f.rename(name); err != nil {
		return "", err
	}
	s.log.Debug("kept", "path", u.Path, "file", name)
	return told(name, m)
}

// told says where what m describes is, and what of it is nowhere.
func told(name string, m manifest) (where string, err error) {
	out := filepath.Base(m.Path)
	if escaped(out) != out { // others named it, and what is printed here goes to a shell
		out = "FILE"
	}
	where = fmt.Sprintf("%s (open it with: kmsfs decrypt %s -o %s)", name, name, out)
	if !m.Whole {
		where += fmt.Sprintf(", whose content is but a part of the file; %s.json says which", name)
	}
	if len(m.Lost) > 0 {
		var n int64
		for _, x := range m.Lost {
			n += x.To - x.From
		}
		err = fmt.Errorf("%d of %d bytes had been sent already and are lost", n, m.Size)
	}
	return where, err
}

// content writes what u has to f: all of it if what was not changed can be read
// soon, else what was changed.
func (s *salvage) content(ctx context.Context, u fs.Unsaved, f *sealedFile) (s3io.Remains, error) {
	s.mu.Lock()
	adrift := time.Since(s.adrift) < time.Minute
	s.mu.Unlock()
	if n := u.InBase(); n == 0 || n <= maxBase && !adrift {
		soon, cancel := context.WithTimeout(ctx, baseTimeout)
		defer cancel()
		if n == 0 {
			soon = ctx
		}
		r, err := u.Content(soon, f, true)
		if !errors.Is(err, s3io.ErrBase) && (err == nil || soon.Err() == nil || ctx.Err() != nil) {
			return r, err
		}
		s.mu.Lock()
		s.adrift = time.Now()
		s.mu.Unlock()
		if err := f.restart(ctx); err != nil {
			return r, err
		}
	}
	return u.Content(ctx, f, false)
}

// describe writes a manifest.
func (s *salvage) describe(name string, m manifest) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// escapedPath makes a file name of a path: readable, and not too long.
func escapedPath(path string) string {
	name := escaped(strings.Trim(path, "/"))
	if strings.HasPrefix(name, ".") {
		name = "%2E" + name[1:]
	}
	if len(name) > escapedNames {
		name = name[len(name)-escapedNames:]
	}
	return name
}

// escaped leaves nothing in name that means something to a shell.
func escaped(name string) string { return strings.ReplaceAll(url.QueryEscape(name), "+", "%20") }

// below says whether path lies in dir, or is it, also by symbolic links. Both are
// absolute, and path need not exist.
func below(path, dir string) bool {
	if path == "" {
		return false
	}
	at, rest := filepath.Clean(path), ""
	for at != "/" {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			at = real
			break
		}
		at, rest = filepath.Dir(at), filepath.Join(filepath.Base(at), rest)
	}
	return strings.HasPrefix(filepath.Join(at, rest)+"/", strings.TrimSuffix(dir, "/")+"/")
}
