package main

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"

	"github.com/kmsfs/kmsfs/crypto"
)

// sealedFile is an envelope file that is being written, under a name that goes away
// unless rename is called. Content that is kept nowhere else never is on disk in
// plaintext.
type sealedFile struct {
	keys   *crypto.Keyring
	f      *os.File
	random string // of its name
	key    string // KMS key of its data key

	sealer *crypto.Sealer
	next   uint32 // frame
	plain  []byte // of the next frame
	frame  []byte
}

func createSealed(ctx context.Context, dir string, keys *crypto.Keyring) (*sealedFile, error) {
	s := &sealedFile{keys: keys, random: rand.Text(), plain: make([]byte, 0, crypto.FrameSize)}
	var err error
	if s.f, err = os.OpenFile(filepath.Join(dir, "."+s.random+".tmp"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	if err = s.restart(ctx); err != nil {
		s.discard()
		return nil, err
	}
	return s, nil
}

// restart forgets what was written, and begins another message.
func (s *sealedFile) restart(ctx context.Context) (err error) {
	if s.sealer, err = s.keys.SealReserve(ctx); err != nil {
		return err
	}
	h := s.sealer.Header()
	s.key, s.next, s.plain = h.EDKs[0].Info, 1, s.plain[:0]
	if err = s.f.Truncate(0); err != nil {
		return err
	}
	_, err = s.f.WriteAt(h.Bytes(), 0)
	return errors.Join(err, second(s.f.Seek(int64(h.Size()), 0)))
}

func second(_ int64, err error) error { return err }

// Write seals p.
func (s *sealedFile) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n := min(len(p)-done, crypto.FrameSize-len(s.plain))
		s.plain = append(s.plain, p[done:done+n]...)
		done += n
		if len(s.plain) == crypto.FrameSize {
			s.frame = s.sealer.Run(s.next, 1).Seal(s.frame[:0], s.plain)
			s.plain = s.plain[:0]
			s.next++
			if _, err := s.f.Write(s.frame); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

// finish ends the message and brings it to disk.
func (s *sealedFile) finish() error {
	s.frame = s.sealer.Run(s.next, 1).SealFinal(s.frame[:0], s.plain)
	clear(s.plain[:cap(s.plain)])
	_, err := s.f.Write(s.frame)
	return errors.Join(err, s.f.Sync())
}

// rename gives the file its name, for good.
func (s *sealedFile) rename(name string) error {
	if err := os.Rename(s.f.Name(), name); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// discard closes the file, and removes it unless it was renamed.
func (s *sealedFile) discard() {
	_ = s.f.Close() // it was synced, or is of no use
	_ = os.Remove(s.f.Name())
}
