package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/s3io"
)

// rekeying is one run of rekey.
type rekeying struct {
	// Given.
	s           std
	c           *config
	from        []string // "" is every key of the new one's account
	materialize bool
	dry, asJSON bool

	// Constant once opened.
	bucket *s3io.Bucket // seals under the new key
	to     string       // ARN of that

	mu      sync.Mutex // guards the fields below, and what is printed
	show    *live
	keys    map[[sha256.Size]byte]func() (fate, error) // by data key; each does its work once
	sources map[string]func() (*s3io.Bucket, error)    // by ARN of an old key; each opens its bucket once
	opened  []*s3io.Bucket
	result  rekeyResult
}

// fate is what became of a data key.
type fate uint8

const (
	already   fate = iota // the header has it under the new key
	kept                  // the registry has
	rewrapped             // now
)

// Below reserved lie kmsfs's own objects. Of them only the copies of unlinked
// open files have content of users.
const (
	reserved = ".kmsfs/"
	unlinked = ".kmsfs/open/"
)

// walk looks at all objects, several at a time.
func (r *rekeying) walk(ctx context.Context) error {
	r.keys, r.sources = map[[sha256.Size]byte]func() (fate, error){}, map[string]func() (*s3io.Bucket, error){}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s3io.DefaultConnections)
	q := s3io.ListQuery{}
	for more := true; more; more = q.Token != "" {
		page, err := r.bucket.List(ctx, q)
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		for _, o := range page.Objects {
			if !strings.HasPrefix(o.Key, reserved) || strings.HasPrefix(o.Key, unlinked) {
				group.Go(func() error { return r.visit(ctx, o) })
			}
		}
		q.Token = page.Token
	}
	return group.Wait()
}

// visit looks at one object and counts what became of it. Only the end of ctx
// is an error.
func (r *rekeying) visit(ctx context.Context, o s3io.Object) error {
	sealed, err := r.move(ctx, o)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := &r.result
	switch {
	case s3io.KindOf(err) == s3io.NotExist: // removed meanwhile
		return nil
	case errors.Is(err, errNotSealed):
		n.Foreign++
		r.listLocked(&n.ForeignURLs, "not sealed", r.url(o))
	case err != nil:
		n.Failed++
		r.listLocked(&n.Failures, "failed", fmt.Sprintf("%s: %v", r.url(o), err))
	}
	n.Objects++
	if sealed {
		n.Sealed++
	}
	r.show.set("%d objects, %d data keys, %d rewrapped, %d failed", n.Objects, n.DataKeys, n.Rewrapped, n.Failed)
	return nil
}

// listLocked names an object that stays as it is.
func (r *rekeying) listLocked(list *[]string, what, line string) {
	switch {
	case !r.asJSON:
		if r.show.terminal {
			r.show.end()
		}
		say(r.s.out, "%s: %s", what, s3io.Printable(line))
	case len(*list) < mostListed:
		*list = append(*list, line)
	}
}

func (r *rekeying) url(o s3io.Object) string {
	return "s3://" + r.c.s3.Bucket + "/" + r.c.s3.Prefix + o.Key
}

// errNotSealed means that an object is none of envelope mode.
var errNotSealed = errors.New("not sealed")

