package s3io

import (
	"context"
	"maps"
	"slices"
	"sort"
	"sync"
)

// writes is what all writers of a bucket share: memory, spool, connections,
// and the work that goes on in the background.
type writes struct {
	mem    *budget
	joint  *budget       // of parts that are put together for a commit, which nothing else can hold up
	turn   chan struct{} // taken by who waits for that
	spool  *spool        // nil if the bucket is read-only
	sends  chan struct{} // taken by every part while it is sent
	parts  schedule
	inCore int64 // largest part that is kept in memory

	mu     sync.Mutex
	tasks  int             // running in the background
	idle   chan struct{}   // closed when tasks fell to 0; nil while none wait
	active map[*Writer]int // writers with work under way, and how much
	open   map[*session]struct{}
}

// newWrites takes the share of o's resources that is for writing: half of the
// memory and, so that reads go on beside uploads, half of the connections.
func newWrites(o Options) (*writes, error) {
	sealing := o.Envelope != nil
	parts, err := newSchedule(o.PartSize, sealing)
	if err != nil {
		return nil, err
	}
	var around room
	if sealing {
		around = sealRoom
	}
	w := &writes{
		joint:  newBudget(min(o.Memory/4, 2*maxPatchedPut), around),
		turn:   make(chan struct{}, 1),
		sends:  make(chan struct{}, max(1, o.MaxConnections/2)),
		parts:  parts,
		inCore: o.Memory / 8,
		active: map[*Writer]int{},
		open:   map[*session]struct{}{},
	}
	w.mem = newBudget(o.Memory/2-w.joint.total, around)
	if !o.ReadOnly {
		if w.spool, err = openSpool(o.SpoolDir, o.SpoolSize, sealing); err != nil {
			return nil, &Error{Kind: Misconfigured, Op: "open the spool", Hint: "check --spool-dir", Err: err}
		}
	}
	return w, nil
}

// background runs f for w; close waits for it.
func (s *writes) background(w *Writer, f func()) {
	s.mu.Lock()
	s.tasks++
	s.active[w]++
	s.mu.Unlock()
	go func() {
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.active[w]--; s.active[w] == 0 {
				delete(s.active, w)
			}
			if s.tasks--; s.tasks == 0 && s.idle != nil {
				close(s.idle)
				s.idle = nil
			}
		}()
		f()
	}()
}

// wait returns when nothing runs in the background any more.
func (s *writes) wait() {
	for {
		s.mu.Lock()
		if s.tasks == 0 {
			s.mu.Unlock()
			return
		}
		if s.idle == nil {
			s.idle = make(chan struct{})
		}
		idle := s.idle
		s.mu.Unlock()
		<-idle
	}
}

// close aborts the uploads of writers that nobody ended, waits for the
// background work, which ends early when the bucket's context does, and frees
// memory and spool. Writers are of no use after it.
func (s *writes) close(context.Context) error {
	s.wait()
	s.mu.Lock()
	left := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	for _, up := range left {
		up.w.Abort()
	}
	s.wait()
	s.mem.close()
	s.joint.close()
	if s.spool == nil {
		return nil
	}
	return s.spool.close()
}

// Busy returns a line for every file that is being uploaded or committed now,
// as umount shows them: "backup.tar: 3 parts, 48 MiB left".
func (b *Bucket) Busy() []string {
	b.writes.mu.Lock()
	var active []*Writer
	for w := range b.writes.active {
		active = append(active, w)
	}
	b.writes.mu.Unlock()
	var lines []string
	for _, w := range active {
		lines = append(lines, w.busy())
	}
	sort.Strings(lines)
	return lines
}

// Identity returns the UUID of this mount: the same for every mount of the
// same bucket and prefix with the same state directory.
func (b *Bucket) Identity() string { return b.journal.identity() }

// Process returns a name that no other live mount of this identity has.
func (b *Bucket) Process() string { return b.journal.process() }

// Lives reports whether the mount of this identity with that Process lives.
func (b *Bucket) Lives(process string) bool { return b.journal.lives(process) }

// CleanUp aborts the uploads, settles the moves and removes the probes that
// crashed mounts of this identity left behind, and no others. What it could not end it tries again
// when called next.
func (b *Bucket) CleanUp(ctx context.Context) error {
	return b.journal.eachStale(func(e entry) error {
		if e.Move != "" {
			return b.settleMove(ctx, e)
		}
		if e.Probe != "" {
			return b.sweepProbe(ctx, e)
		}
		if err := b.abortUpload(ctx, upload{key: e.Key, id: e.Upload}); KindOf(err) != NotExist {
			return err
		}
		return nil
	})
}
