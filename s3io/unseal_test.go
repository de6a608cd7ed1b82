package s3io

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/internal/sandbox"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

const frame = crypto.FrameSize

// TestSealedSizes compares what listings and HEAD say of sealed objects, with
// and without their headers in the metadata.
func TestSealedSizes(t *testing.T) {
	s := newStage(t)
	b := s.vault(nil)
	for _, size := range []int64{0, 1, frame - 1, frame, frame + 1, 2 * frame, 1 << 20, 1<<20 + 5} {
		for _, full := range []bool{false, true} {
			for _, bare := range []bool{false, true} {
				key := fmt.Sprintf("%d-%v-%v", size, full, bare)
				sealed, h := s.seal(b, key, noise(int(size)), full)
				meta := inMeta(h)
				if bare {
					meta = nil
				}
				o := s.plant(b, key, sealed, meta)
				if o.Size != size || o.Form != Sealed || o.Stored != int64(len(sealed)) || o.Head {
					t.Errorf("%s: listed as %+v", key, o)
				}
				s.box.Log.Reset()
				head, err := b.Head(s.ctx, key)
				if err != nil || head.Size != size || head.Form != Sealed || head.Stored != int64(len(sealed)) || !head.Header.Equal(h) || len(head.Meta) > 0 {
					t.Errorf("%s: HEAD says %+v, %v", key, head, err)
				}
				want := []string{"HeadObject"}
				if bare {
					want = append(want, "GetObject 0-1023")
				}
				if diff := cmp.Diff(want, s.asked()); diff != "" {
					t.Errorf("%s: %s", key, diff)
				}
			}
		}
	}
}

// TestFormsOfOthers names what is not sealed.
func TestFormsOfOthers(t *testing.T) {
	s := newStage(t)
	b := s.vault(nil)
	for _, c := range []struct {
		key    string
		size   int
		listed Form
		form   Form
	}{
		{"dir/", 0, Plain, Plain},
		{"empty", 0, Foreign, Foreign},
		{"short", 1063, Foreign, Foreign},
		{"fits", 1064, Sealed, Foreign},
		{"fits too", 70 << 10, Sealed, Foreign},
		{"between", crypto.MinSealedSize + frame + 3, Foreign, Foreign},
		{rewrapDir + "x.json", 5000, Plain, Plain},
	} {
		o := s.plant(b, c.key, noise(c.size), nil)
		head, err := b.Head(s.ctx, c.key)
		if err != nil || o.Form != c.listed || head.Form != c.form || head.Size != int64(c.size) {
			t.Errorf("%s: listed as %+v, HEAD says %+v, %v", c.key, o, head, err)
		}
	}
}

