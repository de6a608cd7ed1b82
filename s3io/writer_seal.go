package s3io

import (
	"hash"

	"github.com/kmsfs/kmsfs/crypto"
)

// This file seals pages where they are, once for each message, right before
// they are sent: every attempt sends the same bytes. Who reads a sealed page
// opens it, and who writes to one opens it for good.

// sealRoom is what pages that are sealed in their place need around them.
var sealRoom = room{head: crypto.Headroom, tail: crypto.Tailroom}

// seal makes p's pages frames of s's message, and adds them to crc while they are
// at hand. A last page that is not full becomes the final frame.
func (p *pages) seal(s *crypto.Sealer, crc hash.Hash) error {
	n := p.have.prefix()
	if n == 0 {
		return nil
	}
	run := s.Run(crypto.FrameAt(p.from), (n+frameSize-1)/frameSize)
	var via [2][]byte
	for i := 0; n > 0; i++ {
		to := page{sealed: int32(min(n, frameSize)), by: s.Opener}
		var frame []byte
		var err error
		if p.table[i].mem != nil {
			frame, err = p.sealInMemory(run, i, to)
		} else {
			frame, err = p.sealInSpool(run, i, to, &via)
		}
		if err != nil {
			return err
		}
		crc.Write(frame) // never fails
		n -= int64(to.sealed)
	}
	return nil
}

// sealInMemory makes page i what to says, and returns the frame.
func (p *pages) sealInMemory(run *crypto.Run, i int, to page) ([]byte, error) {
	if err := p.unseal(i); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := &p.table[i]
	plain := p.plain(*at)[:to.sealed]
	at.sealed, at.by = to.sealed, to.by
	return sealFrame(run, frameOf(*at)[:0], plain), nil
}

// sealInSpool makes page i what to says, in its slot, by way of two buffers, and
// returns the frame, which is in one of them.
func (p *pages) sealInSpool(run *crypto.Run, i int, to page, via *[2][]byte) ([]byte, error) {
	for k := range via {
		if via[k] == nil {
			via[k] = make([]byte, p.spool.frame)
		}
	}
	plain, err := p.content(i, via[0])
	if err != nil {
		return nil, err
	}
	frame := sealFrame(run, via[1][:0], plain[:to.sealed])
	p.mu.Lock()
	defer p.mu.Unlock()
	to.slot = p.table[i].slot
	if err := p.spool.write(to.slot, frame); err != nil {
		return nil, err
	}
	p.table[i] = to
	return frame, nil
}

// unseal makes page i, which is in memory, plain again.
func (p *pages) unseal(i int) error {
	if p.table[i].sealed == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := &p.table[i]
	_, err := p.open(i, p.plain(*at)[:0], frameOf(*at))
	if err == nil {
		at.sealed, at.by = 0, nil
	}
	return err
}

// content returns the plaintext of page i, in its place where that is plain
// memory, else in scratch, which has room for a frame of the spool.
func (p *pages) content(i int, scratch []byte) ([]byte, error) {
	at := p.table[i]
	frame, err := p.stored(i, scratch)
	switch {
	case err != nil || at.sealed == 0:
		return frame, err
	case at.mem != nil:
		return p.open(i, scratch[:0], frame)
	}
	return p.open(i, frame[headOf(at):headOf(at)], frame)
}

// open appends the plaintext of frame, which page i is sealed as, to dst.
func (p *pages) open(i int, dst, frame []byte) ([]byte, error) {
	at := p.table[i]
	return at.by.Open(dst, frame, crypto.FrameAt(p.from)+uint32(i), at.sealed < frameSize)
}

// stored returns what page i holds, sealed or not, in its place where that is
// memory, else in scratch.
func (p *pages) stored(i int, scratch []byte) ([]byte, error) {
	if at := p.table[i]; at.mem != nil {
		return p.held(at), nil
	}
	return p.spool.read(scratch[:0], p.table[i].slot)
}

// held returns what a page in memory holds, sealed or not.
func (p *pages) held(at page) []byte {
	if at.sealed > 0 {
		return frameOf(at)
	}
	return p.plain(at)
}

// frameOf returns the frame of a page that is sealed in memory.
func frameOf(at page) []byte {
	frame := at.mem[crypto.Headroom-headOf(at):]
	if at.sealed < frameSize {
		return frame[:at.sealed+crypto.FinalOverhead]
	}
	return frame[:crypto.Stride]
}

// headOf returns what precedes the ciphertext in the frame of a page.
func headOf(at page) int {
	if at.sealed < frameSize {
		return crypto.Headroom
	}
	return crypto.FrameHead
}

// sealFrame appends a page, sealed as run's next frame, to dst.
func sealFrame(run *crypto.Run, dst, plain []byte) []byte {
	if len(plain) < frameSize {
		return run.SealFinal(dst, plain)
	}
	return run.Seal(dst, plain)
}
