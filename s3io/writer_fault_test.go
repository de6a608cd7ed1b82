package s3io

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// kinds are the two forms in which a request comes to nothing, by an answer
// and without one.
var kinds = map[string]wire.FaultKind{
	"refused":         wire.Answer,
	"refused, done":   wire.AnswerAfter,
	"connection lost": wire.ResetBefore,
	"answer lost":     wire.ResetAfter,
}

func TestWriterSurvivesOneFault(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for _, op := range []string{"UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "PutObject", "GetObject", "CopyObject"} {
			for name, kind := range kinds {
				t.Run(op+" "+name, func(t *testing.T) {
					r := m.rig(t, Options{PartSize: minPart})
					base := r.baseFor(t, op)
					rule := r.server.Faults.Add(wire.Fault{Op: op, Kind: kind, Times: 1, Status: 503, Code: "SlowDown"})
					w, want := r.writeFor(t, op, base)
					mustCommit(t, w, Attrs{})
					if rule.Hits() != 1 {
						t.Fatalf("%d requests went wrong", rule.Hits())
					}
					w.Abort()
					r.server.Faults.Clear()
					r.wantContent(t, "file", want)
				})
			}
		}
	})
}

// baseFor returns the object that writeFor's file is over; nil for most.
func (r *rig) baseFor(t *testing.T, op string) *Object {
	t.Helper()
	sizes := map[string]int64{"UploadPartCopy": minPart, "GetObject": minPart - 1}
	if sizes[op] == 0 {
		return nil
	}
	base := r.put(t, "file", randomBytes(22, sizes[op]))
	return &base
}

// writeFor returns a writer whose commit needs op, and its content.
func (r *rig) writeFor(t *testing.T, op string, base *Object) (*Writer, []byte) {
	t.Helper()
	var want []byte
	w := r.b.NewWriter("file", base, Condition{IfAbsent: base == nil})
	switch op {
	case "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "CopyObject":
		w.SetAttrs(Attrs{Meta: map[string]string{"mode": "1"}}) // Commit will say something else
		want = randomBytes(20, 2*minPart+1)
		mustWrite(t, w, want, 0)
	case "PutObject":
		want = randomBytes(21, 100_000)
		mustWrite(t, w, want, 0)
	case "UploadPartCopy", "GetObject":
		check(t, w.Truncate(base.Size+1))
		want = append(randomBytes(22, base.Size), 0)
	default:
		t.Fatalf("nothing needs %s", op)
	}
	return w, want
}

func TestWriterFailsForGood(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for _, op := range []string{"CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "PutObject", "CopyObject"} {
			for name, kind := range kinds {
				if op == "CreateMultipartUpload" && (kind == wire.AnswerAfter || kind == wire.ResetAfter) {
					continue // its upload id is lost with the answer: nobody can tell it from others' uploads
				}
				t.Run(op+" "+name, func(t *testing.T) {
					r := m.rig(t, Options{PartSize: minPart})
					base := r.baseFor(t, op)
					old, existed := r.content(t, "file")
					r.server.Faults.Add(wire.Fault{Op: op, Kind: kind, Status: 403, Code: "AccessDenied"})
					r.b.commit = time.Second // nothing runs yet that reads it
					w, want := r.writeFor(t, op, base)
					_, err := w.Commit(t.Context(), Attrs{})
					r.server.Faults.Clear()
					if now, exists := r.content(t, "file"); err != nil && op != "CopyObject" && kind != wire.AnswerAfter && kind != wire.ResetAfter {
						if exists != existed || !bytes.Equal(now, old) {
							t.Fatalf("a commit that failed changed the object: %v", err)
						}
					}
					switch {
					case err == nil: // applied, and found out to be
						r.wantContent(t, "file", want)
					case w.Err() == nil:
						t.Fatalf("%v does not stick", err)
					default:
						wantSticky(t, w, w.Err())
					}
					w.Abort()
				})
			}
		}
	})
}

func TestWriterFailsWhileWriting(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		r.server.Faults.Add(wire.Fault{Op: "UploadPart", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
		w := r.b.NewWriter("file", nil, Condition{})
		mustWrite(t, w, randomBytes(23, 2*minPart), 0)
		waitFor(t, func() bool { return w.Err() != nil })
		if k := KindOf(w.Err()); k != Permission {
			t.Fatalf("kind %d: %v", k, w.Err())
		}
		wantSticky(t, w, w.Err())
		r.b.writes.wait()
		if n, _ := r.b.writes.mem.inUse(); n != 0 {
			t.Fatalf("a writer that failed holds %d bytes", n)
		}
	})
}

