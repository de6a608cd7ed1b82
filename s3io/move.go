package s3io

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Move is the rename of all objects under one prefix to another: copies are
// made of all, and then all sources are deleted. A crash in between leaves it
// to the next mount of the same identity: as long as no source was deleted it
// takes the copies back, and afterwards it deletes the sources that are left.
//
// The journal knows only the prefixes and whether deleting has begun. Which
// objects belong together the copies say: the commit id of each is a hash of
// the move, its key and the source's ETag. Only of such a pair, both as they
// were, is one side ever removed, so that settling, at whatever time, takes the
// last of nothing, and nothing that somebody else made.
type Move struct {
	b *Bucket
	e entry
}

// BeginMove records the intent durably. over says that there is an object at
// to itself, the marker of an empty directory, which is to be replaced. Both
// prefixes end in a slash. No other move of this mount may touch them.
func (b *Bucket) BeginMove(from, to string, over bool) (*Move, error) {
	m := &Move{b, entry{Move: newCommitID(), From: from, To: to, Over: over}}
	return m, b.journal.note(m.e)
}

// Copy copies src, which HEAD told of, to where it goes.
func (m *Move) Copy(ctx context.Context, src Object, c Condition) (Object, error) {
	c.Exact = true // a conflict in one object is one in the directory
	dst := m.e.To + strings.TrimPrefix(src.Key, m.e.From)
	return m.b.Copy(ctx, src, dst, Attrs{Meta: src.Meta, commit: m.b.twin(m.e, src.ETag, dst)}, c)
}

// Copied records durably that every source has its copy: from now on sources
// may be deleted.
func (m *Move) Copied() error {
	e := m.e
	e.Deleting = true
	err := m.b.journal.note(e)
	if err == nil {
		m.e = e
	}
	return err
}

// Completes reports whether Settle would complete the move.
func (m *Move) Completes() bool { return m.e.Deleting }

// End records that all sources are deleted.
func (m *Move) End() error { return m.b.journal.end(m.e.Move) }

// Settle ends a move that failed, as the next mount would: it is completed if
// Copied was called, else taken back.
func (m *Move) Settle(ctx context.Context) error {
	if err := m.b.settleMove(ctx, m.e); err != nil {
		return err
	}
	return m.End()
}

// twin is the commit id of what the move makes under dst of a source with that
// ETag.
func (b *Bucket) twin(e entry, etag, dst string) string {
	sum := sha256.Sum256([]byte(e.Move + "\x00" + strings.Trim(etag, `"`) + "\x00" + b.full(dst)))
	return hex.EncodeToString(sum[:16])
}

// settleMove removes one side of each pair: the sources if deleting had begun,
// else the copies. What has no twin stays.
func (b *Bucket) settleMove(ctx context.Context, e entry) error {
	sources := map[string]Object{} // by key below From
	err := b.each(ctx, e.From, func(o Object) {
		sources[strings.TrimPrefix(o.Key, e.From)] = Object{Key: o.Key, ETag: o.ETag}
	})
	if err != nil {
		return fmt.Errorf("settle %v: %w", e, err)
	}
	var removed atomic.Int64
	var g errgroup.Group
	_, limit := b.Parallel()
	g.SetLimit(limit)
	err = b.each(ctx, e.To, func(o Object) {
		below := strings.TrimPrefix(o.Key, e.To)
		src, ok := sources[below]
		if !ok || below == "" && e.Over && !e.Deleting { // the directory was there before
			return
		}
		g.Go(func() error {
			done, err := b.settlePair(ctx, e, src, o.Key)
			if done {
				removed.Add(1)
			}
			return err
		})
	})
	if err = errors.Join(err, g.Wait()); err != nil {
		return fmt.Errorf("settle %v: %w", e, err)
	}
	outcome := "taken back"
	if e.Deleting {
		outcome = "completed"
	}
	b.log.Info("an interrupted rename was "+outcome, "from", e.From, "to", e.To, "removed", removed.Load())
	if left := int64(len(sources)) - removed.Load(); e.Deleting && left > 0 {
		b.log.Warn("objects stay under the old name: they or their copies were changed by somebody else", "from", e.From, "to", e.To, "objects", left)
	}
	return nil
}

// settlePair removes src or what is under dst, if that is src's twin.
func (b *Bucket) settlePair(ctx context.Context, e entry, src Object, dst string) (bool, error) {
	looking, deadline := b.reading(ctx)
	defer deadline.stop()
	now, commit, err := b.head(looking, dst, "")
	if KindOf(err) == NotExist || err == nil && commit != b.twin(e, src.ETag, dst) {
		return false, nil
	}
	if err == nil && e.Deleting {
		err = b.Delete(ctx, src)
	} else if err == nil {
		err = b.Delete(ctx, now)
	}
	if KindOf(err) == Stale {
		return false, nil
	}
	return err == nil, err
}

// each calls f with every object under prefix.
func (b *Bucket) each(ctx context.Context, prefix string, f func(Object)) error {
	q := ListQuery{Prefix: prefix}
	for {
		page, err := b.List(ctx, q)
		if err != nil {
			return err
		}
		for _, o := range page.Objects {
			f(o)
		}
		if page.Token == "" {
			return nil
		}
		q.Token = page.Token
	}
}

// Parallel says how many copies, and how many requests without content, one
// operation on many objects may make side by side. Half of the connections of
// either kind are left to others, so that stat does not wait for it.
func (b *Bucket) Parallel() (copies, others int) {
	return max(1, b.opts.MaxConnections/2), max(1, b.opts.MaxConnections/8)
}
