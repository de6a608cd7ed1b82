package s3io

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/kmsfs/kmsfs/crypto"
)

// frameSize is the content of a page: of a frame of the spool, and of one of an
// envelope object.
const frameSize = crypto.FrameSize

// errSpoolFull says that the spool holds its limit and nothing in it is about
// to leave.
var errSpoolFull = errors.New("the spool is full")

// A spool keeps frames on disk for this process alone: in a file that has no
// name, sealed under a key that never leaves memory. Every frame lives in a slot
// of fixed size; slots are reused, and an empty spool takes no disk space.
//
// A frame has frameSize bytes of content at most. Where content is sealed before
// it is sent, what that makes of it is written over it: slots are larger, and
// taken as a whole at once, so that it needs no room that the disk may lack.
type spool struct {
	file  *os.File
	box   *crypto.Ephemeral
	frame int64     // most bytes that are written to a slot
	slots slot      // limit
	bufs  sync.Pool // *[]byte of one sealed frame

	mu      sync.Mutex
	state   []slotState // by slot-1: what was sealed there last
	free    []slot      // given back, below len(state)
	used    int
	leaving int           // slots that will be given back by themselves
	changed chan struct{} // closed and renewed when used or leaving fall
}

// A slot is the number of a frame's place, from 1; 0 is none.
type slot uint32

// slotState is what read must find in a slot: its length, and the nonce, which
// tells the frame from an older one.
type slotState struct {
	size  int32
	nonce [nonceLen]byte
}

// nonceLen is the prefix of a sealed frame that no two frames have in common.
const nonceLen = 12

// openSpool creates the file of a spool for size bytes of content in dir, which
// is created with mode 0700 where it is missing; "" is os.TempDir(). sealing
// makes room for frames of envelope objects.
func openSpool(dir string, size int64, sealing bool) (*spool, error) {
	if dir == "" {
		dir = os.TempDir()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the spool directory: %w", err)
	}
	box, err := crypto.NewEphemeral()
	if err != nil {
		return nil, fmt.Errorf("make the spool's key: %w", err)
	}
	f, err := os.CreateTemp(dir, ".kmsfs-spool-*") // with mode 0600
	if err != nil {
		return nil, fmt.Errorf("create the spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("unlink the spool: %w", err), f.Close())
	}
	s := &spool{file: f, box: box, frame: frameSize, slots: slot(min(size/frameSize, 1<<31)), changed: make(chan struct{})}
	if sealing {
		s.frame += crypto.FinalOverhead
	}
	s.bufs.New = func() any {
		b := make([]byte, 0, s.stride())
		return &b
	}
	return s, nil
}

func (s *spool) stride() int64 { return s.frame + int64(s.box.Overhead()) }

// alloc returns a free slot. Where there is none it waits for slots that are
// leaving; where none are, it returns errSpoolFull. It returns ctx's error
// when ctx ends first.
func (s *spool) alloc(ctx context.Context) (slot, error) {
	for {
		s.mu.Lock()
		n, ok := s.takeLocked()
		idle, changed := s.leaving == 0, s.changed
		s.mu.Unlock()
		if ok {
			return n, nil
		}
		if idle {
			return 0, errSpoolFull
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// tryAlloc returns a free slot if there is one at once.
func (s *spool) tryAlloc() (slot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takeLocked()
}

func (s *spool) takeLocked() (slot, bool) {
	if n := len(s.free); n > 0 {
		got := s.free[n-1]
		s.free = s.free[:n-1]
		s.used++
		return got, true
	}
	if slot(len(s.state)) == s.slots {
		return 0, false
	}
	s.state = append(s.state, slotState{})
	s.used++
	return slot(len(s.state)), true
}

// leave promises that n slots will be given back without their owner waiting
// for memory or spool.
func (s *spool) leave(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving += n
}

// stay takes the promise of leave back for n slots.
func (s *spool) stay(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving -= n
	s.wakeLocked()
}

// wakeLocked lets those who wait for a slot look again.
func (s *spool) wakeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// release gives slots back; leaving says that leave counted them.
func (s *spool) release(slots []slot, leaving bool) {
	if len(slots) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, slots...)
	s.used -= len(slots)
	if leaving {
		s.leaving -= len(slots)
	}
	if s.used == 0 {
		s.free, s.state = nil, nil
		_ = s.file.Truncate(0) // only gives disk space back; slots are written anew anyway
	}
	s.wakeLocked()
}

// write seals p into slot n, whose owner lets nobody read it meanwhile. A full
// disk is errSpoolFull.
func (s *spool) write(n slot, p []byte) error {
	buf := s.bufs.Get().(*[]byte)
	defer s.bufs.Put(buf)
	sealed := s.box.Seal((*buf)[:0], p)
	if s.frame > frameSize {
		sealed = sealed[:s.stride()] // what follows is of an older frame, sealed as well
	}
	if _, err := s.file.WriteAt(sealed, int64(n-1)*s.stride()); err != nil {
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return fmt.Errorf("%w: %w", errSpoolFull, err)
		}
		return fmt.Errorf("write to the spool: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.state[n-1]
	st.size = int32(len(p))
	copy(st.nonce[:], sealed)
	return nil
}

// read returns the plaintext of slot n appended to dst[:0], which must have
// room for s.frame bytes.
func (s *spool) read(dst []byte, n slot) ([]byte, error) {
	s.mu.Lock()
	st := s.state[n-1]
	s.mu.Unlock()
	buf := s.bufs.Get().(*[]byte)
	defer s.bufs.Put(buf)
	sealed := (*buf)[:int(st.size)+s.box.Overhead()]
	if _, err := s.file.ReadAt(sealed, int64(n-1)*s.stride()); err != nil {
		return nil, fmt.Errorf("read from the spool: %w", err)
	}
	if [nonceLen]byte(sealed) != st.nonce {
		return nil, fmt.Errorf("read from the spool: %w", crypto.ErrOpen)
	}
	p, err := s.box.Open(dst[:0], sealed)
	if err != nil {
		return nil, fmt.Errorf("read from the spool: %w", err)
	}
	return p, nil
}

// crowded says whether more than half of the spool is taken.
func (s *spool) crowded() bool { return s.inUse() > int(s.slots/2) }

// inUse returns the number of slots taken.
func (s *spool) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// close drops all frames and their key.
func (s *spool) close() error {
	s.box.Wipe()
	if err := s.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("close the spool: %w", err)
	}
	return nil
}
