package faults

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kmsfs/kmsfs/crypto"
	"github.com/kmsfs/kmsfs/integration/harness"
	"github.com/kmsfs/kmsfs/internal/sandbox/wire"
)

// Deadlines of the mounts: lookups and reads take --timeout, commits 10/3 of it.
const (
	patient   = 20 * time.Second // where the fault passes
	impatient = 3 * time.Second  // where it outlives the deadline
)

// A Runner tries faults on mounts of one kind of server.
type Runner struct {
	Table *Table
	// Start starts a server of the test's own, with the faults that strike what
	// its mounts ask of it.
	Start func(t testing.TB) (*harness.Server, *wire.Faults)
	// Only names the operations to try; nil is all.
	Only []string
}

// trial is one fault on one mount.
type trial struct {
	*Runner
	t       *testing.T
	fault   Fault
	server  *harness.Server // without the gate
	through *harness.Server // what is mounted
	faults  *wire.Faults
	gate    *gate // nil unless the fault is one
	mount   *harness.Mount
	ring    *crypto.Keyring
	tries   []*try
}

// try is one row.
type try struct {
	Operation
	site *site
	want string

	agent *agent
	seen  report // by who acted
}

// Run tries the fault on every operation that it can strike.
func (r *Runner) Run(t *testing.T, f Fault) {
	tr := &trial{Runner: r, t: t, fault: f}
	tr.server, tr.faults = r.Start(t)
	tr.server.Plain = true
	tr.through = tr.server
	if f.gate != open {
		tr.through, tr.gate = behindGate(t, tr.server)
	}
	tr.mountUnder()
	tr.prepare()
	switch {
	case f.gate != open:
		tr.together(func(*try) bool { return true })
	case f.Lasts:
		tr.together(func(o *try) bool { return slices.ContainsFunc(r.Table.Requests[o.Name], changing) })
		tr.together(func(o *try) bool { return !slices.ContainsFunc(r.Table.Requests[o.Name], changing) })
	default:
		tr.oneByOne()
	}
	tr.unmountUnder()
	tr.lookBack()
}

// chosen says whether the operation is tried with the fault.
func (tr *trial) chosen(o Operation) bool {
	return (tr.Only == nil || slices.Contains(tr.Only, o.Name)) && tr.fault.strikes(o, tr.Table.about(tr.fault, o.Name))
}

// timeout is the --timeout of the mount.
func (tr *trial) timeout() time.Duration {
	switch {
	case tr.fault.outage > 0:
		return tr.fault.outage * 3 / 2 // as 60 s in 90 s
	case tr.fault.Lasts:
		return impatient
	}
	return patient
}

// bound is when an operation counts as hung: a lookup or two go before the
// commit, and the rename of a directory makes three or four, one after another.
func (tr *trial) bound() time.Duration { return 4 * (tr.timeout()*10/3 + tr.timeout()) }

func (tr *trial) flags() []string {
	return append([]string{"--attr-ttl", "0", "--part-size", PartSize, "--timeout", tr.timeout().String()}, tr.fault.flags...)
}

// prepare makes what the operations work on.
func (tr *trial) prepare() {
	for i, o := range Operations() {
		if o.before == nil || !tr.chosen(o) {
			continue
		}
		name := fmt.Sprintf("%02d %s", i, o.Name)
		want, err := tr.Table.Outcome(tr.fault, o.Name, tr.server.Mode)
		harness.Must(tr.t, err)
		if want == neither {
			continue
		}
		s := &site{dir: tr.mount.Path(name)}
		s.put = func(file string, content []byte) error {
			tr.put(name+"/"+file, content)
			return nil
		}
		harness.Must(tr.t, os.Mkdir(s.dir, 0o755))
		if err := o.before(s); err != nil {
			tr.t.Fatalf("%s: before: %v", o.Name, err)
		}
		a, err := theAgent()
		harness.Must(tr.t, err)
		if r := a.do(order{Operation: o.Name, Dir: s.dir}); r.Text != "" {
			tr.t.Fatalf("%s: open: %v", o.Name, r.Text)
		}
		tr.tries = append(tr.tries, &try{Operation: o, site: s, want: want, agent: a})
	}
}

// put makes an object that, where it is sealed, has a data key of its own.
func (tr *trial) put(key string, content []byte) {
	if tr.server.Mode == harness.SSE {
		tr.server.Put(tr.t, key, content)
		return
	}
	if tr.ring == nil {
		tr.ring = tr.server.Keyring(tr.t, tr.server.EnvelopeKey, crypto.KeyringOptions{KeyPerObject: true})
	}
	tr.server.PutRaw(tr.t, key, tr.server.Seal(tr.t, tr.ring, key, content))
}

