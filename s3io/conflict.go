package s3io

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

// OnConflict says what becomes of an object that somebody else put where a
// commit, or the rename of a file, wants to go.
type OnConflict uint8

// The policies.
const (
	ConflictFail      OnConflict = iota // theirs stays; the commit fails with Kind Stale
	ConflictKeep                        // theirs is copied to NAME.conflict-HOST-TIME, and ours replaces it
	ConflictOverwrite                   // ours replaces it; where the bucket has versions, theirs is one
)

const (
	conflictTries = 5         // rounds in which others may be faster once more
	maxNames      = 100       // copies of one name within a second
	maxComponent  = 255       // bytes of a name that every filesystem and server takes
	maxHost       = 63        // bytes of the host's name in it
	reserved      = ".kmsfs/" // what is below it is nobody else's
)

// reconcile is called when a request that should make key came to nothing
// because cond was not met: Kind Exists or Stale. It returns the condition
// under which ours may be sent again, after it dealt with what is there now as
// Options.OnConflict says; or cause, where it must not. After an answer of 409
// nothing need have changed: then cond is returned as it is, and an upload has to
// be sent again from its beginning.
func (b *Bucket) reconcile(ctx context.Context, key string, cond Condition, cause error) (Condition, error) {
	for range conflictTries {
		theirs, err := b.Head(ctx, key)
		absent := KindOf(err) == NotExist
		switch {
		case err != nil && !absent:
			return Condition{}, errors.Join(cause, err)
		case cond.IfAbsent && absent || !cond.IfAbsent && !absent && theirs.ETag == cond.IfMatch:
			if KindOf(cause) == Exists || status(cause) == http.StatusConflict {
				return cond, nil // what was there is gone, or two requests met
			}
			return Condition{}, cause // it was the source of a copy that changed
		case b.opts.OnConflict == ConflictFail || cond.Exact || marker(key) || strings.HasPrefix(key, reserved):
			return Condition{}, cause
		case absent:
			b.settled("somebody else deleted a file that is written here: it is made again", key, "")
			return Condition{IfAbsent: true}, nil
		case b.opts.OnConflict == ConflictOverwrite:
			b.settled("somebody else changed a file that is written here: it is overwritten", key, "")
			return Condition{IfMatch: theirs.ETag}, nil
		}
		kept, err := b.keep(ctx, theirs)
		switch KindOf(err) {
		case Stale, NotExist: // theirs changed once more
			continue
		}
		if err != nil {
			return Condition{}, unkept(key, cause, err)
		}
		b.settled("somebody else changed a file that is written here: theirs is kept beside it", key, kept)
		return Condition{IfMatch: theirs.ETag}, nil
	}
	return Condition{}, cause
}

// Reconcile is for callers that repeat a conditional Copy themselves, such as
// the rename of a file: c was not met, which is the cause. It deals with what is
// under key now as Options.OnConflict says, and returns the condition for the
// next try; or cause, where it must not.
func (b *Bucket) Reconcile(ctx context.Context, key string, c Condition, cause error) (Condition, error) {
	return b.reconcile(ctx, key, c, cause)
}

// settled counts and logs a conflict that took nothing from anybody, or what
// the user chose.
func (b *Bucket) settled(what, key, kept string) {
	b.counters.conflicts.Add(1)
	if kept == "" {
		b.log.Warn(what, "key", key)
		return
	}
	b.log.Warn(what, "key", key, "theirs", kept)
}

// keep copies theirs to a name of its own beside it and returns its key.
func (b *Bucket) keep(ctx context.Context, theirs Object) (string, error) {
	when := time.Now().UTC().Format("20060102T150405Z")
	if !b.capabilities().CopyToAbsent { // two hosts of one name could take one name at once
		when += "-" + newCommitID()[:8]
	}
	for n := 1; n <= maxNames; n++ {
		ending := ".conflict-" + b.host() + "-" + when
		if n > 1 {
			ending += fmt.Sprintf("-%d", n)
		}
		kept, err := b.conflictKey(theirs.Key, ending)
		if err != nil {
			return "", err
		}
		_, err = b.Copy(ctx, theirs, kept, Attrs{Meta: theirs.Meta}, Condition{IfAbsent: true, Exact: true})
		if KindOf(err) != Exists {
			return kept, err
		}
	}
	return "", &Error{Kind: Exists, Op: opCopy, Key: theirs.Key, Err: errors.New("every name for what somebody else made is taken")}
}

// conflictKey returns key with its name shortened so that ending fits, never
// in the middle of a character or of a mark ‛XX (see package fs).
func (b *Bucket) conflictKey(key, ending string) (string, error) {
	dir, name := key[:strings.LastIndexByte(key, '/')+1], key[strings.LastIndexByte(key, '/')+1:]
	room := min(maxComponent, maxKey-len(b.full(dir))) - len(ending)
	if len(name) > room {
		cut := max(room, 0)
		for cut > 0 && !utf8.RuneStart(name[cut]) {
			cut--
		}
		name = name[:cut]
		if mark := strings.LastIndex(name, "\u201b"); mark >= 0 && cut-mark < len("\u201bXX") {
			name = name[:mark]
		}
	}
	if name == "" {
		return "", &Error{Kind: NameTooLong, Op: opCopy, Key: key, Err: errors.New("no room for a name beside it")}
	}
	return dir + name + ending, nil
}

// host returns the name of this machine as names of files take it.
func (b *Bucket) host() string {
	name := b.opts.Host
	if name == "" {
		name, _ = os.Hostname()
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '-'
	}, name)
	if name == "" {
		name = "host"
	}
	return name[:min(len(name), maxHost)]
}

// unkept is the error for a commit that would have destroyed what somebody
// else made.
func unkept(key string, cause, err error) error {
	hint := "theirs stays as it is; save the file under another name, or mount with --on-conflict overwrite"
	return &Error{Kind: Stale, Op: "replace", Key: key, Hint: hint,
		Err: fmt.Errorf("%w; theirs could not be kept beside it: %w", cause, err)}
}
