package s3io

import (
	"fmt"
	"testing"
)

func TestWriterAppends(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for _, size := range []int64{0, 1, minPart - 1, minPart, 9 << 20} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				r := m.rig(t, Options{PartSize: minPart})
				want := randomBytes(3, size)
				base := r.put(t, "log", want)
				w := r.b.NewWriter("log", &base, Condition{})
				if w.Dirty() || w.Size() != size {
					t.Fatalf("dirty %v, size %d", w.Dirty(), w.Size())
				}
				if o := mustCommit(t, w, Attrs{Meta: base.Meta}); o.ETag != base.ETag {
					t.Fatalf("a commit without changes made %s of %s", o.ETag, base.ETag)
				}
				for i := range 3 {
					more := randomBytes(uint64(10+i), 3<<20+7)
					mustWrite(t, w, more, int64(len(want)))
					want = append(want, more...)
					mustCommit(t, w, Attrs{Meta: base.Meta})
					r.wantContent(t, "log", want)
				}
				w.Abort()
			})
		}
	})
}

func TestWriterOverAnotherKey(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for _, size := range []int64{10, 9 << 20} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				r := m.rig(t, Options{})
				want := randomBytes(30, size)
				base := r.put(t, "old", want)
				w := r.b.NewWriter("new", &base, Condition{IfAbsent: true})
				if !w.Dirty() {
					t.Fatal("a file that is not there yet is not dirty")
				}
				if o := mustCommit(t, w, Attrs{Meta: base.Meta}); o.Key != "new" {
					t.Fatalf("committed %q", o.Key)
				}
				r.wantContent(t, "new", want)
				r.wantContent(t, "old", want)
				w.Abort()
			})
		}
	})
}

func TestWriterTruncatesABase(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for _, size := range []int64{0, 1, minPart, 8<<20 + 1, 11 << 20, 12<<20 + 5} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				r := m.rig(t, Options{PartSize: minPart})
				want := randomBytes(4, 11<<20)
				base := r.put(t, "file", want)
				w := r.b.NewWriter("file", &base, Condition{})
				check(t, w.Truncate(size))
				want = append(want, make([]byte, 2<<20)...)[:size]
				mustCommit(t, w, Attrs{Meta: base.Meta})
				r.wantContent(t, "file", want)
				w.Abort()
			})
		}
	})
}