// oneByOne has each kind of request of each operation go wrong once.
func (tr *trial) oneByOne() {
	for _, o := range tr.tries {
		tr.t.Run(o.Name, func(t *testing.T) {
			about := requests
			if tr.fault.service != "" {
				about = []string{"GenerateDataKey", "Decrypt"}
			}
			rules := tr.fault.arm(tr.faults, about)
			o.do()
			tr.faults.Clear()
			for _, request := range tr.Table.about(tr.fault, o.Name) {
				if rule := rules[request]; rule != nil && rule.Hits() == 0 {
					t.Errorf("no %s went wrong", request)
				}
			}
			tr.judge(t, o)
		})
	}
}

// together tries a fault that lasts on those operations at a time.
func (tr *trial) together(which func(o *try) bool) {
	var group []*try
	about := map[string]bool{}
	for _, o := range tr.tries {
		if !which(o) {
			continue
		}
		group = append(group, o)
		for _, request := range tr.Table.Requests[o.Name] {
			about[request] = changing(request) == slices.ContainsFunc(tr.Table.Requests[o.Name], changing)
		}
	}
	if len(group) == 0 {
		return
	}
	end := tr.begin(about)
	var running sync.WaitGroup
	for _, o := range group {
		running.Go(o.do)
	}
	running.Wait()
	end()
	for _, o := range group {
		tr.t.Run(o.Name, func(t *testing.T) { tr.judge(t, o) })
	}
}

// begin begins a fault that lasts.
func (tr *trial) begin(about map[string]bool) (end func()) {
	if tr.gate == nil {
		var names []string
		for request, ok := range about {
			if ok {
				names = append(names, request)
			}
		}
		tr.fault.arm(tr.faults, names)
		return tr.faults.Clear
	}
	tr.gate.turn(tr.t, tr.fault.gate)
	if tr.fault.outage == 0 {
		return func() { tr.gate.turn(tr.t, open) }
	}
	over := make(chan struct{})
	time.AfterFunc(tr.fault.outage, func() {
		defer close(over)
		tr.gate.turn(tr.t, open)
	})
	return func() { <-over }
}

// done says whether the operation succeeded.
func (o *try) done() bool { return o.seen.Text == "" }

// do does the operation.
func (o *try) do() {
	o.seen = o.agent.do(order{Operation: o.Name, Dir: o.site.dir, Act: true})
}

// judge compares the outcome with the table, and sees that the mount works.
func (tr *trial) judge(t *testing.T, o *try) {
	t.Helper()
	after := o.after(o.site, o.done())
	if o.want == wrong {
		o.seen.Wrong, after = o.seen.Wrong || errors.Is(after, errWrong), nil
	}
	if err := isOutcome(o.want, o.seen); err != nil {
		t.Error(err)
	}
	if o.seen.Took > tr.bound() {
		t.Errorf("it took %v with --timeout %v", o.seen.Took, tr.timeout())
	}
	if after != nil {
		t.Errorf("afterwards: %v", after)
	}
	probe := o.site.path("probe")
	err := errors.Join(os.WriteFile(probe, small, 0o644), o.site.holds("probe", small), os.Remove(probe))
	if err != nil {
		t.Errorf("the mount does not work afterwards: %v", err)
	}
}

// lookBack looks at everything on a new mount of the same identity, and for what
// is left behind.
func (tr *trial) lookBack() {
	again := tr.through.Mount(tr.t, "--part-size", PartSize)
	for _, o := range tr.tries {
		o.site.dir = strings.Replace(o.site.dir, tr.mount.Dir, again.Dir, 1)
		if err := o.after(o.site, o.done()); err != nil && o.want != wrong {
			tr.t.Errorf("%s: on another mount: %v", o.Name, err)
		}
	}
	again.Unmount()
	tr.orphans()
	for _, key := range tr.server.Keys(tr.t) {
		if strings.Contains(key, ".conflict-") || strings.HasPrefix(key, ".kmsfs/") || strings.HasSuffix(key, "/probe") {
			tr.t.Errorf("left behind: %s", key)
		}
	}
	tr.server.MustBeEncrypted(tr.t)
}

// orphans wants no uploads, but those whose beginning S3 kept for itself: they
// have no parts, and nobody can tell whose they are.
func (tr *trial) orphans() {
	all, err := tr.server.S3.ListMultipartUploads(tr.t.Context(), &s3.ListMultipartUploadsInput{Bucket: &tr.server.Bucket})
	harness.Must(tr.t, err)
	for _, u := range all.Uploads {
		parts, err := tr.server.S3.ListParts(tr.t.Context(), &s3.ListPartsInput{Bucket: &tr.server.Bucket, Key: u.Key, UploadId: u.UploadId})
		harness.Must(tr.t, err)
		if tr.fault.Form != applied || len(parts.Parts) > 0 {
			continue // the server's own check tells
		}
		_, err = tr.server.S3.AbortMultipartUpload(tr.t.Context(), &s3.AbortMultipartUploadInput{Bucket: &tr.server.Bucket, Key: u.Key, UploadId: u.UploadId})
		harness.Must(tr.t, err)
	}
}
