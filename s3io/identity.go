package s3io

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

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

const uuidLen = 36

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // documented never to return an error
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