// TestPeek looks into an object past cut connections, and leaves the guess
// where it may not look.
func TestPeek(t *testing.T) {
	s := newStage(t)
	b := s.vault(nil)
	sealed, h := s.seal(b, "a", noise(5000), false)
	s.plant(b, "a", sealed, nil)
	s.plant(b, "theirs", sealed[1:], nil)
	for _, kind := range []wire.FaultKind{wire.CutBody, wire.ResetBody, wire.ResetBefore, wire.Answer} {
		s.fault(wire.Fault{Op: "GetObject", Kind: kind, Cut: 100, Times: 2})
		if o, err := b.Head(s.ctx, "a"); err != nil || !o.Header.Equal(h) {
			t.Errorf("fault %d: %+v, %v", kind, o, err)
		}
		s.fault(wire.Fault{Op: "GetObject", Kind: kind, Cut: 100, Times: 2})
		if o, err := b.Head(s.ctx, "theirs"); err != nil || o.Form != Foreign {
			t.Errorf("fault %d: %+v, %v", kind, o, err)
		}
	}
	s.fault(wire.Fault{Op: "GetObject", Kind: wire.Answer, Status: 412, Code: "PreconditionFailed", Times: 1})
	s.box.Log.Reset()
	if o, err := b.Head(s.ctx, "a"); err != nil || o.Header == nil || s.box.Log.Count("HeadObject") != 2 {
		t.Errorf("replaced meanwhile: %+v, %v", o, err)
	}
	s.fault(wire.Fault{Op: "GetObject", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	o, err := b.Head(s.ctx, "a")
	if err != nil || o.Form != Sealed || o.Header != nil {
		t.Errorf("denied: %+v, %v", o, err)
	}
	_, err = s.readAll(b, o)
	wantKind(t, err, Permission)
}

// TestRangesOfSealedObjects reads anything of objects of all shapes, known
// from listings and from HEAD.
func TestRangesOfSealedObjects(t *testing.T) {
	s := newStage(t)
	b := s.vault(nil)
	type shape struct {
		o     Object
		plain []byte
	}
	var shapes []shape
	for _, size := range []int{0, 1, frame - 1, frame, frame + 1, 3 * frame, 3*frame + 17, 40*frame + 1} {
		for _, full := range []bool{false, true} {
			plain, key := noise(size), fmt.Sprintf("%d-%v", size, full)
			sealed, h := s.seal(b, key, plain, full)
			shapes = append(shapes, shape{s.plant(b, key, sealed, nil), plain})
			shapes = append(shapes, shape{s.plant(b, key+"-h", sealed, inMeta(h)), plain})
			head, err := b.Head(s.ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			shapes = append(shapes, shape{head, plain})
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom(shapes).Draw(t, "object")
		size := int64(len(c.plain))
		near := rapid.Custom(func(t *rapid.T) int64 {
			return rapid.Int64Range(0, size/frame+1).Draw(t, "frame")*frame + rapid.Int64Range(-2, 2).Draw(t, "near")
		})
		off := rapid.OneOf(near, rapid.Int64Range(0, size+10)).Draw(t, "off")
		n := rapid.OneOf(near, rapid.Int64Range(-1, size+10)).Draw(t, "n")
		body, err := b.Get(s.ctx, c.o, off, n)
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		got, err := readBy(body, rapid.SampledFrom([]int{1 << 10, 4096, frame, 100_000, 1 << 20}).Draw(t, "by"))
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		if off >= 0 && off < size {
			want = c.plain[off:]
			if n >= 0 && n < int64(len(want)) {
				want = want[:n]
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes at %d of %d: got %d others", n, off, size, len(got))
		}
	})
}

// readBy reads all of r in pieces of up to n bytes.
func readBy(r io.Reader, n int) (all []byte, err error) {
	p := make([]byte, n)
	for err == nil {
		var k int
		k, err = r.Read(p)
		all = append(all, p[:k]...)
	}
	if err == io.EOF {
		err = nil
	}
	return all, err
}

// TestRoundTrips counts what cold reads cost.
func TestRoundTrips(t *testing.T) {
	s := newStage(t)
	writer := s.vault(nil)
	large := s.plantSealed(writer, "large", noise(9<<20))
	small := s.plantSealed(writer, "small", noise(5000))
	sealed, _ := s.seal(writer, "bare", noise(200_000), false)
	bare := s.plant(writer, "bare", sealed, nil)
	for _, c := range []struct {
		name   string
		o      Object
		off, n int64
		want   []string
	}{
		{"small file", small, 0, 5000, []string{"GetObject 0-6063", "Decrypt"}},
		{"in the middle", large, 5 << 20, 4096, []string{"GetObject 5246464-5312031", "Decrypt"}},
		{"its end", large, 9<<20 - 10, 10, []string{"GetObject 9377248-9442855", "Decrypt"}},
		{"begin of a bare one", bare, 0, 100, []string{"GetObject 0-66591", "Decrypt"}},
		{"middle of a bare one", bare, 70_000, 100, []string{"GetObject 66592-132159", "GetObject 0-1023", "Decrypt"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := s.vault(func(o *Options) { o.ReadOnly, o.ReadAhead = true, -1 })
			s.box.Log.Reset()
			if _, err := s.read(b, c.o, c.off, c.n); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, s.asked()); diff != "" {
				t.Error(diff)
			}
			head, err := b.Head(s.ctx, c.o.Key)
			if err != nil {
				t.Fatal(err)
			}
			s.box.Log.Reset()
			if _, err := s.read(b, head, c.off, c.n); err != nil {
				t.Fatal(err)
			}
			if gets := slices.DeleteFunc(s.asked(), func(op string) bool { return op == "Decrypt" }); len(gets) != 1 {
				t.Errorf("after HEAD: %v", gets)
			}
		})
	}
}

// TestOneOpenerForAReader reads ahead in parallel: KMS is asked once, although
// no cache helps.
func TestOneOpenerForAReader(t *testing.T) {
	s := newStage(t)
	plain := noise(24 << 20)
	o := s.plantSealed(s.vault(nil), "k", plain)
	b := s.vault(func(o *Options) { o.ReadOnly = true })
	r := b.NewReader(o)
	defer r.Close()
	s.box.Log.Reset()
	got, err := io.ReadAll(io.NewSectionReader(readerAt{s.ctx, r}, 0, int64(len(plain))))
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if n := s.box.Log.Count("Decrypt"); n != 1 {
		t.Errorf("KMS was asked %d times", n)
	}
	if stats := b.Stats(); stats.Keys.Calls["Decrypt"] != 1 || stats.Keys.Opened != 1 {
		t.Errorf("statistics are %+v", stats.Keys)
	}
}

// TestFlippedByteOnTheWay reads all the same: what does not open is asked for
// again, also where nobody but the final frame tells.
func TestFlippedByteOnTheWay(t *testing.T) {
	s := newStage(t)
	writer := s.vault(nil)
	plain := noise(10 * frame)
	o := s.plantSealed(writer, "k", plain)
	sealed, h := s.seal(writer, "empty", nil, false)
	empty := s.plant(writer, "empty", sealed, inMeta(h))
	for _, at := range []int64{0, 10, crypto.HeaderSize + 2, crypto.HeaderSize + 100, crypto.FrameOffset(7) - 1, crypto.FrameOffset(10) + 5, o.Stored - 1} {
		b := s.vault(func(o *Options) { o.ReadOnly, o.ReadAhead = true, -1; soon(o) })
		rule := s.flip("pre/k", at, 1)
		got, err := s.read(b, o, 0, int64(len(plain)))
		if err != nil || !bytes.Equal(got, plain) || rule.Hits() != 1 {
			t.Errorf("byte %d: %d bytes, %v, %d faults", at, len(got), err, rule.Hits())
		}
	}
	b := s.vault(func(o *Options) { o.ReadOnly = true })
	s.flip("pre/empty", crypto.HeaderSize+30, 1)
	if _, err := s.read(b, empty, 0, 1); err != io.EOF {
		t.Errorf("of an empty file: %v", err)
	}
	s.flip("pre/k", 20, 0) // whatever is asked for
	_, err := s.read(b, o, 5*frame, 10)
	wantKind(t, err, Integrity)
}

// TestReaderOpensSealedObjects compares reads of 8 goroutines with the content,
// while a part of all answers is cut, reset, refused, or has a flipped bit.
func TestReaderOpensSealedObjects(t *testing.T) {
	s := newStage(t)
	plain := noise(9 << 20)
	sealed, _ := s.seal(s.vault(func(o *Options) { o.Envelope.ContextBucket = "b" }), "k", plain, false)
	server := newObjectServer(sealed)
	var faults atomic.Int64 // one of so many GETs fails; 0 is none
	server.hook = func(w http.ResponseWriter, _ *http.Request, asked stretch) bool {
		n := faults.Load()
		if n == 0 || rand.Int64N(n) != 0 {
			return false
		}
		switch rand.IntN(4) {
		case 0:
			server.refuse(w, http.StatusServiceUnavailable, "SlowDown")
		case 1, 2:
			server.cut(w, asked, rand.IntN(2) == 0)
		case 3:
			server.head(w, asked, fakeETag)
			content := bytes.Clone(sealed[asked.off:asked.end])
			content[rand.IntN(len(content))] ^= 1
			_, _ = w.Write(content)
		}
		return true
	}
	b := openFake(t, server, s.sealing)
	rapid.Check(t, func(t *rapid.T) {
		faults.Store(rapid.SampledFrom([]int64{0, 0, 30, 10}).Draw(t, "faults"))
		seed := rapid.Uint64().Draw(t, "seed")
		r := b.NewReader(server.sealed(int64(len(plain))))
		defer r.Close()
		var wg sync.WaitGroup
		errs := make(chan error, 8)
		for g := range uint64(8) {
			wg.Go(func() { errs <- readAbout(r, plain, rand.New(rand.NewPCG(seed, g))) })
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil && faults.Load() == 0 || err != nil && KindOf(err) != Integrity && KindOf(err) != KeyRejected {
				t.Fatal(err) // of the rest, two flips of one frame in a row are possible
			}
		}
	})
}

// sealing makes o the options of an envelope mount whose KMS is s's.
func (s *stage) sealing(o *Options) {
	s.t.Setenv("AWS_ACCESS_KEY_ID", sandbox.AccessKey)
	s.t.Setenv("AWS_SECRET_ACCESS_KEY", sandbox.SecretKey)
	o.KMSEndpoint, o.CABundle = s.box.KMSURL(), s.box.CAFile()
	o.Envelope = &Envelope{KeyIDs: []string{sandbox.KeyAlias}}
}

// sealed is the object as one of size bytes of plaintext.
func (s *objectServer) sealed(size int64) Object {
	return Object{Key: "k", Form: Sealed, Size: size, Stored: int64(len(s.content)), ETag: fakeETag}
}