// move brings one object under the new key, as far as that is not done.
func (r *rekeying) move(ctx context.Context, o s3io.Object) (sealed bool, err error) {
	if o.Form == s3io.Foreign { // its size says so
		return false, errNotSealed
	}
	if o, err = r.bucket.Head(ctx, o.Key); err != nil {
		return false, err
	}
	if o.Form == s3io.Plain && o.Header == nil { // a marker without sealed attributes
		return false, nil
	}
	h, err := r.bucket.HeaderOf(ctx, o)
	if s3io.KindOf(err) == s3io.KeyRejected {
		err = errNotSealed
	}
	if err != nil {
		return false, err
	}
	became, err := r.once(ctx, h, r.c.s3.Prefix+o.Key)()
	if err != nil || became == already || !r.materialize || r.dry || strings.HasPrefix(o.Key, unlinked) {
		return true, err
	}
	if err := r.rewrite(ctx, o); err != nil {
		return true, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Materialized++
	return true, nil
}

// rewrite seals all of o anew, unless it changed meanwhile. A marker has only
// its attributes sealed.
func (r *rekeying) rewrite(ctx context.Context, o s3io.Object) error {
	if o.Form == s3io.Sealed {
		_, err := r.bucket.Rewrite(ctx, o, s3io.Attrs{Meta: o.Meta})
		return err
	}
	xattrs, err := r.bucket.Xattrs(ctx, o)
	if err == nil {
		_, err = r.bucket.Copy(ctx, o, o.Key, s3io.Attrs{Meta: o.Meta, Xattrs: xattrs}, s3io.Condition{})
	}
	return err
}

// once returns what rewraps the data key of h, which all objects share that
// have the same wrapped keys in the same context.
func (r *rekeying) once(ctx context.Context, h *crypto.Header, key string) func() (fate, error) {
	text, _ := json.Marshal([]any{h.Context(), h.EDKs}) // cannot fail for strings and bytes
	id := sha256.Sum256(text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[id] == nil {
		r.keys[id] = sync.OnceValues(func() (fate, error) {
			became, err := r.rewrap(ctx, h, key)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.result.DataKeys++
			if err == nil {
				*[...]*int64{already: &r.result.Already, kept: &r.result.Kept, rewrapped: &r.result.Rewrapped}[became]++
			}
			return became, err
		})
	}
	return r.keys[id]
}

// rewrap has KMS wrap the data key of h anew and stores the result. Each of its
// old forms is tried until one succeeds.
func (r *rekeying) rewrap(ctx context.Context, h *crypto.Header, key string) (fate, error) {
	if slices.ContainsFunc(h.EDKs, func(e crypto.EDK) bool { return e.Info == r.to }) {
		return already, nil
	}
	for _, e := range h.EDKs {
		if renewed, ok, err := r.bucket.Rewrapped(ctx, e); err != nil || ok && renewed.Info == r.to {
			return kept, err
		}
	}
	buckets, err := r.sourcesOf(ctx, h)
	if err != nil {
		return kept, err
	}
	if r.dry {
		return rewrapped, nil
	}
	for _, b := range buckets {
		var got crypto.Rewrapped
		var ok bool
		if got, ok, err = b.Keyring().Rewrap(ctx, h, key, r.to); err != nil {
			continue
		}
		if !ok {
			return kept, nil
		}
		_, err = r.bucket.PutRewrap(ctx, got)
		return rewrapped, err
	}
	return kept, err
}

// sourcesOf returns buckets whose keyrings may open h. Without --from these are
// opened for each old key that is found, if it is of the new one's account:
// objects that others planted under keys of their own are not moved.
func (r *rekeying) sourcesOf(ctx context.Context, h *crypto.Header) ([]*s3io.Bucket, error) {
	if len(r.from) > 0 {
		return []*s3io.Bucket{r.bucket}, nil
	}
	var buckets []*s3io.Bucket
	var names []string
	ours := arnField(r.to, 4)
	for _, e := range h.EDKs {
		names = append(names, e.Info)
		if ours == "" || arnField(e.Info, 4) != ours {
			continue
		}
		b, err := r.source(ctx, e.Info)()
		if err != nil {
			return nil, err
		}
		buckets = append(buckets, b)
	}
	if len(buckets) == 0 {
		return nil, fmt.Errorf("it is under %s, a key of another account; name it with --from if it is yours", strings.Join(names, ", "))
	}
	return buckets, nil
}

// source returns what opens the bucket for objects under the key old.
func (r *rekeying) source(ctx context.Context, old string) func() (*s3io.Bucket, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sources[old] == nil {
		r.sources[old] = sync.OnceValues(func() (*s3io.Bucket, error) {
			o, e := r.c.s3, *r.c.s3.Envelope
			o.ReadOnly, o.Envelope = true, &e
			e.AllowKeyIDs = []string{old}
			b, err := s3io.Open(ctx, o)
			if err == nil {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.opened = append(r.opened, b)
			}
			return b, err
		})
	}
	return r.sources[old]
}

// calls returns the KMS calls of all buckets.
func (r *rekeying) calls() map[string]int64 {
	sum := maps.Clone(r.bucket.Stats().Keys.Calls)
	if sum == nil {
		sum = map[string]int64{}
	}
	for _, b := range r.opened {
		for op, n := range b.Stats().Keys.Calls {
			sum[op] += n
		}
	}
	return sum
}

// close closes all buckets.
func (r *rekeying) close(ctx context.Context) error {
	var errs []error
	for _, b := range append(r.opened, r.bucket) {
		errs = append(errs, b.Close(ctx))
	}
	return errors.Join(errs...)
}
