package kms

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// fileName is the one file of the toy in Options.Dir.
const fileName = "kms-toy-keys.json"

// state is what the server keeps.
type state struct {
	Warning string
	Keys    map[string]*key   // by ARN
	Aliases map[string]*alias // by alias ARN
	Grants  map[string]*grant // by id
}

const warning = "Key material of the kmsfs sandbox, in the clear. It is a toy: keep nothing under it that must stay secret."

// load reads the state from dir; none is an empty state.
func load(dir string) (state, error) {
	st := state{Warning: warning, Keys: map[string]*key{}, Aliases: map[string]*alias{}, Grants: map[string]*grant{}}
	if dir == "" {
		return st, nil
	}
	name := filepath.Join(dir, fileName)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &st)
	}
	if err != nil {
		return st, fmt.Errorf("read the sandbox's keys from %s: %w", name, err)
	}
	for arn, k := range st.Keys {
		if _, err := parsePolicy(k.Policy); err != nil || k.Spec == symmetric && len(k.Backing) == 0 {
			return st, fmt.Errorf("read the sandbox's keys from %s: key %s is damaged (%v)", name, arn, err)
		}
	}
	return st, nil
}

// save replaces the file in dir: a crash leaves the old or the new one.
func (st *state) save(dir string) error {
	if dir == "" {
		return nil
	}
	text, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("write the sandbox's keys: %w", err)
	}
	f, err := os.CreateTemp(dir, fileName+".*") // with mode 0600
	if err != nil {
		return fmt.Errorf("write the sandbox's keys: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, fileName))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the sandbox's keys to %s: %w", dir, err), os.Remove(f.Name()))
	}
	return nil
}