func TestWriterAbortsDuringACommit(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{PartSize: minPart})
		w := r.b.NewWriter("file", nil, Condition{})
		mustWrite(t, w, randomBytes(24, 2*minPart+1), 0)
		h := r.hold(t, "UploadPart")
		got := make(chan error)
		go func() {
			_, err := w.Commit(context.Background(), Attrs{})
			got <- err
		}()
		<-h.reached
		w.Abort()
		h.release()
		if err := <-got; !errors.Is(err, errAborted) {
			t.Fatalf("commit of an aborted writer: %v", err)
		}
		r.b.writes.wait()
		if _, ok := r.content(t, "file"); ok {
			t.Fatal("an aborted file exists")
		}
	})
}

func TestWriterReadsAndSizesDuringACommit(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		r := m.rig(t, Options{})
		w := r.b.NewWriter("file", nil, Condition{})
		mustWrite(t, w, []byte("content"), 0)
		h := r.hold(t, "PutObject")
		got := make(chan error)
		go func() {
			_, err := w.Commit(context.Background(), Attrs{})
			got <- err
		}()
		<-h.reached
		p := make([]byte, 7)
		if _, err := w.ReadAt(p, 0, r.fromBase); err != nil || string(p) != "content" {
			t.Fatalf("read during a commit: %q, %v", p, err)
		}
		if w.Size() != 7 || !w.Dirty() || w.Err() != nil {
			t.Fatal("state during a commit")
		}
		h.release()
		check(t, <-got)
		w.Abort()
	})
}

// TestWriterPlaintextNeverOnDisk looks at the spool as a thief would: through
// the process's open files.
func TestWriterPlaintextNeverOnDisk(t *testing.T) {
	inBoth(t, func(t *testing.T, m mode) {
		for name, o := range map[string]Options{
			"large parts": {Memory: 16 << 20, PartSize: minPart},
			"no memory":   {Memory: 1, PartSize: minPart},
		} {
			t.Run(name, func(t *testing.T) {
				o.SpoolDir = t.TempDir()
				r := m.rig(t, o)
				w := r.b.NewWriter("file", nil, Condition{})
				secret := []byte("ATTACK AT DAWN. ")
				want := bytes.Repeat(secret, 7<<20/len(secret))
				mustWrite(t, w, want, 0)
				disk := spoolOnDisk(t, o.SpoolDir)
				if len(disk) < minPart {
					t.Fatalf("only %d bytes in the spool", len(disk))
				}
				if bytes.Contains(disk, secret[:8]) {
					t.Fatal("plaintext in the spool")
				}
				mustCommit(t, w, Attrs{})
				r.wantContent(t, "file", want)
				w.Abort()
			})
		}
	})
}

// spoolOnDisk returns the bytes of this process's unlinked files in dir.
func spoolOnDisk(t *testing.T, dir string) []byte {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	check(t, err)
	var all []byte
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || filepath.Dir(target) != dir {
			continue
		}
		f, err := os.Open(link)
		check(t, err)
		p, err := io.ReadAll(f)
		check(t, errors.Join(err, f.Close()))
		all = append(all, p...)
	}
	return all
}

func TestCleanUpAbortsOnlyOurOwn(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, Options{StateDir: dir})
	alive, err := r.b.createUpload(t.Context(), "alive", Attrs{})
	check(t, err)
	foreign, err := r.b.createUpload(t.Context(), "foreign", Attrs{})
	check(t, err)
	check(t, r.b.journal.end(foreign.id)) // as if another program had made it

	crashed, err := openJournal(dir, r.b.opts.Bucket, r.b.opts.Prefix)
	check(t, err)
	if crashed.identity() != r.b.Identity() {
		t.Fatal("another identity")
	}
	var ours []upload
	for i := range 3 {
		u, err := r.b.createUpload(t.Context(), fmt.Sprint("crashed", i), Attrs{})
		check(t, err)
		check(t, r.b.journal.end(u.id))
		check(t, crashed.begin(u.key, u.id))
		ours = append(ours, u)
	}
	check(t, r.b.abortUpload(t.Context(), ours[2])) // gone already
	check(t, r.b.CleanUp(t.Context()))
	if n := r.count("AbortMultipartUpload"); n != 1 {
		t.Fatalf("%d uploads of a live process were aborted", n-1)
	}
	crashed.crash()

	rule := r.server.Faults.Add(wire.Fault{Op: "AbortMultipartUpload", Key: "crashed1", Kind: wire.Answer, Status: 403, Code: "AccessDenied"})
	if err := r.b.CleanUp(t.Context()); KindOf(err) != Permission {
		t.Fatalf("CleanUp without the right to: %v", err)
	}
	rule.Remove()
	check(t, r.b.CleanUp(t.Context()))
	if left := r.b.journal.stale(); left != nil {
		t.Fatalf("stale after CleanUp: %v", left)
	}
	for _, u := range []upload{alive, foreign} { // they live
		p, err := r.b.uploadPart(t.Context(), u, 1, bytes.NewReader([]byte("x")), 1)
		check(t, err)
		_, err = r.b.completeUpload(t.Context(), u, []part{p}, 1, Condition{})
		check(t, err)
	}
	r.wantContent(t, "foreign", []byte("x"))
}
